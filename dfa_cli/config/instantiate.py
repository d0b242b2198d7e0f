"""The objects that a configuration's `_target_`s name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from dfa_cli.config.identity import ending_no_longer
from dfa_cli.config.plugins import missing, target_not_found_message
from dfa_cli.config.schema import without_facts
from dfa_cli.errors import DfaError


def build(node: Mapping[str, Any], *arguments: Any) -> Any:
    """The object that a group's `_target_` names. A `DfaError` raised in its constructor comes out as it is.

    Raises `DfaError` when there is no such class; what fails inside the module that holds it is a bug of its own.
    """
    from hydra.errors import InstantiationException

    try:
        return instantiate(without_facts(node), *arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DfaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):
            raise DfaError(wrong_arguments_message(node["_target_"], error.__cause__)) from error
        if (module := missing(error)) and f"{node['_target_']}.".startswith(f"{module}."):
            raise DfaError(target_not_found_message(node["_target_"], module)) from error
        raise


def wrong_arguments_message(target: str, error: TypeError) -> str:
    """What is wrong with the keys that a class is given, as Python says it, with the new name of an earlier one."""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    advice = ending_no_longer(unexpected[1]) if unexpected else None
    advice = advice or "~group.key takes a key away, +group.key=value adds one."
    return f"{target} does not take these keys ({error}); {advice}"
