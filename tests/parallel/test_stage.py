"""Stages and micro-batches give the results of one process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from one_process import train_step
from torch import Tensor

from dfa_cli.devices import ProjectionDevice
from dfa_cli.devices.digital import Digital
from dfa_cli.devices.opu import OPU, Dithered
from dfa_cli.devices.opu.encoding import Ternary
from dfa_cli.errors import DfaError
from dfa_cli.models import Batch, FullyConnected, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.models.batch import Graph
from dfa_cli.parallel.parts import split_batch
from dfa_cli.rules import DirectFeedbackAlignment, DirectRandomTargetProjection, LearningRule, Shallow, Step
from dfa_cli.seeding import generator

ROWS, FEATURES, CLASSES, HIDDEN = 37, 12, 5, [16, 24, 8, 16, 12]
BLOCKS = len(HIDDEN) + 1
DROPOUT = 0.2
DEVICES: dict[str, Callable[[], ProjectionDevice]] = {
    "digital": lambda: Digital("cpu"),
    "optical": OPU,
    "dithered": lambda: OPU(encoding=Dithered(), remove_sum=True),
    "absolute": lambda: OPU(encoding=Ternary(threshold=0.003, relative=False)),
}
RULES: dict[str, Callable[[], LearningRule]] = {
    "dfa": DirectFeedbackAlignment,
    "shared": lambda: DirectFeedbackAlignment(share_columns=True),
    "drtp": DirectRandomTargetProjection,
    "shallow": Shallow,
}


def build(rule: str = "dfa", device: str = "digital") -> tuple[Model, LearningRule, ProjectionDevice]:
    shape = ModelShape(FEATURES, CLASSES, generator(1, "weights"), generator(1, "dropout"))
    model = FullyConnected(shape, HIDDEN, "tanh", DROPOUT, 0.1)
    built = RULES[rule](), DEVICES[device]()
    built[0].prepare(model, CLASSES, built[1], torch.device("cpu"))
    return model.train(), *built


def batch(rows: int = ROWS) -> Batch:
    draws = torch.Generator().manual_seed(3)
    x = torch.randn(rows, FEATURES, generator=draws)
    return Batch(x, torch.randint(0, CLASSES, (rows,), generator=draws))


def stages(count: int) -> list[range]:
    bounds = [BLOCKS * i // count for i in range(count + 1)]
    return [range(first, stop) for first, stop in pairwise(bounds)]


@functools.cache
def in_one(rule: str, device: str) -> tuple[Step, dict[str, Tensor]]:
    model, learning, _ = build(rule, device)
    step = learning.backward(model, batch())
    return step, {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def assert_close(step: Step, gradients: dict[str, Tensor], rule: str, device: str) -> None:
    whole, expected = in_one(rule, device)
    assert int(step.correct) == int(whole.correct)
    assert abs(float(step.loss) - float(whole.loss)) <= 1e-6 * float(whole.loss)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("central", [False, True], ids=["local", "central"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_one_micro_batch_gives_the_bits_of_one_process(count: int, device: str, central: bool) -> None:
    steps, gradients, _ = train_step(lambda: build("dfa", device), batch(), stages(count), 1, central)
    whole, expected = in_one("dfa", device)
    for step in steps:
        assert (float(step.loss), int(step.correct)) == (float(whole.loss), int(whole.correct))
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


@pytest.mark.parametrize("parts", [2, 4, 5, 37, 100])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("device", DEVICES)
def test_micro_batches_give_the_gradients_of_the_whole_batch(count: int, parts: int, device: str) -> None:
    """Masks and noise are therefore equal: any other mask or noise would give other gradients."""
    steps, gradients, _ = train_step(lambda: build("dfa", device), batch(), stages(count), parts)
    for step in steps:
        assert_close(step, gradients, "dfa", device)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("central", [False, True], ids=["local", "central"])
def test_every_blockwise_rule_runs_in_stages(rule: str, central: bool) -> None:
    steps, gradients, _ = train_step(lambda: build(rule), batch(), stages(3), 4, central)
    for step in steps:
        assert_close(step, gradients, rule, "digital")


@pytest.mark.parametrize("device", DEVICES)
def test_the_number_of_stages_changes_no_bit(device: str) -> None:
    runs = [train_step(lambda: build("dfa", device), batch(), stages(n), 4)[1] for n in (1, 2, 3, 6)]
    for gradients in runs[1:]:
        assert all(torch.equal(gradients[name], runs[0][name]) for name in runs[0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("device", "parts"), [("digital", 1), ("digital", 4), ("optical", 4)])
def test_recomputed_activations_change_no_bit(rule: str, device: str, parts: int) -> None:
    found = []
    for activations in ("keep", "recompute"):
        models: list[Model] = []

        def built(
            activations: str = activations, models: list[Model] = models
        ) -> tuple[Model, LearningRule, ProjectionDevice]:
            model, learning, projector = build(rule, device)
            learning.activations = activations  # type: ignore[attr-defined]
            models.append(model)
            return model, learning, projector

        steps, gradients, _ = train_step(built, batch(), stages(3), parts)
        states = [
            None if block.dropout.generator is None else block.dropout.generator.get_state()
            for model in models
            for block in model.blocks
        ]
        found.append((steps, gradients, states))
    (kept, expected, before), (again, gradients, after) = found
    assert [float(step.loss) for step in again] == [float(step.loss) for step in kept]
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_generators_end_in_the_state_of_one_process() -> None:
    models: list[Model] = []

    def kept() -> tuple[Model, LearningRule, ProjectionDevice]:
        built = build()
        models.append(built[0])
        return built

    train_step(kept, batch(), stages(2), 4)
    whole = build()
    whole[1].backward(whole[0], batch())
    for stage, blocks in enumerate(stages(2)):
        for i in blocks:
            ours, theirs = models[stage].blocks[i].dropout.generator, whole[0].blocks[i].dropout.generator
            assert ours is not None
            assert theirs is not None
            assert torch.equal(ours.get_state(), theirs.get_state())


def test_what_is_sent_is_what_the_formula_says() -> None:
    parts, size = 4, 4
    for central in (False, True):
        _, _, sent = train_step(build, batch(), stages(3), parts, central)
        first, middle, last = (traffic.sent for traffic in sent)
        borders = [HIDDEN[blocks.stop - 1] for blocks in stages(3)[:-1]]
        assert first["forward"] == {"messages": parts, "bytes": ROWS * borders[0] * size}
        assert middle["forward"] == {"messages": parts, "bytes": ROWS * borders[1] * size}
        # The last stage sends the errors to the first, which passes them on to the next one that projects, if any.
        errors = {"messages": parts, "bytes": ROWS * CLASSES * size}
        assert last["backward"] == errors
        assert first["backward"] == ({"messages": 0, "bytes": 0} if central else errors)
        assert middle["backward"]["messages"] == 0
        others = sum(HIDDEN[i] for blocks in stages(3)[1:] for i in blocks if i < BLOCKS - 1)
        assert first["projection"]["bytes"] == (ROWS * others * size if central else 0)


def test_a_graph_is_not_divided() -> None:
    graph = Graph(torch.tensor([[0], [1]]), 4)
    with pytest.raises(DfaError, match=r"The rows of a graph cannot be divided.* parallel\.micro_batches=1"):
        split_batch(Batch(torch.randn(4, FEATURES), torch.tensor([0, 1, 2, 3]), None, graph), 2)
