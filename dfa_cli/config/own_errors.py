"""Tells of an exception in a run with code of the user's own in one sentence, with the user's own lines."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dfa_cli.config.own_code import OwnCode, is_module_of_own, is_own_file
from dfa_cli.config.own_files import place_of
from dfa_cli.config.plugins import is_of_package, targets
from dfa_cli.errors import DfaError

MOST_CALLS = 3  # lines of the user's own that a message names


class OwnCodeError(DfaError):
    """An exception that code of the user's own has raised, or has led to. Its cause is that exception.

    The run has begun and is recorded as failed.
    """

    exit_code = 1
    refuses = False


def own_code_error(error: BaseException, code: OwnCode, config: Mapping[str, Any]) -> OwnCodeError | None:
    """Turn an exception into a sentence with the user's own lines. `None`: it has nothing to do with own code.

    An exception without a line of the user's own may come from what own code has returned, or lacks. The sentence then
    names the line of dfa, and the classes of one's own. An `OSError` there is one of the machine. In a run of several
    processes the exception may follow the end of another process.
    """
    if not code.modules:
        return None
    words = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    paths = {module.path for module in code.modules.values()}

    def is_own(path: str, module: str) -> bool:
        # Some files no import statement shows, such as those of a folder that own code has added to sys.path.
        return path in paths or is_module_of_own(path, module)

    if isinstance(error, SyntaxError) and is_own(error.filename or "", ""):
        return OwnCodeError(f"{syntax_message(error)}.")
    frames = traceback.extract_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame, name in zip(frames, modules, strict=True) if is_own(frame.filename, name)]
    if own:
        lines = ", called by ".join(map(_line, own[: -MOST_CALLS - 1 : -1]))
        hint = _hint(error) or _hidden(error, Path(own[-1].filename).parent)
        return OwnCodeError(f"{lines} raised {words}.{hint}")
    if isinstance(error, (OSError, SystemExit)) or config.get("parallel"):  # another process may have ended
        return None
    if isinstance(error, AttributeError) and is_own_class(type(error.obj)):
        return OwnCodeError(
            f"{described(type(error.obj))} has no {error.name}, which dfa reads.{_hint(error)}"
        )
    classes = sorted({target for target in targets(config) if not is_of_package(target)})
    of_dfa = [frame for frame in frames if "dfa_cli" in Path(frame.filename).parts]
    return OwnCodeError(
        f"{words}, in {_line((of_dfa or frames)[-1])}. The run uses code of your own: {', '.join(classes)}. "
        "It may lack or return something else than dfa expects there."
    )


def syntax_message(error: SyntaxError) -> str:
    """Say where a file breaks Python's grammar, and how."""
    line = (error.text or "").strip()
    where = place_of(Path(error.filename or "?"), error.lineno)
    return f"{where}: Python cannot read {f'`{line}`' if line else 'the file'}: {error.msg}"


def described(kind: type) -> str:
    """Name a class, and the line where it begins if it is one of the user's own."""
    if not is_own_class(kind):
        return kind.__name__
    with contextlib.suppress(OSError):
        return f"{kind.__name__} ({place_of(Path(inspect.getfile(kind)), inspect.getsourcelines(kind)[1])})"
    return kind.__name__


def returned(value: object) -> str:
    """Name the kind of a value that a method has returned."""
    return "nothing" if value is None else type(value).__name__


def is_own_class(kind: type) -> bool:
    try:
        return is_own_file(inspect.getfile(kind))
    except (OSError, TypeError):  # a class of C
        return False


def _line(frame: traceback.FrameSummary) -> str:
    name = frame.filename
    if not is_own_file(name):  # of an installed package: from the name of the package on
        parts = Path(name).parts
        name = os.path.join(*parts[-3:])
        return f"{name}, line {frame.lineno}, `{frame.line}`"
    return f"{place_of(Path(name), frame.lineno)}, `{frame.line}`"


def _hint(error: BaseException) -> str:
    """Name the usual cause of an object without what its base class sets: a constructor that does not call that one."""
    kind = type(error.obj) if isinstance(error, AttributeError) else None
    unset = kind is not None and kind.__mro__[1] is not object and any(map(_calls_no_other, kind.__mro__))
    if unset or "Module.__init__() call" in str(error):
        return " A constructor of a class that derives from another must call super().__init__(...) first."
    return ""


def _hidden(error: BaseException, folder: Path) -> str:
    """Tell of a file in `folder` with the name of the module that lacks something. Python has not read this file."""
    if isinstance(error, ImportError):
        name, lacks = error.name, getattr(error, "name_from", None)
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name, lacks = error.obj.__name__, error.name
    else:
        return ""
    file, found = folder / f"{name}.py", getattr(sys.modules.get(name or ""), "__file__", None)
    is_hidden = found is not None and file.is_file() and Path(found).exists() and not file.samefile(found)
    return f" {hidden_message(str(name), file, lacks)}" if is_hidden else ""


def hidden_message(module: str, file: Path, lacks: str | None) -> str:
    """Say that Python finds another module before a file of the user's own with the same name."""
    which = f", which has no {lacks}" if lacks else ""
    return (
        f"Python takes another module {module}{which}, in place of {place_of(file, None)}. Rename the file."
    )


def _calls_no_other(kind: type) -> bool:
    """Tell whether a class of the user's own has a constructor that calls none of another class."""
    called = getattr(getattr(vars(kind).get("__init__"), "__code__", None), "co_names", None)
    return called is not None and is_own_class(kind) and not {"super", "__init__"} & set(called)
