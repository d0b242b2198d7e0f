"""torch's optimizers without the import of torch's compiler."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar, cast

import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

# The first call of each of these methods imports torch._dynamo, only to tell the compiler to leave the method alone.
IMPORT_DYNAMO = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def without_dynamo(optimizer: type[OptimizerT]) -> type[OptimizerT]:
    """Make a subclass that never imports torch's compiler and gives the same numbers, hooks and state.

    That import takes a second, as long as the import of torch itself, and nothing is compiled here. The subclass
    removes the wrappers that torch puts around the methods of an optimizer. Two things that these wrappers do matter
    in a step: they switch gradients off, and they call hooks. The subclass does this itself.
    """
    step = inspect.unwrap(optimizer.step)

    def unwrapped_step(self: Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            if closure is None and isinstance(self, Adam) and _take_fused_step(self):
                return None
            return step(self, closure)

    hooked_step = Optimizer.profile_hook_step(unwrapped_step)

    def plain_step(self: Optimizer, closure: Any = None) -> Any:
        return (hooked_step if _has_hooks(self) else unwrapped_step)(self, closure)

    plain_step.hooked = True  # type: ignore[attr-defined]  # otherwise torch would wrap it

    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in IMPORT_DYNAMO}
    zero_grad = methods["zero_grad"]

    def plain_zero_grad(self: Optimizer, set_to_none: bool = True) -> None:
        if not set_to_none:
            return zero_grad(self, set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    methods["zero_grad"] = plain_zero_grad  # without the profiler's mark, which takes longer than the rest
    unwrapped = type(optimizer.__name__, (optimizer,), {**methods, "step": plain_step})
    return cast("type[OptimizerT]", unwrapped)


def _has_hooks(self: Optimizer) -> bool:
    return bool(
        self._optimizer_step_pre_hooks
        or self._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )


def _take_fused_step(adam: Adam) -> bool:
    """Take a step of torch's fused Adam on a CPU by its kernel alone, and tell whether this was possible.

    Before each step torch divides the parameters by device and type, which takes longer than the kernel takes for a
    small network. The first step of a parameter is left to torch, which makes the state.
    """
    if not all(group["fused"] and not group["amsgrad"] for group in adam.param_groups):
        return False
    groups = [[p for p in group["params"] if p.grad is not None] for group in adam.param_groups]
    trained = [p for group in groups for p in group]
    if not all(p.is_cpu and p.dtype == torch.float32 and adam.state[p] for p in trained):
        return False
    if not trained:  # a stage whose blocks the rule does not train
        return True
    torch._foreach_add_([adam.state[p]["step"] for p in trained], 1)  # type: ignore[attr-defined]
    for group, parameters in zip(adam.param_groups, groups, strict=True):
        if not parameters:
            continue
        states = [adam.state[p] for p in parameters]
        kernel = "_fused_adamw_" if group.get("decoupled_weight_decay") else "_fused_adam_"
        getattr(torch, kernel)(
            parameters,
            [p.grad for p in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )
    return True


def make_optimizer(partial: functools.partial[Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """Build the optimizer over these parameter groups. A class from outside torch is used as it is.

    On CUDA, Adam and SGD read their learning rate from a tensor, so that their steps can be recorded.
    """
    target = partial.func
    if not (
        isinstance(target, type) and issubclass(target, Optimizer) and target.__module__.startswith("torch.")
    ):
        return partial(groups)
    groups = [{**group, "params": list(group["params"])} for group in groups]
    parameters = [parameter for group in groups for parameter in group["params"]]
    if not (parameters and parameters[0].is_cuda and issubclass(target, (Adam, SGD))):
        return without_dynamo(target)(groups, *partial.args, **partial.keywords)
    # Of torch's SGD only the fused kernel reads a tensor without making the CPU wait.
    readable = {"capturable" if issubclass(target, Adam) else "fused": True}
    optimizer = without_dynamo(target)(groups, *partial.args, **(readable | partial.keywords))
    optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]  # It may well run uncaptured.
    for group in optimizer.param_groups:
        if group.get("capturable") or group["fused"]:
            group["initial_lr"] = group["lr"]
            group["lr"] = torch.tensor(group["lr"], device=parameters[0].device)
    return optimizer
