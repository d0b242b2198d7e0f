"""Builds the objects that a configuration names by `_target_`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from dfa_cli.config.identity import ending_no_longer
from dfa_cli.config.plugins import missing_module, target_not_found_message, targets
from dfa_cli.config.schema import without_facts
from dfa_cli.errors import DfaError


def build(node: Mapping[str, Any], *arguments: Any) -> Any:
    """Build the object that a group's `_target_` names, with the group's other keys as keyword arguments.

    Raises `DfaError` when there is no such class, when the class does not take the keys, or when its constructor raises
    a `DfaError`.
    An exception inside the module of the class is a bug of that module and is raised unchanged.
    """
    from hydra.errors import InstantiationException

    _require_no_interpolation(node, node["_target_"])
    try:
        return instantiate(without_facts(node), *arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DfaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError) and _is_about_keys(error.__cause__, node):
            raise DfaError(wrong_arguments_message(node["_target_"], error.__cause__)) from error
        if module := missing_module(error):
            for target in targets(node):
                if f"{target}.".startswith(f"{module}."):
                    raise DfaError(target_not_found_message(target, module)) from error
        # Hydra's own message hides what went wrong in the module of the class.
        raise _first_cause(error) from error


def _is_about_keys(error: TypeError, node: Mapping[str, Any]) -> bool:
    """Tell whether the keys of a node made a call fail, and not a bug in the class.

    The class itself refuses the call, so that no line of it has run, or it has passed a key on to one that refuses it.
    """
    if unexpected := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
        return unexpected[1] in _keys(node)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_globals["__name__"].startswith("hydra.")


def _keys(node: Any) -> set[str]:
    return set(node).union(*map(_keys, node.values())) if isinstance(node, Mapping) else set()


def _require_no_interpolation(value: Any, target: str) -> None:
    """Raise `DfaError` for text with `${` in a resolved configuration.

    Hydra would take it for an interpolation, and an interpolation can call functions. A record may come from anywhere.
    """
    if isinstance(value, str) and "${" in value:
        raise DfaError(
            f"A value for {target} holds the text ${{, which Hydra takes for an interpolation; leave it out."
        )
    for held in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _require_no_interpolation(held, target)


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def wrong_arguments_message(target: str, error: TypeError) -> str:
    """Say that a class does not take the keys of its group, with Python's own reason and the new name of an old key."""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    advice = ending_no_longer(unexpected[1]) if unexpected else None
    advice = advice or "~group.key removes a key, +group.key=value adds one."
    return f"{target} does not take these keys ({error}); {advice}"
