"""Notes in which step of a run something was first not finite, and which parameter it was."""

from __future__ import annotations

import contextlib
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
    `steps`: how many an epoch has.
    """

    def __init__(self, model: Model, kinds: Sequence[type], steps: int):
        self.model, self.kinds, self.steps = model, kinds, steps
        self._begun_after = self._last = 0  # steps are counted from the first one of epoch 1
        self._found: str | None = None

    def watch(self, optimizer: torch.optim.Optimizer, losses: Tensor, epoch: int) -> None:
        """Look at each step from now on. `losses`: the sum of the losses so far in the epoch. `epoch`: the last one.

        An optimizer of the user's own need not have the hooks of torch, and is then not watched.
        """
        self._begun_after = self._last = epoch * self.steps
        with contextlib.suppress(Exception):
            optimizer.register_step_pre_hook(lambda *_: self._see(losses))

    def said(self) -> str | None:
        """Say what was first not finite, if anything was: in a step, or after the last one."""
        return self._found or (self._spoiled_weights() if self._last > self._begun_after else None)

    def _see(self, losses: Tensor) -> None:
        is_finite = math.isfinite(losses.item())
        is_first = self._last == self._begun_after
        if self._found is None and (is_first or not is_finite):
            self._found = self._look(is_first, is_finite)
        self._last += 1

    def _look(self, is_first: bool, is_finite: bool) -> str | None:
        here = self._named(self._last + 1)
        if is_first and (weights := _not_finite(dict(self.model.named_parameters()))):
            return f"{weights} not finite before {here}, the first of this process"
        if not is_first:
            return (
                self._spoiled_weights()
                or f"The loss of {here} was not finite, and all weights were finite then"
            )
        gradients = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        if gradient := _not_finite(gradients):
            loss = "finite" if is_finite else "not finite either"
            return f"The gradient of {gradient} not finite in {here}, whose loss was {loss}"
        return None

    def _spoiled_weights(self) -> str | None:
        """Say which weights are not finite after the last step, whose loss was finite."""
        weights = _not_finite(dict(self.model.named_parameters()))
        return weights and f"{weights} not finite after {self._named(self._last)}, whose loss was finite"

    def _named(self, step: int) -> str:
        epoch, number = divmod(step - 1, self.steps)
        return f"step {number + 1} of epoch {epoch + 1}"


def _not_finite(values: Mapping[str, Tensor | None]) -> str | None:
    """Name the first of these values that is not finite, count the others, and put the verb after them."""
    names = [
        name for name, value in values.items() if value is not None and not bool(torch.isfinite(value).all())
    ]
    if len(names) > 1:
        return f"{names[0]} and {len(names) - 1} other{'s' if len(names) > 2 else ''} were"
    return f"{names[0]} was" if names else None
