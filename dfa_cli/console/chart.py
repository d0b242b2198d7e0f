"""Draws curves in the terminal with plain characters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Curve = Sequence["float | None"]


def draw(
    curves: Mapping[str, Curve],
    epochs: Curve,
    *,
    width: int = 72,
    height: int = 10,
    show: Callable[[float], str] = "{:.3g}".format,
) -> list[str]:
    """Draws curves over epochs, and returns the lines of the chart, or none when nothing was measured.

    `curves` maps the character that draws a curve to its values, one per epoch. Straight lines join the values. Where
    two curves meet, the later one covers the earlier one. `show` formats the labels at the left.
    """
    known_values = [value for curve in curves.values() for value in curve if value is not None]
    known_epochs = [epoch for epoch in epochs if epoch is not None]
    if not known_values or not known_epochs:
        return []
    low, high = min(known_values), max(known_values)
    if high == low:
        # A constant curve is drawn in a range of 5 % below and above its value.
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    first, last = min(known_epochs), max(known_epochs)
    labels = [show(high - (high - low) * i / (height - 1)) for i in range(height)]
    margin = max(len(label) for label in (labels[0], labels[height // 2], labels[-1]))
    columns = max(width - margin - 2, 10)
    canvas = [[" "] * columns for _ in range(height)]
    for mark, curve in curves.items():
        previous: tuple[int, float] | None = None
        for epoch, value in zip(epochs, curve, strict=False):
            if epoch is None or value is None:
                continue
            x = round((epoch - first) / (last - first) * (columns - 1)) if last > first else 0
            y = (high - value) / (high - low) * (height - 1)
            if previous:
                for between in range(previous[0] + 1, x):
                    fraction = (between - previous[0]) / (x - previous[0])
                    canvas[round(previous[1] + fraction * (y - previous[1]))][between] = mark
            canvas[round(y)][x] = mark
            previous = (x, y)
    lines = []
    for i, row in enumerate(canvas):
        label = labels[i] if i in (0, height // 2, height - 1) else ""
        lines.append(f"{label:>{margin}} {'+' if label else '|'}{''.join(row)}".rstrip())
    lines.append(" " * (margin + 1) + "+" + "-" * columns)
    left, right = (f"{first:g}", f"epoch {last:g}") if last > first else (f"epoch {last:g}", "")
    lines.append((" " * (margin + 2) + left + right.rjust(columns - len(left))).rstrip())
    return lines
