"""Formats values for people: numbers, durations, energies and dates look the same wherever they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

NOTHING = "–"


def format_value(value: Any) -> str:
    """Formats a configuration value as it would be typed: `true`, `0.01`, `[64, 64]`. `MISSING` becomes a dash."""
    if value is None:
        return "null"
    if value is MISSING:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return printable(json.dumps(value, ensure_ascii=False, default=str))
    return printable(str(value))


def json_text(content: Any) -> str:
    """Writes `content` as JSON. NaN and infinity, which JSON does not have, become `null`."""
    return (
        json.dumps(_without_nan(content), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"
    )


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def printable(word: str) -> str:
    """Spells out control characters, so that text from a record cannot control the terminal."""
    return word if word.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in word)


class _Missing:
    """The value of a key that a run does not have. It differs from `None`, which is YAML's `null`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def number(value: Any) -> float | None:
    """Returns `value` as a float if it is a finite number, else `None`; booleans and text are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond the largest float
        return None


def sort_key(value: Any) -> tuple[int, float, str]:
    """Makes a sort key for a value of any type: numbers come first, by size, then text, then absent values."""
    if (size := number(value)) is not None:
        return (0, size, "")
    return (2, 0.0, "") if value is MISSING or value is None else (1, 0.0, format_value(value))


def plural(count: int, word: str) -> str:
    """Writes a count and its noun: `1 run`, `3 runs`."""
    return f"{count} {with_s(word, count)}"


def with_s(word: str, count: int) -> str:
    """Writes a noun in the singular or the plural: `run` for a count of one, `runs` for any other count."""
    return word if count == 1 else f"{word}s"


def enumeration(words: Sequence[str]) -> str:
    """Writes several words as a sentence lists them: `bp`, `bp and fa`, `bp, fa and usf`."""
    return " and ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)


def duration(seconds: float | None, fine: bool = False) -> str:
    """Formats a duration: `0.420 s`, `31.0 s`, `2.10 min`, `1.50 h`; with `fine` 0.42 seconds are `420 ms`."""
    if seconds is None:
        return NOTHING
    if fine and seconds < 1:
        return quantity(seconds, "s")
    if seconds < 99.5:
        return f"{_three_digits(seconds)} s"
    # From 99.5 minutes (5970 s) on, the duration is in hours.
    return f"{_three_digits(seconds / 60)} min" if seconds < 5970 else f"{_three_digits(seconds / 3600)} h"


def format_clock(seconds: float) -> str:
    """Formats a duration as a clock shows it: `0:42`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def quantity(value: float | None, unit: str = "") -> str:
    """Formats a quantity with an SI prefix: `28.0 k`, `1.20 M`, `12.0 mJ`, `0`."""
    if value is None:
        return NOTHING
    if value == 0:
        return f"0 {unit}".rstrip()
    if not abs(value) < 1e18:  # beyond the largest prefix
        return f"{value:.3g} {unit}".rstrip()
    if not unit and abs(value) < 9999.5 and value == round(value):
        return str(int(value))
    # The exponent is a power of 1000, from pico to peta. A number without a unit gets no prefix below one.
    exponent = min(max(math.floor(math.log10(abs(value)) / 3), -4 if unit else 0), 5)
    if round(abs(value) / 1000**exponent, 0) >= 1000 and exponent < 5:
        exponent += 1
    prefix = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P"][exponent + 4]
    return f"{_three_digits(value / 1000**exponent)} {prefix}{unit}".rstrip()


def grouped(value: float) -> str:
    """Formats a number with four significant digits, or with all before the point: `0.3679`, `658.9`, `18,190`."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _three_digits(value: float) -> str:
    """Formats a number with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if not abs(value) < 1e9:  # so many digits would be as wide as a table; a spread may be infinite
        return f"{value:.3g}"
    # The exponent is taken after rounding, so that 0.9999 becomes 1.00 and not 1.000.
    digits = max(0, 2 - int(f"{value:.2e}".partition("e")[2]))
    return f"{value:.{min(digits, 4)}f}"


def format_time(created: str, now: datetime | None = None) -> str:
    """Formats a time in local time: `22 Nov 08:30`, or `2025-11-22` in another year than this one."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return NOTHING
    if moment.year != (now or datetime.now().astimezone()).year:
        return moment.strftime("%Y-%m-%d")
    return moment.strftime("%d %b %H:%M")
