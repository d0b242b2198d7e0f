"""Handwritten digits that scikit-learn carries, as samples and as a nearest-neighbour graph.

They need no file and no network.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dfa_cli.config.bounds import require, whole
from dfa_cli.data.base import Data
from dfa_cli.seeding import stream_seed

if TYPE_CHECKING:
    from dfa_cli.data.source import Source

ROWS, CLASSES, BRIGHTEST = 1_797, 10, 16
SPLIT_SEED = 20_170  # a constant, so that the split does not depend on the seed of a run
TRAIN, VALIDATION = 1_000, 297  # rows of `Digits`; the other 500 are the test set
GRAPH_VALIDATION, GRAPH_TEST = 300, 1_000  # rows of `DigitsGraph`


class Digits:
    """Handwritten digits: 1,797 images of 8 x 8 pixels, 10 classes.

    `x` `[1797, 64]` holds grey values in 0..1. 1,000 images are for training, 297 for validation, 500 for the
    test. The split is fixed and stratified: every class has the same proportion in each part.

    Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI machine learning repository,
    1998.
    """

    def load(self, source: Source) -> Data:
        """Load the images. `source` is not used, since scikit-learn carries them."""
        x, y, checksums = _load()
        rows = _stratified_shuffle(range(ROWS), y.tolist())
        return Data(
            name="digits",
            x=x / BRIGHTEST,
            y=y,
            classes=CLASSES,
            train=_sorted_indices(rows[:TRAIN]),
            validation=_sorted_indices(rows[TRAIN : TRAIN + VALIDATION]),
            test=_sorted_indices(rows[TRAIN + VALIDATION :]),
            split="fixed stratified split",
            checksums=checksums,
        )


class DigitsGraph:
    """The images of `Digits` as the nodes of a graph that joins similar images.

    `A_ij = 1` where one of the nodes `i`, `j` is among the `neighbours` nodes that are nearest to the other, by
    Euclidean distance. The training set is `labels_per_class` nodes of each class. 300 nodes are for validation and
    1,000 for the test. The labels of all other nodes are not used. The split is fixed.
    """

    def __init__(self, neighbours: int = 5, labels_per_class: int = 20) -> None:
        most = (ROWS - GRAPH_VALIDATION - GRAPH_TEST) // CLASSES
        require("data.neighbours", neighbours, whole(1, ROWS - 1))
        require("data.labels_per_class", labels_per_class, whole(1, most))
        self.neighbours = neighbours
        self.labels_per_class = labels_per_class

    def load(self, source: Source) -> Data:
        """Build the graph. `source` is not used, since scikit-learn carries the images."""
        x, y, checksums = _load()
        labels = y.tolist()
        labelled: list[int] = []
        others: list[int] = []
        labelled_of_class = [0] * CLASSES  # the number of rows in `labelled`
        for row in _stratified_shuffle(range(ROWS), labels):
            is_labelled = labelled_of_class[labels[row]] < self.labels_per_class
            (labelled if is_labelled else others).append(row)
            labelled_of_class[labels[row]] += is_labelled
        others = _stratified_shuffle(others, labels)
        return Data(
            name="digits_graph",
            x=x / BRIGHTEST,
            y=y,
            classes=CLASSES,
            train=_sorted_indices(labelled),
            validation=_sorted_indices(others[:GRAPH_VALIDATION]),
            test=_sorted_indices(others[GRAPH_VALIDATION : GRAPH_VALIDATION + GRAPH_TEST]),
            split=f"fixed split, {self.labels_per_class} labels a class",
            edge_index=nearest_neighbours(x, self.neighbours),
            checksums=checksums,
        )


def nearest_neighbours(x: Tensor, neighbours: int) -> Tensor:
    """Build the symmetric nearest-neighbour graph of the rows of `x`, which hold integers.

    Returns both directions of each edge, `[2, edges]`. Every machine builds the same graph:
    `d_ij^2 = |x_i|^2 + |x_j|^2 - 2 x_i x_j` is exact for small integers, and the lower index wins a tie.
    """
    rows = len(x)
    squared_norms = (x * x).sum(1)
    squared_distances = squared_norms[:, None] + squared_norms[None, :] - 2 * (x @ x.T)
    sort_keys = squared_distances.to(torch.int64) * rows + torch.arange(rows)  # the index breaks the ties
    sort_keys.fill_diagonal_(torch.iinfo(torch.int64).max)  # no row is a neighbour of itself
    nearest = sort_keys.topk(neighbours, dim=1, largest=False).indices
    adjacent = torch.zeros(rows, rows, dtype=torch.bool)
    adjacent.scatter_(1, nearest, True)
    target, source = (adjacent | adjacent.T).nonzero(as_tuple=True)
    return torch.stack([source, target])


def _load() -> tuple[Tensor, Tensor, dict[str, str]]:
    """Return the grey values 0..16 `[1797, 64]`, the labels `[1797]`, and a checksum of both.

    The file of `sklearn.datasets.load_digits` is read without scikit-learn, whose import takes longer than a short
    training. A row of it is an image and its label.
    """
    package = find_spec("sklearn")
    assert package  # one of the requirements
    with gzip.open(Path(str(package.origin)).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.uint8))
    x, y = table[:, :-1].contiguous(), table[:, -1].contiguous()
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes())
    return x.float(), y.long(), {"sklearn.datasets.load_digits": digest.hexdigest()}


def _stratified_shuffle(rows: range | list[int], labels: list[int]) -> list[int]:
    """Shuffle `rows` so that every stretch of the result holds the classes in the same proportion.

    A row gets a random rank among the `n` rows of its class, and is sorted by `(rank + 1/2) / n`. The ranks
    come from a hash: the stream of a library's random generator may change with its version.
    """
    shuffled = sorted(rows, key=lambda row: stream_seed(SPLIT_SEED, f"digits/{row}"))
    by_class: dict[int, list[int]] = {}
    for row in shuffled:
        by_class.setdefault(labels[row], []).append(row)
    places = {
        row: ((rank + 0.5) / len(members), label)
        for label, members in by_class.items()
        for rank, row in enumerate(members)
    }
    return sorted(shuffled, key=lambda row: places[row])


def _sorted_indices(rows: list[int]) -> Tensor:
    return torch.tensor(sorted(rows))
