"""torch's optimizers without torch's compiler."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar, cast

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)

# each of them imports torch._dynamo when it is first called, to tell the compiler to keep off
GUARDED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def without_dynamo(optimizer: type[Kind]) -> type[Kind]:
    """A subclass with the same numbers, the same hooks and the same state, that never imports torch's compiler.

    That import takes a second, as long as torch itself, and nothing is compiled here. What torch wraps around the
    methods of an optimizer is taken off; of it only the switching off of gradients matters in a step.
    """
    step = inspect.unwrap(optimizer.step)

    def bare_step(self: Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return step(self, closure)

    bare = {name: inspect.unwrap(getattr(optimizer, name)) for name in GUARDED}
    return cast("type[Kind]", type(optimizer.__name__, (optimizer,), {**bare, "step": bare_step}))


def make_optimizer(partial: functools.partial[Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """The optimizer over these parameter groups; one from outside torch is taken as it is."""
    target = partial.func
    if isinstance(target, type) and issubclass(target, Optimizer) and target.__module__.startswith("torch."):
        return without_dynamo(target)(groups, *partial.args, **partial.keywords)
    return partial(groups)
