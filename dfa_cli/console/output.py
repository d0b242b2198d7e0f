"""Writes text to the terminal, to a pipe, or to a file that is not overwritten unless the user says so."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfa_cli.console.values import plural, printable
from dfa_cli.errors import DfaError

_ASCII = str.maketrans(
    {
        "±": "+/-",
        "–": "-",
        "…": "~",
        "─": "-",
        "│": "|",
        "┤": "|",
        "└": "+",
        "µ": "u",
        "•": "*",
        "→": "->",
        "≥": ">=",
        "≤": "<=",
    }
)
_CONTROL = re.compile(r"(?!\x1b\[\d{1,2}m)[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = {
    "completed": "32",
    "running": "36",
    "failed": "31",
    "killed": "31",
    "interrupted": "33",
}


class _OutputFile(io.FileIO):
    """Standard output or standard error, to which writing never fails."""

    _nobody_reads = False

    def write(self, data: Any) -> int | None:
        if not self._nobody_reads:
            try:
                return super().write(data)
            except OSError:
                self._nobody_reads = True
        return len(data)


@contextmanager
def unread_output_dropped() -> Iterator[None]:
    """Lets the block go on when its output cannot be written any more.

    That happens when the reader of a pipe goes away, as `| head` does, when the terminal is closed, and when the disk
    under the file is full. A run that takes days must not end for it.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_tolerant(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream not in before:
                stream.flush()
        sys.stdout, sys.stderr = before


def _tolerant(stream: Any) -> Any:
    """Returns a stream that writes to the same place, and drops what cannot be written there."""
    if not isinstance(stream, io.TextIOWrapper):  # None without a console, or an object that a test put there
        return stream
    stream.flush()
    # The buffer is as large as that of the stream itself, and the file stays open when the new stream is collected.
    file = io.BufferedWriter(_OutputFile(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        file,
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def terminal_width() -> int | None:
    """Returns the width of the terminal in columns; `None` for a pipe or a file, where no line is folded."""
    return max(shutil.get_terminal_size().columns, 20) if sys.stdout.isatty() else None


def _without_controls(text: str) -> str:
    """Spells out control characters, but for line ends, tabs and colours: a record's text must not rule the terminal.

    The values of a record are spelled out where they are formatted. This is for the names of its keys.
    """
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_stdout(text: str) -> None:
    """Writes `text` to standard output.

    If the encoding lacks a character of `text`, special characters are replaced by plain ones.
    """
    text = _without_controls(text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def write_stderr(text: str) -> None:
    """Writes `text` and a newline to standard error."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr.write(_without_controls(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def colour_status(status: str) -> str:
    """Colours the status of a run, on a terminal that wants colours (https://no-color.org)."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\033[{_COLOURS[status]}m{status}\033[0m" if wanted and status in _COLOURS else status


def name_skipped(skipped: Sequence[tuple[str, str]], most: int = 5) -> None:
    """Writes to standard error which folders were skipped and why, at most `most` of them."""
    for folder, reason in skipped[:most]:
        write_stderr(f"skipped {printable(folder)}: {reason}")
    if len(skipped) > most:
        write_stderr(
            f"skipped {plural(len(skipped) - most, 'more folder')} (`dfa runs --skipped` names them all)"
        )


def check_free(path: Path, force: bool) -> None:
    """Checks that a file may be written to `path`.

    Raises `DfaError` when `path` exists and `--force` was not given, when it is a folder, and when the folder above it
    does not exist.
    """
    if path.is_dir():
        raise DfaError(f"{path} is a folder; name a file with --out")
    if path.exists() and not force:
        raise DfaError(f"{path} is already there; give --force to overwrite it, or another name with --out")
    if not path.absolute().parent.is_dir():
        raise DfaError(
            f"the folder {path.absolute().parent} is not there; make it first or choose another with --out"
        )


def write_file(path: Path, content: str | bytes, force: bool = False) -> None:
    """Writes the file that `--out` names, whole or not at all.

    Raises `DfaError` when the file exists and `force` is not set, and when it cannot be written.
    """
    from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically

    check_free(path, force)
    with disk_errors_as_sentences(path, "--out=FILE"):
        write_atomically(path, content)
