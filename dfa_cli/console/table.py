"""Lays out tables as text, no wider than the terminal, and writes them as CSV."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from dfa_cli.console.values import format_value

GAP = "  "


def display_width(word: str) -> int:
    """Counts the terminal cells that `word` takes: East Asian characters take two, combining marks none."""
    if word.isascii():
        return len(word)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word
    )


def truncate(word: str, room: int) -> str:
    """Cuts `word` to at most `room` cells, with an ellipsis where something was cut off."""
    if display_width(word) <= room:
        return word
    kept = ""
    for c in word:
        if display_width(kept + c) > room - 1:
            break
        kept += c
    return kept + "…"


def wrap(word: str, room: int) -> list[str]:
    """Breaks `word` at its blanks into lines of at most `room` cells.

    A single longer part is broken inside: behind the last `.`, `_`, `/` or `,` of its line, but not near its start.
    """
    lines: list[str] = []
    line = ""
    for part in word.split(" "):
        while display_width(part) > room:
            if line:
                lines.append(line)
                line = ""
            head = truncate(part, room + 1)[:-1] or part[:1]
            mark = max(map(head.rfind, "._/,")) + 1
            head = head[:mark] if 3 * mark > len(head) else head
            lines.append(head)
            part = part[len(head) :]
        if line and display_width(line) + 1 + display_width(part) > room:
            lines.append(line)
            line = part
        else:
            line = f"{line} {part}" if line else part
    return [*lines, line] if line or not lines else lines


def lay_out(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[bool],
    *,
    keys: int = 0,
    width: int | None = None,
    header_line: bool = True,
) -> list[str]:
    """Lays out a table, and returns its lines.

    `left` tells which columns are aligned to the left, and `header_line` draws a line under the headings. A table wider
    than `width` is divided into blocks of columns, one below the other. Each block begins with the first `keys`
    columns. Without a width nothing is folded or cut.
    """
    sizes = [max(display_width(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    if width is None or _total(sizes) <= width:
        return _block(range(len(heads)), heads, rows, left, sizes, header_line)
    sizes = _sizes_with_folded_heads(heads, rows)
    if _total(sizes) <= width:
        return _block(range(len(heads)), heads, rows, left, sizes, header_line)
    others = range(keys, len(heads))
    for i in others:
        # One of several text columns is folded at 24 cells.
        sizes[i] = min(sizes[i], 24) if left[i] and len(others) > 1 else sizes[i]
    room = max(width - max((sizes[i] for i in others), default=0) - len(GAP) * keys, 10 * keys)
    while keys and sum(sizes[:keys]) > room:  # Long keys are cut, the longest first, but not below 4 cells.
        longest = max(range(keys), key=lambda i: sizes[i])
        sizes[longest] = max(sizes[longest] - 1, 4)
        if all(size <= 4 for size in sizes[:keys]):
            break
    used = sum(sizes[:keys]) + len(GAP) * keys
    for i in others:
        sizes[i] = min(sizes[i], max(width - used, 8))
    blocks = _split_into_blocks(others, sizes, width - used)
    # The narrowest limit that needs no further block makes the blocks similar in width.
    for narrower in range(width - used, 0, -1):
        if len(even_blocks := _split_into_blocks(others, sizes, narrower)) > len(blocks):
            break
        blocks = even_blocks
    lines: list[str] = []
    for block in blocks:
        for i in block:  # Where there is room to spare, a heading is not folded.
            spare = width - used - sum(sizes[k] + len(GAP) for k in block) + len(GAP)
            more = display_width(heads[i]) - sizes[i]
            sizes[i] += more if 0 < more <= spare else 0
        lines += [
            *([""] if lines else []),
            *_block([*range(keys), *block], heads, rows, left, sizes, header_line),
        ]
    return lines


def fits(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tells whether `lay_out` needs a single block, without a folded cell, for a table in `width` cells."""
    return _total(_sizes_with_folded_heads(heads, rows)) <= width


def _sizes_with_folded_heads(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Returns the widths of the columns; one need not be wider than the longest word of its heading."""
    words = [max(display_width(word) for word in head.split(" ")) for head in heads]
    return [max(word, *map(display_width, column)) for word, *column in zip(words, *rows, strict=True)]


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes the rows as CSV, with a column for each name that any row has.

    Numbers are not rounded, and `None` is an empty cell.
    """
    import csv
    import io

    def cell(value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        return "" if value is None else format_value(value)

    names = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return file.getvalue()


def _split_into_blocks(columns: Sequence[int], sizes: Sequence[int], room: int) -> list[list[int]]:
    """Divides the columns, in their order, into blocks of at most `room` cells, or of a single column."""
    blocks: list[list[int]] = [[]]
    taken = 0
    for i in columns:
        if blocks[-1] and taken + sizes[i] > room:
            blocks.append([])
            taken = 0
        blocks[-1].append(i)
        taken += sizes[i] + len(GAP)
    return blocks


def _block(
    chosen: Sequence[int] | range,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[bool],
    sizes: Sequence[int],
    header_line: bool,
) -> list[str]:
    lines = _row(chosen, heads, left, sizes, hang=True)
    lines += [GAP.join("─" * sizes[i] for i in chosen)] if header_line else []
    for row in rows:
        lines += _row(chosen, row, left, sizes)
    return lines


def _row(
    chosen: Sequence[int] | range,
    cells: Sequence[str],
    left: Sequence[bool],
    sizes: Sequence[int],
    hang: bool = False,
) -> list[str]:
    """Lays out one row; long text continues in the next line of its column.

    With `hang`, short text stands in the last line of the row, not in the first.
    """
    parts = {
        i: wrap(cells[i], sizes[i]) if display_width(cells[i]) > sizes[i] else [cells[i]] for i in chosen
    }
    height = max(len(part) for part in parts.values())
    if hang:
        parts = {i: [""] * (height - len(part)) + part for i, part in parts.items()}
    lines = []
    for k in range(height):
        padded = []
        for i in chosen:
            cell = parts[i][k] if k < len(parts[i]) else ""
            blank = " " * (sizes[i] - display_width(cell))
            padded.append(cell + blank if left[i] else blank + cell)
        lines.append(GAP.join(padded).rstrip())
    return lines
