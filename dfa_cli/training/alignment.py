"""How far a rule's gradients point where the true ones do."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import HasFeedbackMatrices, LearningRule, Stateful


def measure(
    model: Model,
    rule: LearningRule,
    device: ProjectionDevice | None,
    batch: Batch,
    generators: Iterable[torch.Generator],
) -> dict[str, float | None]:
    """Cosines of this moment, block by block (counted from 1), on one batch with dropout off.

    `alignment_i`: `cos(g, t)`, `g` the gradient that the rule gives the weights of block `i` and `t` the true one,
    each flattened to a vector; `None` where the rule gives none. `alignment_rows_i` counts the rows of the weight
    matrix (inputs of our layers, outputs of torch_geometric's) that are in it: those in which neither has a gradient
    are left out, and say nothing. Where only one of the two has one they disagree, and that counts.
    `matrix_alignment_i` (hidden blocks, of a rule with `feedback_matrices`): the cosine between `B_i` and the matrix in
    its place, `(W_{i+1} ... W_last)^T`, which is the angle that the forward weights have turned towards the feedback.

    `device` is `None` for a rule that projects nothing; `generators` are all that training draws from. Nothing that
    training uses is left changed: gradients, dropout, noise and counters are put back as they were.
    """
    draws = [(generator, generator.get_state()) for generator in generators]
    stateful = [one for one in (device, rule) if isinstance(one, Stateful)]
    states = [{name: value.clone() for name, value in one.state_dict().items()} for one in stateful]
    was_training = model.training
    gradients = [parameter.grad for parameter in model.parameters()]
    try:
        model.eval()
        taught = _gradients(model, rule, batch)
        true = _gradients(model, Backpropagation(), batch)
    finally:
        model.train(was_training)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for generator, before in draws:
            generator.set_state(before)
        for one, state in zip(stateful, states, strict=True):
            one.load_state_dict(state)

    found: dict[str, float | None] = {}
    for i, (g, t) in enumerate(zip(taught, true, strict=True), start=1):
        cosine, rows = _cosine(g, t)
        found[f"alignment_{i}"] = cosine
        found[f"alignment_rows_{i}"] = rows
    if isinstance(rule, HasFeedbackMatrices):
        for i, cosine in enumerate(_matrix_alignment(model, rule.feedback_matrices()), start=1):
            found[f"matrix_alignment_{i}"] = cosine
    return found


def columns(model: Model, rule: LearningRule) -> list[str]:
    """The names that `measure` gives for this model and rule."""
    names = [f"alignment_{i}" for i in range(1, len(model.blocks) + 1)]
    names += [f"alignment_rows_{i}" for i in range(1, len(model.blocks) + 1)]
    if isinstance(rule, HasFeedbackMatrices):
        names += [f"matrix_alignment_{i}" for i in range(1, len(model.blocks))]
    return names


def _gradients(model: Model, rule: LearningRule, batch: Batch) -> list[list[Tensor | None]]:
    """The gradients that the rule gives the weight matrices of each block; `None` where it gives none."""
    model.zero_grad(set_to_none=True)
    rule.backward(model, batch)
    return [[weight.grad for weight in block.matrices().values()] for block in model.blocks]


def _cosine(taught: list[Tensor | None], true: list[Tensor | None]) -> tuple[float | None, int]:
    """Cosine over the rows in which either has a gradient, and how many rows those are."""
    dot, g_square, t_square, rows = 0.0, 0.0, 0.0, 0
    for g, t in zip(taught, true, strict=True):
        if g is None or t is None:
            continue
        g, t = g.double().flatten(1), t.double().flatten(1)
        either = (g != 0).any(1) | (t != 0).any(1)
        g, t = g[either], t[either]
        dot += float((g * t).sum())
        g_square += float(g.square().sum())
        t_square += float(t.square().sum())
        rows += len(g)
    if not g_square or not t_square:
        return None, rows
    return dot / (g_square * t_square) ** 0.5, rows


@torch.no_grad()
def _matrix_alignment(model: Model, feedback: list[Tensor]) -> list[float | None]:
    """Of each hidden block, where every block above it has one weight matrix `[inputs, width]`."""
    above = [list(block.matrices().values()) for block in model.blocks]
    cosines: list[float | None] = []
    for i, matrix in enumerate(feedback):
        chain = above[i + 1 :]
        if any(
            len(weights) != 1 or not _maps(weights[0], block)
            for weights, block in zip(chain, model.blocks[i + 1 :], strict=True)
        ):
            cosines.append(None)
            continue
        through = chain[0][0]
        for weights in chain[1:]:
            through = through @ weights[0]
        a, b = matrix.to(through.device).flatten(), through.t().flatten()
        cosines.append(float(torch.dot(a, b) / (a.norm() * b.norm())))
    return cosines


def _maps(weight: Tensor, block: Block) -> bool:
    """Whether this is a matrix `[inputs, width]` of ours: torch_geometric keeps the transpose, or several."""
    return weight is getattr(block.layer, "weight", None) and weight.shape[1] == block.width
