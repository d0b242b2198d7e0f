"""What blocks and stages cost: against the counts of torch, of the papers, and of brute force."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dfa_cli.config.paths import conf_dir
from dfa_cli.errors import DfaError
from dfa_cli.planner.costs import Block, balanced, split, stage_costs
from dfa_cli.planner.counting import fully_connected, transformer
from dfa_cli.planner.files import read_hardware, read_preset

PRESETS = sorted(path.stem for path in (conf_dir() / "preset").glob("*.yaml"))
HARDWARE = sorted(path.stem for path in (conf_dir() / "hardware").glob("*.yaml"))


def parameters(name: str) -> float:
    """The parameters of a preset. A pipeline holds the embedding twice, a paper counts it once."""
    work = read_preset(name)
    twice = work.classes * work.features if work.row == "token" else 0
    return work.parameters - twice


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("gpt3-175b", 174.6e9),  # "175.0B" in the paper's table; its text rounds 174.6
        ("gpt3-1.3b", 1.32e9),
        ("gpt2-1.5b", 1.542e9),
        ("megatron-1t", 1.008e12),
    ],
)
def test_a_preset_has_as_many_parameters_as_its_paper_says(name: str, quoted: float) -> None:
    assert parameters(name) == pytest.approx(quoted, rel=0.012)


@pytest.mark.parametrize("name", ["gpt3-175b", "gpt2-1.5b", "megatron-1t"])
def test_a_transformer_has_as_many_operations_as_in_the_literature(name: str) -> None:
    """96 B s l h^2 (1 + s / 6h + V / 16lh), with every layer computed twice (Narayanan et al. 2021, eq. 3)."""
    import yaml

    given = yaml.safe_load((conf_dir() / "preset" / f"{name}.yaml").read_text())
    layers, h, s, V = (given[key] for key in ("layers", "width", "sequence", "vocabulary"))
    work = read_preset(name)
    counted = sum(block.total + block.forward for block in work.blocks[:-1]) + work.blocks[-1].total
    formula = 96 * layers * h**2 * (1 + s / (6 * h) + V / (16 * layers * h))
    assert counted == pytest.approx(formula, rel=1e-12)


def flops(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def compare(block: Block, module, h: torch.Tensor, rows: int) -> None:
    """Compare a block with what torch computes: forward, and backward with and without the gradient of the input."""
    assert flops(lambda: module(h)) == pytest.approx(block.forward * rows)
    out = module(h)
    assert flops(lambda: out.backward(torch.ones_like(out))) == pytest.approx(
        (block.inner + block.weight_gradient) * rows
    )
    if block.input_gradient:
        out = module(h.clone().requires_grad_())
        every = (block.inner + block.weight_gradient + block.input_gradient) * rows
        assert flops(lambda: out.backward(torch.ones_like(out))) == pytest.approx(every)


def test_the_operations_of_a_fully_connected_network_are_those_that_torch_counts() -> None:
    widths = [20, 30, 40, 5]
    blocks = fully_connected(widths, value_bytes=4)
    for block, (inputs, width) in zip(blocks, itertools.pairwise(widths), strict=True):
        compare(block, nn.Linear(inputs, width), torch.zeros(7, inputs), 7)
        assert block.parameters == inputs * width + width
        assert block.projection in (2 * 5 * width, 0)


class Attention(nn.Module):
    """One head, without a mask: the head count changes no count of operations."""

    def __init__(self, d: int):
        super().__init__()
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, h):
        q, k, v = self.qkv(h).chunk(3, dim=-1)
        return h + self.out(torch.softmax(q @ k.mT, -1) @ v)


class Perceptron(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, h):
        return h + self.down(torch.relu(self.up(h)))


def test_the_operations_of_a_transformer_are_those_that_torch_counts() -> None:
    d, n, V = 16, 12, 50
    _, mlp, attention, _, head = transformer(2, d, n, V)
    h = torch.zeros(3, n, d)
    for block, module in ((attention, Attention(d)), (mlp, Perceptron(d))):
        compare(block, module, h, 3 * n)
        weights = sum(weight.numel() for weight in module.parameters())
        assert block.parameters == weights + 2 * d, "and a normalisation"
    compare(head, nn.Linear(d, V, bias=False), h, 3 * n)


@pytest.mark.parametrize("seed", range(30))
def test_a_split_is_as_even_as_any(seed: int) -> None:
    draws = np.random.default_rng(seed)
    costs = draws.integers(0, 6, int(draws.integers(1, 9))).astype(float).tolist()
    stages = int(draws.integers(1, len(costs) + 1))
    ends = split(costs, stages)
    assert len(ends) == stages
    assert ends[-1] == len(costs)
    assert sorted(set(ends)) == ends

    def largest(ends) -> float:
        return max(sum(costs[a:b]) for a, b in itertools.pairwise([0, *ends]))

    inner = itertools.combinations(range(1, len(costs)), stages - 1)
    assert largest(ends) == min(largest([*one, len(costs)]) for one in inner)


def test_stages_with_two_chunks_can_be_made_alike() -> None:
    """Two cheap blocks at the ends: even chunks of a V leave one stage twice the work of the other."""
    costs, owners = [0.0, 3, 3, 3, 3, 3, 3, 0.0], np.array([0, 1, 1, 0])

    def of_stages(ends: list[int]) -> list[float]:
        return np.bincount(owners, [sum(costs[a:b]) for a, b in itertools.pairwise([0, *ends])]).tolist()

    assert of_stages(split(costs, 4)) == [6, 12]
    assert of_stages(balanced(costs, split(costs, 4), owners)) == [9, 9]


def test_more_stages_than_blocks_is_a_sentence() -> None:
    with pytest.raises(DfaError, match=r"^4 stages are more than the 3 blocks .* give at most --stages 3\.$"):
        split([1, 1, 1], 4)


def test_stages_add_their_blocks_and_shared_columns_are_projected_once() -> None:
    work, hardware = read_preset("gpt2-1.5b"), read_hardware("a100")
    apart, shared = (stage_costs(work, hardware, np.arange(4), 8, share) for share in (False, True))
    rows, rate = work.rows / 8, hardware.peak * hardware.achieved
    assert apart.backpropagation.sum() * rate == pytest.approx(
        sum(block.total for block in work.blocks) * rows
    )
    assert apart.columns.sum() == 96 * 1600
    assert shared.projection[0] == pytest.approx(apart.projection[0] * 1600 / apart.columns[0])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read(name: str) -> None:
    assert read_preset(name).rows > 0


@pytest.mark.parametrize("name", HARDWARE)
def test_every_number_of_hardware_has_a_source(name: str) -> None:
    assert read_hardware(name).peak > 0
    for line in (conf_dir() / "hardware" / f"{name}.yaml").read_text().splitlines():
        assert "#" in line


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("peak: fast", r"peak is fast\. It must be a number greater than 0"),
        (
            "peak: -1",
            r"peak is -1\. It must be a number greater than 0, such as 989\.0e\+12 operations a second",
        ),
        ("achieved: 1", r"has no peak\. It must be"),
        ("[1, 2]", r"holds no keys; conf/hardware/a100\.yaml shows"),
        ("peak: [", r"cannot be read"),
    ],
)
def test_wrong_hardware_of_ones_own_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(DfaError, match=sentence):
        read_hardware(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: convolution", "kind: 'convolution' is not one of fully_connected"),
        ("kind: transformer", r"has no layers\. It must be a whole number of at least 1"),
        ("kind: fully_connected\nwidths: [3]", r"widths is \[3\]\. It must be a list of two or more"),
        ("kind: fully_connected\nwidths: [3, 4]\nbatch: 0", r"batch is 0\. It must be a whole number"),
    ],
)
def test_a_wrong_preset_of_ones_own_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(DfaError, match=sentence):
        read_preset(str(tmp_path / "own.yaml"))
