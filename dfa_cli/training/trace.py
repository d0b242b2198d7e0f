"""Notes in which step of a run something was first not finite, and which parameter it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dfa_cli.models.base import Model


class Trace:
    """Looks at the steps of a run on a CPU, each after its backward pass and before the optimizer changes the weights.

    The first step is looked at whole. Of a later one only the loss is read, which takes a microsecond. When it is not
    finite, weights that are not finite either were spoiled by the step before.

    `kinds`: the classes of the user's own that compute gradients or weights; without any, a run has no trace.
    `epoch`: of the steps that are seen next. `found`: what was first not finite, in words.
    """

    def __init__(self, model: Model, kinds: Sequence[type]):
        self.model, self.kinds = model, kinds
        self.epoch = 0
        self.last = (0, 0)  # the epoch and the number of the last step; 0 before the first
        self.found: str | None = None

    def see(self, losses: Tensor) -> None:
        """Look at the next step. `losses`: the sum of the losses of the epoch, with that of this step."""
        is_finite = math.isfinite(losses.item())
        before = self.last
        self.last = (self.epoch, before[1] + 1 if before[0] == self.epoch else 1)
        if self.found is None and not (is_finite and before[1]):
            self.found = self._look(before, is_finite)

    def said(self) -> str | None:
        """Say what was found, or else what the last step has left."""
        return self.found or (self._look(self.last, is_finite=True) if self.last[1] else None)

    def _look(self, before: tuple[int, int], is_finite: bool) -> str | None:
        here = _named(self.last)
        parameters = dict(self.model.named_parameters())
        if weights := _not_finite(parameters):
            if not before[1]:
                return f"{weights} not finite before {here}, the first of this process"
            return f"{weights} not finite after {_named(before)}, whose loss was finite"
        if not is_finite and before[1]:
            return f"The loss of {here} was not finite, and all weights were finite then"
        if gradients := _not_finite({name: parameter.grad for name, parameter in parameters.items()}):
            loss = "finite" if is_finite else "not finite either"
            return f"The gradient of {gradients} not finite in {here}, whose loss was {loss}"
        return None


def _named(step: tuple[int, int]) -> str:
    epoch, number = step
    return f"step {number} of epoch {epoch}"


def _not_finite(values: Mapping[str, Tensor | None]) -> str | None:
    """Name the first of these values that is not finite, count the others, and put the verb after them."""
    names = [
        name for name, value in values.items() if value is not None and not bool(torch.isfinite(value).all())
    ]
    if len(names) > 1:
        return f"{names[0]} and {len(names) - 1} other{'s' if len(names) > 2 else ''} were"
    return f"{names[0]} was" if names else None
