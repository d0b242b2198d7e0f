"""scikit-learn's handwritten digits, as samples and as a nearest-neighbour graph: no file, no network."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dfa_cli.config.bounds import require, whole
from dfa_cli.data.base import Data
from dfa_cli.seeding import stream_seed

if TYPE_CHECKING:
    from dfa_cli.data.source import Source

ROWS, CLASSES, BRIGHTEST = 1_797, 10, 16
SPLIT_SEED = 20_170  # of the fixed splits, which no run's seed moves
TRAIN, VALIDATION = 1_000, 297  # of `Digits`; the other 500 are the test
GRAPH_VALIDATION, GRAPH_TEST = 300, 1_000  # of `DigitsGraph`


class Digits:
    """1,797 images `x` `[1797, 64]`, 8 x 8 grey values in 0..1: 1,000 to train, 297 to validate, 500 to test.

    The split is fixed and holds every class in the same proportion.

    Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI machine learning repository,
    1998.
    """

    def load(self, source: Source) -> Data:
        """The images. `source` is not needed: scikit-learn carries them."""
        x, y, checksums = _load()
        rows = _shuffled_by_class(range(ROWS), y.tolist())
        return Data(
            name="digits",
            x=x / BRIGHTEST,
            y=y,
            classes=CLASSES,
            train=_sorted(rows[:TRAIN]),
            validation=_sorted(rows[TRAIN : TRAIN + VALIDATION]),
            test=_sorted(rows[TRAIN + VALIDATION :]),
            split="fixed stratified split",
            checksums=checksums,
        )


class DigitsGraph:
    """The same images as nodes, `A_ij = 1` where `i` is among the nearest of `j` or `j` among those of `i`.

    `neighbours` nearest by Euclidean distance count; `labels_per_class` nodes of each class are labelled, 300
    are for validation and 1,000 for the test; the others have no label in use. The split is fixed.
    """

    def __init__(self, neighbours: int = 5, labels_per_class: int = 20) -> None:
        most = (ROWS - GRAPH_VALIDATION - GRAPH_TEST) // CLASSES
        require("data.neighbours", neighbours, whole(1, ROWS - 1))
        require("data.labels_per_class", labels_per_class, whole(1, most))
        self.neighbours = neighbours
        self.labels_per_class = labels_per_class

    def load(self, source: Source) -> Data:
        """The graph. `source` is not needed: scikit-learn carries the images."""
        x, y, checksums = _load()
        labels = y.tolist()
        labelled: list[int] = []
        others: list[int] = []
        taken = [0] * CLASSES
        for row in _shuffled_by_class(range(ROWS), labels):
            few = taken[labels[row]] < self.labels_per_class
            (labelled if few else others).append(row)
            taken[labels[row]] += few
        others = _shuffled_by_class(others, labels)
        return Data(
            name="digits_graph",
            x=x / BRIGHTEST,
            y=y,
            classes=CLASSES,
            train=_sorted(labelled),
            validation=_sorted(others[:GRAPH_VALIDATION]),
            test=_sorted(others[GRAPH_VALIDATION : GRAPH_VALIDATION + GRAPH_TEST]),
            split=f"fixed split, {self.labels_per_class} labels a class",
            edge_index=nearest_neighbours(x, self.neighbours),
            checksums=checksums,
        )


def nearest_neighbours(x: Tensor, neighbours: int) -> Tensor:
    """Both directions of each edge `[2, edges]` of the symmetric nearest-neighbour graph of integer rows `x`.

    `d_ij^2 = |x_i|^2 + |x_j|^2 - 2 x_i x_j` is exact for the small integers here, and the lower index wins a
    tie, so that every machine builds the same graph.
    """
    rows = len(x)
    squares = (x * x).sum(1)
    distances = squares[:, None] + squares[None, :] - 2 * (x @ x.T)
    order = distances.to(torch.int64) * rows + torch.arange(rows)  # the index breaks the ties
    order.fill_diagonal_(torch.iinfo(torch.int64).max)
    nearest = order.topk(neighbours, dim=1, largest=False).indices
    adjacent = torch.zeros(rows, rows, dtype=torch.bool)
    adjacent.scatter_(1, nearest, True)
    target, source = (adjacent | adjacent.T).nonzero(as_tuple=True)
    return torch.stack([source, target])


def _load() -> tuple[Tensor, Tensor, dict[str, str]]:
    """Grey values 0..16 `[1797, 64]`, labels `[1797]`, and a checksum of both."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).to(torch.float32)
    y = torch.from_numpy(labels).to(torch.int64)
    digest = hashlib.sha256(x.to(torch.uint8).numpy().tobytes() + y.to(torch.uint8).numpy().tobytes())
    return x, y, {"sklearn.datasets.load_digits": digest.hexdigest()}


def _shuffled_by_class(rows: range | list[int], labels: list[int]) -> list[int]:
    """`rows` in a fixed random order in which every stretch holds the classes in the same proportion.

    Row `r` of a class with `n` rows stands at `(rank + 1/2) / n`, its rank drawn within the class. Ordered by
    a hash and not by a library's generator, whose stream may change with its version.
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


def _sorted(rows: list[int]) -> Tensor:
    return torch.tensor(sorted(rows))
