"""activations=recompute gives the bits of keep, leaves nothing behind, and needs memory that depth does not change."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from live_memory import LiveMemory
from networks import CLASSES, FEATURES, ROWS, Given, batch, drawn, gradients, network, same
from torch import Tensor, nn
from torch_geometric.nn import GATConv

from dfa_cli.devices import Digital, opu
from dfa_cli.devices.opu import OPU, OffAxis, Structured, Ternary
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.models import Batch, Block, FullyConnected, GraphNetwork, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.models.dropout import micro_batches
from dfa_cli.models.forward_state import generators
from dfa_cli.models.fully_connected import Linear
from dfa_cli.rules import (
    Backpropagation,
    DirectFeedbackAlignment,
    DirectRandomTargetProjection,
    LearningRule,
    Shallow,
)
from dfa_cli.seeding import generator
from dfa_cli.training.alignment import measure

CPU = torch.device("cpu")
WIDTH = 16


class Normalised(Linear):
    """Batch normalisation after a layer with spectral normalisation: both change buffers in a forward pass."""

    def __init__(self, inputs: int, width: int, weights: torch.Generator):
        super().__init__(inputs, width, weights)
        self.norm = nn.BatchNorm1d(width)
        torch.nn.utils.parametrizations.spectral_norm(self, "weight")

    def activated(self, h: Any, graph: Any, activation: Any) -> Tensor:
        return self.norm(super().activated(h, graph, activation))


class Noisy(Linear):
    """A layer that adds noise from a generator of its own and from torch's global one."""

    def __init__(self, inputs: int, width: int, weights: torch.Generator):
        super().__init__(inputs, width, weights)
        self.own = generator(8, "own")

    def activated(self, h: Any, graph: Any, activation: Any) -> Tensor:
        z = super().activated(h, graph, activation)
        return z + 0.1 * torch.randn(z.shape, generator=self.own) + 0.1 * torch.randn(z.shape)


class Dithered(Ternary):
    """An encoding that draws from a generator of its own and from torch's global one."""

    def __init__(self) -> None:
        super().__init__()
        self.own = generator(9, "dither")

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        return super().encode(
            error * (1 + 0.5 * torch.rand(error.shape, generator=self.own)) + 0.01 * torch.rand(error.shape),
            draws,
        )


def sizes() -> ModelShape:
    return ModelShape(FEATURES, CLASSES, generator(0, "weights"), generator(0, "dropout"))


def stacked(layer: Callable[..., nn.Module]) -> Model:
    shape = sizes()
    widths = [FEATURES, WIDTH, WIDTH, WIDTH, CLASSES]
    blocks = [
        Block(layer(n, width, shape.weights), width, "tanh" if i < 3 else None, 0.3)
        for i, (n, width) in enumerate(itertools.pairwise(widths))
    ]
    return Model(blocks, shape.dropout)


MODELS: dict[str, Callable[[], Model]] = {
    "fc": lambda: FullyConnected(sizes(), [WIDTH, 9, WIDTH], "relu", 0.4, 0.2),
    "no hidden block": lambda: FullyConnected(sizes(), [], "tanh", 0.4, 0.2),
    "gcn": lambda: network("graph", [WIDTH, 9, WIDTH], "tanh", 0.4, 0.2).float(),
    "gat": lambda: GraphNetwork(
        sizes(), functools.partial(GATConv, heads=2, dropout=0.5), {"heads": 1}, [4, 5], "tanh", 0.4, 0.2
    ),
    "buffers": lambda: stacked(Normalised),
    "generators": lambda: stacked(Noisy),
}
RULES: dict[str, Callable[[], LearningRule]] = {
    "dfa": DirectFeedbackAlignment,
    "dfa, shared columns": lambda: DirectFeedbackAlignment(share_columns=True),
    "dfa, spread": lambda: DirectFeedbackAlignment(spread_over_edges=True),
    "drtp": DirectRandomTargetProjection,
    "shallow": Shallow,
    "bp": Backpropagation,
}
DEVICES: dict[str, Callable[[], Any]] = {
    "cpu": lambda: Digital("cpu"),
    "opu": OPU,
    "off_axis, random encoding": lambda: OPU(readout=OffAxis(), encoding=Dithered()),
    "structured": lambda: OPU(medium=Structured()),
    "dithered": lambda: OPU(encoding=opu.Dithered(), remove_sum=True),
    "of another library": lambda: Given(lambda n_in, n_out: drawn(n_in, n_out).float()),
}
CASES = [
    *((model, "dfa", "cpu") for model in MODELS),
    *((model, "bp", "cpu") for model in MODELS),
    *(("fc", rule, "opu") for rule in RULES),
    *(("generators", "dfa", device) for device in DEVICES),
    ("gcn", "dfa, spread", "off_axis, random encoding"),
    ("gcn", "dfa, shared columns", "dithered"),
]


def data_for(model: str) -> Batch:
    data = batch("graph" if model in ("gcn", "gat") else "samples")
    assert isinstance(data.x, Tensor)
    data.x = data.x.float()
    if data.graph is not None:
        data.graph.__dict__.pop("adjacency")  # made anew, in single precision
    return data


def two_steps(model: str, rule: str, device: str, activations: str) -> dict[str, Any]:
    """Return everything that two steps compute, and everything that they leave behind."""
    torch.manual_seed(5)
    made, trained, projects, data = MODELS[model]().train(), RULES[rule](), DEVICES[device](), data_for(model)
    trained.activations = activations  # type: ignore[attr-defined]
    trained.prepare(made, CLASSES, projects, CPU)
    losses = []
    for _ in range(2):
        losses.append(trained.backward(made, data).loss)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    found = {f"loss {i}": loss for i, loss in enumerate(losses)}
    found |= {f"grad {name}": one.grad for name, one in made.named_parameters() if one.grad is not None}
    found |= made.state_dict()
    found |= {f"generator {name}": held.get_state() for name, held in generators(made).items()}
    found["global"] = torch.get_rng_state()
    if rule not in ("bp", "shallow") and made.widths and not isinstance(projects, Given):
        found |= {name: value for name, value in projects.state_dict().items() if name != "seconds"}
    encoding = getattr(projects, "encoding", None)
    if isinstance(encoding, Dithered):
        found["dither"] = encoding.own.get_state()
    return found


@pytest.mark.parametrize(("model", "rule", "device"), CASES, ids=" ".join)
def test_recomputing_gives_the_same_bits_and_leaves_the_same_state(
    model: str, rule: str, device: str
) -> None:
    kept, again = (two_steps(model, rule, device, activations) for activations in ("keep", "recompute"))
    assert kept.keys() == again.keys()
    assert any(name.startswith("grad blocks") for name in kept)
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


@pytest.mark.parametrize("share", [False, True])
def test_the_error_is_shown_once_for_all_blocks(share: bool) -> None:
    encoded: list[Tensor] = []

    class Counted(Ternary):
        def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
            encoded.append(error)
            return super().encode(error, draws)

    frames = []
    for hidden in ([8], [8] * 5):
        for activations in ("keep", "recompute"):
            model, rule, device = (
                FullyConnected(sizes(), hidden, "tanh", 0.0, 0.0),
                DirectFeedbackAlignment(share_columns=share),
                OPU(encoding=Counted()),
            )
            rule.activations = activations
            rule.prepare(model, CLASSES, device, CPU)
            encoded.clear()
            rule.backward(model, data_for("fc"))
            (error,) = encoded
            assert len(error) == ROWS
            shown = Ternary().encode(error, generator(0, "unused")).shown
            frames.append(device.cost().frames / int(shown.sum()))
            assert device.cost().rows == ROWS
    assert frames == [1.0] * 4


def peak(make_rule: Callable[[], LearningRule], activations: str, depth: int, dropout: float) -> float:
    """Return the most memory that a step holds, in outputs of one hidden block `[rows, width]`."""
    rows, width = 512, 64
    shape = ModelShape(width, CLASSES, generator(0, "weights"), generator(0, "dropout"))
    model, rule = FullyConnected(shape, [width] * depth, "tanh", dropout, 0.0).train(), make_rule()
    rule.activations = activations  # type: ignore[attr-defined]
    rule.prepare(model, CLASSES, Digital("cpu"), CPU)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    data = Batch(torch.randn(rows, width, generator=generator(1, "x")), torch.zeros(rows, dtype=torch.int64))
    with LiveMemory() as memory:
        rule.backward(model, data)
    return memory.peak / (rows * width * 4)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("rule", [DirectFeedbackAlignment, DirectRandomTargetProjection])
def test_recomputing_takes_five_activations_at_any_depth(
    rule: Callable[[], LearningRule], dropout: float
) -> None:
    shallow, deep = (peak(rule, "recompute", depth, dropout) for depth in (4, 24))
    assert shallow == deep <= 5.0


def test_kept_activations_take_no_more_than_those_of_backpropagation() -> None:
    """Without dropout both hold one output a block. With dropout, backpropagation needs every mask again."""
    for dropout, most in ((0.0, 1.02), (0.2, 0.72)):
        kept = peak(DirectFeedbackAlignment, "keep", 24, dropout)
        assert kept <= most * peak(Backpropagation, "keep", 24, dropout)


def test_recomputed_backpropagation_holds_the_inputs_of_its_segments() -> None:
    """25 blocks are five segments of five: the inputs of four and the outputs of five blocks are held at once."""
    assert peak(Backpropagation, "recompute", 24, 0.0) == pytest.approx(4 + 5 + 1.4, abs=1.0)


def test_measuring_the_alignment_takes_no_more_memory_than_the_rule_allows() -> None:
    def of(activations: str, depth: int) -> float:
        shape = ModelShape(64, CLASSES, generator(0, "weights"))
        model, rule = FullyConnected(shape, [64] * depth, "tanh", 0.0, 0.0), DirectFeedbackAlignment()
        rule.activations = activations
        rule.prepare(model, CLASSES, device := Digital("cpu"), CPU)
        data = Batch(torch.randn(1024, 64), torch.zeros(1024, dtype=torch.int64))
        with LiveMemory() as memory:
            measure(model, rule, device, data, [])
        return memory.peak / (1024 * 64 * 4)

    weights = 2 * 24 * 64 * 64 / (1024 * 64)  # the two gradients that are compared
    assert of("keep", 24) > 24
    assert of("recompute", 24) < 4 + 5 + 2 + weights


def test_a_block_draws_the_same_masks_whichever_other_blocks_are_computed() -> None:
    whole, alone = (FullyConnected(sizes(), [WIDTH] * 3, "tanh", 0.5, 0.5).train() for _ in range(2))
    x = torch.ones(ROWS, WIDTH)
    for _ in range(2):
        whole(data_for("fc"))
        alone.blocks[2].dropout(x)
        assert torch.equal(whole.blocks[2].dropout(x), alone.blocks[2].dropout(x))
    masks = [block.dropout(x) for block in whole.blocks]
    assert not any(torch.equal(masks[0], mask) for mask in masks[1:])


@pytest.mark.parametrize("parts", [[24], [12, 12], [7, 7, 7, 3], [1] * 24], ids=len)
def test_micro_batches_have_the_masks_of_their_batch(parts: list[int]) -> None:
    """The sum of the gradients of the parts is the gradient of the batch, over a part of the blocks as well."""

    def blocks() -> list[Block]:
        return list(network("samples", [9, 7, WIDTH], "tanh", 0.4, 0.2).blocks[1:3])

    x = torch.randn(sum(parts), 9, generator=generator(2, "x"), dtype=torch.float64)
    signal = torch.randn(sum(parts), WIDTH, generator=generator(3, "x"), dtype=torch.float64)
    found = []
    for divided in ([len(x)], parts):
        made = blocks()
        for _ in range(2):
            with micro_batches(made, len(x)):
                for h, s in zip(x.split(divided), signal.split(divided), strict=True):
                    made[1](made[0](h, None), None).backward(s)
        states = [block.dropout.generator.get_state() for block in made]  # type: ignore[union-attr]
        found.append(([one.grad for block in made for one in block.parameters()], states))
    (whole, states), (divided, states_of_parts) = found
    torch.testing.assert_close(whole, divided, rtol=1e-12, atol=1e-14)
    assert all(torch.equal(a, b) for a, b in zip(states, states_of_parts, strict=True))


def test_the_feedback_of_some_blocks_is_that_which_all_blocks_get() -> None:
    """A process that holds some of the blocks reads their columns alone, with the same noise."""
    error = torch.randn(ROWS, CLASSES, generator=generator(4, "e")) / ROWS
    found = []
    for wanted in (None, [1, 2]):
        model, rule = FullyConnected(sizes(), [8, 9, 10], "tanh", 0.0, 0.0), DirectFeedbackAlignment()
        rule.prepare(model, CLASSES, OPU(readout=OffAxis()), CPU)
        data = data_for("fc")
        found.append([part.clone() for _ in range(2) for part in rule.feedback(error, data, ROWS, wanted)])
    everything, some = found
    assert [part.shape[1] for part in everything] == [8, 9, 10] * 2
    assert all(torch.equal(a, b) for a, b in zip(everything[1:3] + everything[4:], some, strict=True))


def test_an_output_without_parameters_is_passed_over() -> None:
    class Frozen(Linear):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            self.requires_grad_(False)

    shape = sizes()
    blocks = [Block(Frozen(FEATURES, 9, shape.weights), 9, "tanh", 0.0)]
    blocks += [Block(Linear(9, CLASSES, shape.weights), CLASSES, None, 0.0)]
    for activations in ("keep", "recompute"):
        rule, model = DirectFeedbackAlignment(), Model(blocks)
        rule.activations = activations
        found = gradients(model, rule, Digital("cpu"), data_for("fc"))
        assert found["blocks.0.layer.weight"] is None
        assert found["blocks.1.layer.weight"] is not None
        model.zero_grad()


def test_recomputed_backpropagation_is_backpropagation() -> None:
    same(
        gradients(
            network("samples", [9, 16, 7, 5, 8], "tanh", 0.3),
            Backpropagation("recompute"),
            None,
            batch("samples"),
        ),
        gradients(
            network("samples", [9, 16, 7, 5, 8], "tanh", 0.3), Backpropagation(), None, batch("samples")
        ),
    )
