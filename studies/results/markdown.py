"""Writes Markdown: tables, values with one in bold, and new text between two marks of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    rule = ["---" if i < text_columns else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))


def bold(values: Iterable[str], one: str) -> list[str]:
    """Return the values with one of them in bold."""
    return [f"**{value}**" if value == one else value for value in values]


def replace_between(text: str, mark: str, new: str) -> str:
    """Replace what stands in `text` between `<!-- mark -->` and `<!-- end of mark -->`."""
    first, last = f"<!-- {mark} -->\n", f"\n<!-- end of {mark} -->"
    before, _, rest = text.partition(first)
    assert last in rest, f"The page must have the marks {first.strip()} and {last.strip()}."
    return before + first + new + last + rest.partition(last)[2]
