"""The embedded digits, and the graph of their nearest neighbours."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dfa_cli.data.digits import Digits, DigitsGraph, nearest_neighbours
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError

NOWHERE = Source(None, network=False)


@pytest.mark.parametrize(
    ("made", "sizes"), [(Digits(), (1_000, 297, 500)), (DigitsGraph(), (200, 300, 1_000))]
)
def test_the_split_is_stratified_and_without_overlap(
    made: Digits | DigitsGraph, sizes: tuple[int, int, int]
) -> None:
    data = made.load(NOWHERE)
    parts = (data.train, data.validation, data.test)
    assert tuple(len(part) for part in parts) == sizes
    used = torch.cat(parts)
    assert len(used.unique()) == len(used)
    for part in parts:
        assert part.dtype == torch.int64
        assert torch.equal(part, part.sort().values)
        shares = data.y[part].bincount(minlength=10) / len(part)
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.011)  # every class in every part
    assert data.x.dtype == torch.float32
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)


def test_the_split_does_not_depend_on_a_seed() -> None:
    first = Digits().load(NOWHERE)
    torch.manual_seed(1)
    again = Digits().load(NOWHERE)
    assert torch.equal(first.train, again.train)
    assert first.checksums == again.checksums
    # Runs of other versions are compared with runs of this one, so these rows must stay.
    assert first.train[:8].tolist() == FIRST_ROWS
    assert DigitsGraph().load(NOWHERE).train[:8].tolist() == FIRST_LABELLED


FIRST_ROWS = [0, 1, 2, 3, 6, 8, 9, 10]
FIRST_LABELLED = [21, 26, 36, 47, 57, 68, 75, 78]


def test_labels_per_class_sets_the_training_rows() -> None:
    data = DigitsGraph(labels_per_class=3).load(NOWHERE)
    assert data.y[data.train].bincount().tolist() == [3] * 10
    assert (len(data.validation), len(data.test)) == (300, 1_000)


def test_the_graph_has_both_directions_and_joins_similar_images() -> None:
    data = DigitsGraph(neighbours=5).load(NOWHERE)
    assert data.edge_index is not None
    source, target = data.edge_index
    assert not (source == target).any()
    edges = target * len(data.y) + source
    assert torch.equal(edges, edges.unique())
    assert torch.equal((source * len(data.y) + target).sort().values, edges)
    assert int(target.bincount().min()) >= 5
    assert float((data.y[source] == data.y[target]).float().mean()) > 0.95


def test_nearest_neighbours_of_four_points() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [9.0]])  # row 1 is as far from 0 as from 2: the lower index wins
    assert nearest_neighbours(x, 1).tolist() == [[1, 0, 2, 1, 3, 2], [0, 1, 1, 2, 2, 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neighbours": 0}, "data.neighbours is 0. It must be a whole number from 1 to 1796"),
        (
            {"labels_per_class": 0},
            "data.labels_per_class is 0. It must be a whole number from 1 to 49",
        ),
        (
            {"labels_per_class": 50},
            "data.labels_per_class is 50. It must be a whole number from 1 to 49",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(DfaError, match=message):
        DigitsGraph(**arguments)


def test_the_images_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    data = Digits().load(NOWHERE)
    assert torch.equal(data.x * 16, torch.from_numpy(images).float())
    assert torch.equal(data.y, torch.from_numpy(labels))


def test_scikit_learn_is_not_imported() -> None:
    """Its import takes longer than a short training."""
    program = (
        "import sys\n"
        "from dfa_cli.data import digits, source\n"
        "digits.Digits().load(source.Source(None, network=False))\n"
        "print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]
