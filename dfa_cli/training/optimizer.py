"""torch's optimizers without the import of torch's compiler."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar, cast

import torch
from torch.optim import Optimizer

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

# The first call of each of these methods imports torch._dynamo, only to tell the compiler to leave the method alone.
IMPORT_DYNAMO = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def without_dynamo(optimizer: type[OptimizerT]) -> type[OptimizerT]:
    """Make a subclass that never imports torch's compiler and gives the same numbers, hooks and state.

    That import takes a second, as long as the import of torch itself, and nothing is compiled here. The subclass
    removes the wrappers that torch puts around the methods of an optimizer. Only one thing that
    these wrappers do matters in a step: they switch gradients off. The subclass does this itself.
    """
    step = inspect.unwrap(optimizer.step)

    def unwrapped_step(self: Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return step(self, closure)

    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in IMPORT_DYNAMO}
    zero_grad = methods["zero_grad"]

    def plain_zero_grad(self: Optimizer, set_to_none: bool = True) -> None:
        if not set_to_none:
            return zero_grad(self, set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    methods["zero_grad"] = plain_zero_grad  # without the profiler's mark, which takes longer than the rest
    unwrapped = type(optimizer.__name__, (optimizer,), {**methods, "step": unwrapped_step})
    return cast("type[OptimizerT]", unwrapped)


def make_optimizer(partial: functools.partial[Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """Build the optimizer over these parameter groups. A class from outside torch is used as it is."""
    target = partial.func
    if isinstance(target, type) and issubclass(target, Optimizer) and target.__module__.startswith("torch."):
        return without_dynamo(target)(groups, *partial.args, **partial.keywords)
    return partial(groups)
