"""How values read: one way to write a number, a duration, an energy, a date, wherever they are shown."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

NOTHING = "–"


def format_value(value: Any) -> str:
    """A configuration value as it would be typed: `true`, `0.01`, `[64, 64]`; an absent one is a dash."""
    if value is None:
        return "null"
    if value is MISSING:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return printable(str(value))


def printable(word: str) -> str:
    """`word` with control characters spelled out: a record must not be able to steer a terminal."""
    return word if word.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in word)


class _Missing:
    """The value of a key that a run does not have; unlike `None`, which is YAML's `null`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def number(value: Any) -> float | None:
    """`value` as a finite float, or `None`: true and false are no numbers, nor is text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def sort_key(value: Any) -> tuple[int, float, str]:
    """A sort key for values of any type: numbers by size, then text, then what is absent."""
    if (size := number(value)) is not None:
        return (0, size, "")
    return (2, 0.0, "") if value is MISSING or value is None else (1, 0.0, format_value(value))


def plural(count: int, word: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count} {with_s(word, count)}"


def with_s(word: str, count: int) -> str:
    """`run` for one, `runs` for any other count."""
    return word if count == 1 else f"{word}s"


def duration(seconds: float | None, fine: bool = False) -> str:
    """`0.420 s`, `31.0 s`, `2.10 min`, `1.50 h`; `fine`: what is shorter than a second gets a prefix, `420 ms`."""
    if seconds is None:
        return NOTHING
    if fine and seconds < 1:
        return quantity(seconds, "s")
    if seconds < 99.5:
        return f"{_three(seconds)} s"
    return f"{_three(seconds / 60)} min" if seconds < 5970 else f"{_three(seconds / 3600)} h"


def quantity(value: float | None, unit: str = "") -> str:
    """A size with a prefix: `28.0 k`, `1.20 M`, `12.0 mJ`, `0`."""
    if value is None:
        return NOTHING
    if value == 0:
        return f"0 {unit}".rstrip()
    if not unit and abs(value) < 9999.5 and value == round(value):
        return str(int(value))
    exponent = min(max(math.floor(math.log10(abs(value)) / 3), -4 if unit else 0), 5)
    if round(abs(value) / 1000**exponent, 0) >= 1000 and exponent < 5:
        exponent += 1
    prefix = ["p", "n", "µ", "m", "", "k", "M", "G", "T", "P"][exponent + 4]
    return f"{_three(value / 1000**exponent)} {prefix}{unit}".rstrip()


def _three(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{value:.2e}".partition("e")[2]))  # 0.9999 rounds to 1.00, not to 1.000
    return f"{value:.{min(digits, 4)}f}"


def format_time(created: str, now: datetime | None = None) -> str:
    """`22 Nov 08:30` in local time; another year shows itself: `2025-11-22`."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return NOTHING
    if moment.year != (now or datetime.now().astimezone()).year:
        return moment.strftime("%Y-%m-%d")
    return moment.strftime("%d %b %H:%M")
