"""Alignment: the cosine between the gradients of a rule and the true gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import KEEP, HasFeedbackMatrices, LearningRule, Stateful


def measure(
    model: Model,
    rule: LearningRule,
    device: ProjectionDevice | None,
    batch: Batch,
    generators: Iterable[torch.Generator],
) -> dict[str, float | None]:
    """Measure the alignment of each block (counted from 1) at this moment, on one batch with dropout off.

    `alignment_i` is `cos(g, t)`: `g` is the gradient that the rule gives the weights of block `i`, `t` the true one,
    each flattened to a vector. `alignment_i` is `None` where the rule gives no gradient.

    `alignment_rows_i` counts the rows of the weight matrix that enter the cosine. The matrix has one row for each input
    in our layers, and one for each output in the layers of torch_geometric. A row in which both gradients are zero says
    nothing and is left out. A row in which only one of the two is zero is a disagreement and is counted.

    `matrix_alignment_i`, for the hidden blocks of a rule with `feedback_matrices`, is the cosine between `B_i` and the
    matrix that backpropagation has in its place, `(W_{i+1} ... W_last)^T`. It tells how far the forward weights have
    turned towards the feedback.

    `device` is `None` for a rule that projects nothing. `generators` are all the generators that training draws from.
    Measuring does not change training: gradients, dropout, noise and counters are put back as they were.
    """
    generator_states = [(generator, generator.get_state()) for generator in generators]
    stateful = [part for part in (device, rule) if isinstance(part, Stateful)]
    states = [{name: value.clone() for name, value in part.state_dict().items()} for part in stateful]
    was_training = model.training
    gradients = [parameter.grad for parameter in model.parameters()]
    try:
        model.eval()
        rule_gradients = _gradients(model, rule, batch)
        # A rule that holds few activations must be measured without holding many.
        true_gradients = _gradients(model, Backpropagation(getattr(rule, "activations", KEEP)), batch)
    finally:
        model.train(was_training)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for generator, generator_state in generator_states:
            generator.set_state(generator_state)
        for part, state in zip(stateful, states, strict=True):
            part.load_state_dict(state)

    measured: dict[str, float | None] = {}
    for i, (g, t) in enumerate(zip(rule_gradients, true_gradients, strict=True), start=1):
        cosine, rows = _cosine(g, t)
        measured[f"alignment_{i}"] = cosine
        measured[f"alignment_rows_{i}"] = rows
    if isinstance(rule, HasFeedbackMatrices):
        for i, cosine in enumerate(_matrix_alignment(model, rule.feedback_matrices()), start=1):
            measured[f"matrix_alignment_{i}"] = cosine
    return measured


def columns(model: Model, rule: LearningRule) -> list[str]:
    """Return the names that `measure` uses for this model and rule. They are columns of metrics.csv."""
    names = [f"alignment_{i}" for i in range(1, len(model.blocks) + 1)]
    names += [f"alignment_rows_{i}" for i in range(1, len(model.blocks) + 1)]
    if isinstance(rule, HasFeedbackMatrices):
        names += [f"matrix_alignment_{i}" for i in range(1, len(model.blocks))]
    return names


def _gradients(model: Model, rule: LearningRule, batch: Batch) -> list[list[Tensor | None]]:
    """Compute the rule's gradients of the weight matrices of each block; `None` where the rule gives none."""
    model.zero_grad(set_to_none=True)
    rule.backward(model, batch)
    return [[weight.grad for weight in block.matrices().values()] for block in model.blocks]


def _cosine(
    rule_gradients: list[Tensor | None], true_gradients: list[Tensor | None]
) -> tuple[float | None, int]:
    """Compute the cosine over the rows in which at least one gradient is not zero, and count those rows."""
    dot, g_square, t_square, rows = 0.0, 0.0, 0.0, 0
    for g, t in zip(rule_gradients, true_gradients, strict=True):
        if g is None or t is None:
            continue
        g, t = g.double().flatten(1), t.double().flatten(1)
        either_nonzero = (g != 0).any(1) | (t != 0).any(1)
        g, t = g[either_nonzero], t[either_nonzero]
        dot += float((g * t).sum())
        g_square += float(g.square().sum())
        t_square += float(t.square().sum())
        rows += len(g)
    if not g_square or not t_square:
        return None, rows
    return dot / (g_square * t_square) ** 0.5, rows


@torch.no_grad()
def _matrix_alignment(model: Model, feedback: list[Tensor]) -> list[float | None]:
    """Compute the cosine between `B_i` and `(W_{i+1} ... W_last)^T` for each hidden block.

    The cosine is `None` unless every block above block `i` has exactly one weight matrix, stored as `[inputs, width]`.
    """
    matrices = [list(block.matrices().values()) for block in model.blocks]
    cosines: list[float | None] = []
    for i, matrix in enumerate(feedback):
        above = matrices[i + 1 :]
        if any(
            len(weights) != 1 or not _has_our_layout(weights[0], block)
            for weights, block in zip(above, model.blocks[i + 1 :], strict=True)
        ):
            cosines.append(None)
            continue
        product = above[0][0]
        for weights in above[1:]:
            product = product @ weights[0]
        a, b = matrix.to(product.device).flatten(), product.t().flatten()
        cosines.append(float(torch.dot(a, b) / (a.norm() * b.norm())))
    return cosines


def _has_our_layout(weight: Tensor, block: Block) -> bool:
    """Tell whether `weight` is stored as `[inputs, width]`. torch_geometric stores the transpose, or more matrices."""
    return weight is getattr(block.layer, "weight", None) and weight.shape[1] == block.width
