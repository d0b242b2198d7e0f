"""Builds the objects that a configuration names by `_target_`."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from dfa_cli.config.identity import ending_no_longer
from dfa_cli.config.own_errors import own_code_error
from dfa_cli.config.own_files import OwnFiles, is_typed
from dfa_cli.config.plugins import missing_module, target_not_found_message, targets
from dfa_cli.config.schema import FACTS, without_facts
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError, nearest


class ArgumentsError(DfaError):
    """The class `target` is not there, or does not take the keys of its node.

    `unexpected`: the key that Python's own reason names.
    """

    def __init__(self, target: str, message: str, unexpected: str | None):
        super().__init__(message)
        self.target, self.unexpected = target, unexpected


def build(node: Mapping[str, Any], *arguments: Any) -> Any:
    """Build the object that a group's `_target_` names, with the group's other keys as keyword arguments.

    Raises `DfaError` when there is no such class, when the class does not take the keys, or when its constructor raises
    a `DfaError`.
    An exception inside the module of the class is a bug of that module and is raised unchanged.
    """
    _require_no_interpolation(node, node["_target_"])
    try:
        return instantiate(without_facts(node), *arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DfaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError) and _is_about_keys(error.__cause__, node):
            raise arguments_error(node, error.__cause__, given=len(arguments)) from error
        if module := missing_module(error):
            for target in targets(node):
                if f"{target}.".startswith(f"{module}."):
                    message = target_not_found_message(target, module)
                    raise ArgumentsError(node["_target_"], message, None) from error
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


def arguments_error(node: Mapping[str, Any], error: TypeError, given: int = 0) -> ArgumentsError:
    """Say which key does not fit the class of a node. Python's own reason stands in where the keys seem to fit.

    `given`: the number of arguments that the class gets besides the keys.
    """
    named = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    unexpected = named[1] if named else None
    wrong = _wrong_keys(node, "", unexpected, given)
    message = wrong.message if wrong else f"{node['_target_']} cannot be made from its keys ({error})."
    return ArgumentsError(node["_target_"], message, unexpected)


@contextlib.contextmanager
def files_named(spec: RunSpec, log: Path | None = None) -> Iterator[None]:
    """Name the group of keys that do not fit their class, and the user's own file and the line that set them.

    Any other exception in a run with code of the user's own names the lines of that code. `log`: where the traceback of
    such an exception goes.
    """
    try:
        yield
    except ArgumentsError as error:
        own = OwnFiles(spec.choices, spec.config_dir)
        for group, node in spec.config.items():
            if isinstance(node, Mapping) and node.get("_target_") == error.target:
                wrong = _wrong_keys(node, group, error.unexpected, given=group in ("model", "optimizer"))
                place = own.place(wrong.key if wrong else f"{group}._target_")
                message = wrong.message if wrong else str(error)
                # An option of dfa sets the key, and a class that was named by itself does not have it.
                if wrong and wrong.unknown and not place and not is_typed(wrong.key, spec.overrides):
                    it = "it" if len(wrong.unknown) == 1 else "them"
                    message += f" Type {' '.join(f'~{key}' for key in wrong.unknown)} to leave {it} out."
                raise DfaError(f"{place}: {message}" if place else message) from error
        raise
    except DfaError:
        raise
    except (Exception, SystemExit) as error:
        if told := own_code_error(error, spec.code, spec.config):
            told.log = log
            raise told from error
        raise


NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _Wrong(NamedTuple):
    key: str
    message: str
    unknown: tuple[str, ...] = ()


def _wrong_keys(node: Mapping[str, Any], place: str, unexpected: str | None, given: int = 0) -> _Wrong | None:
    """Find the first key in a node, or in the nodes inside it, that does not fit its class. `place`: of the node.

    A class that passes keys on, with `**keys`, refuses only the `unexpected` one.
    """
    inside = f"{place}." if place else ""
    deeper = {key: value for key, value in node.items() if isinstance(value, Mapping) and "_target_" in value}
    for key, value in deeper.items():
        if wrong := _wrong_keys(value, inside + key, unexpected):
            return wrong
    target = node["_target_"]
    try:
        made = get_object(target)
        parameters = list(inspect.signature(made).parameters.values())
    except Exception:  # noqa: BLE001  (a class that cannot be imported or inspected, of which others tell)
        return None
    named = [one for one in parameters if one.kind in NAMED]
    first, named = [one.name for one in named[:given]], named[given:]
    names = [one.name for one in named]
    keys = [key for key in node if not key.startswith("_") and not (key in FACTS and "." not in place)]
    if taken := [key for key in keys if key in first]:
        return _Wrong(
            inside + taken[0],
            f"{target} is called with an argument before its keys, as with the sizes of a model, so {taken[0]} cannot "
            "be the first of its constructor; put that argument before it.",
        )
    wrong_keys = [key for key in keys if key not in names]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        wrong_keys = [key for key in wrong_keys if key == unexpected]
        names += [name for base in getattr(made, "__mro__", ())[1:] for name in _own_arguments(base)]
    if wrong_keys:
        dotted = tuple(inside + key for key in wrong_keys)
        words = f"{', '.join(dotted)} {'is no key' if len(dotted) == 1 else 'are no keys'} of {target}"
        takes = f"it takes {', '.join(names)}" if names else "it takes no keys"
        advice = ending_no_longer(wrong_keys[0]) or f"{takes}."
        return _Wrong(dotted[0], f"{words}{_guess(wrong_keys[0], node, inside, names)}; {advice}", dotted)
    if place == "optimizer" and not node.get("_partial_"):
        return _Wrong(
            place, "optimizer lacks `_partial_: true`, since the parameters of the model come later."
        )
    missing = [one.name for one in named if one.default is one.empty and one.name not in keys]
    if missing and not node.get("_partial_"):
        where = place or "The node"
        later = "; `_partial_: true` says that they come later" if "." in place else ""
        return _Wrong(place, f"{where} lacks {', '.join(missing)}, which {target} needs{later}.")
    return None


def _own_arguments(base: type) -> list[str]:
    """Return the arguments of the constructor that a class defines itself."""
    if "__init__" not in vars(base) or base.__module__.partition(".")[0] in ("builtins", "torch"):
        return []
    return [one.name for one in inspect.signature(base).parameters.values() if one.kind in NAMED]


def _guess(key: str, node: Mapping[str, Any], inside: str, names: list[str]) -> str:
    """Guess which key is meant: one of the class, or one of the nodes inside its node."""
    if f".{inside}".endswith(f".{key}."):
        return f" (the keys of its file stand below {key} without a line {key}:)"
    if guesses := nearest(key, names, most=1):
        return f" (did you mean {inside}{guesses[0]}?)"
    for part, value in node.items():
        for name in value if isinstance(value, Mapping) else ():
            if name in key or key in name:
                return f" (did you mean {inside}{part}.{name}?)"
    return ""
