"""Curves drawn in the terminal with plain characters."""

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
    """`curves` (character -> values, one an epoch) over `epochs`, the value axis at the left, epochs below.

    Where two curves meet, the later one stands in front. Measurements are joined by straight lines.
    """
    known = [value for curve in curves.values() for value in curve if value is not None]
    at = [epoch for epoch in epochs if epoch is not None]
    if not known or not at:
        return []
    low, high = min(known), max(known)
    if high == low:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    first, last = min(at), max(at)
    labels = [show(high - (high - low) * i / (height - 1)) for i in range(height)]
    margin = max(len(label) for label in (labels[0], labels[height // 2], labels[-1]))
    columns = max(width - margin - 2, 10)
    canvas = [[" "] * columns for _ in range(height)]
    for mark, curve in curves.items():
        before: tuple[int, float] | None = None
        for epoch, value in zip(epochs, curve, strict=False):
            if epoch is None or value is None:
                continue
            x = round((epoch - first) / (last - first) * (columns - 1)) if last > first else 0
            y = (high - value) / (high - low) * (height - 1)
            if before:  # a straight line from one measurement to the next
                for between in range(before[0] + 1, x):
                    part = (between - before[0]) / (x - before[0])
                    canvas[round(before[1] + part * (y - before[1]))][between] = mark
            canvas[round(y)][x] = mark
            before = (x, y)
    lines = []
    for i, row in enumerate(canvas):
        label = labels[i] if i in (0, height // 2, height - 1) else ""
        lines.append(f"{label:>{margin}} {'+' if label else '|'}{''.join(row)}".rstrip())
    lines.append(" " * (margin + 1) + "+" + "-" * columns)
    left, right = f"{first:g}", f"epoch {last:g}"
    lines.append(" " * (margin + 2) + left + right.rjust(columns - len(left)))
    return lines
