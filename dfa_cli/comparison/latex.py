"""Writes a comparison as a LaTeX table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfa_cli.comparison.captions import constants, split_caption, title
from dfa_cli.comparison.columns import Column
from dfa_cli.comparison.comparison import Comparison
from dfa_cli.console.values import NOTHING

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\ldots{}",
    "µ": r"$\mu$",
    "|": r"\textbar{}",
    '"': "''",
}


def latex_safe(word: str) -> str:
    """Escapes `word` for LaTeX; a character that the default fonts lack becomes a question mark."""
    return "".join(_LATEX.get(c) or (c if ord(c) < 0x100 else "?") for c in word)


def as_latex(result: Comparison, chosen: Sequence[Column]) -> str:
    """Writes a floating table for a paper, which needs `\\usepackage{booktabs}` and no other package."""

    def cell(column: Column, group: Any) -> str:
        shown = column.cell(group)
        if shown == NOTHING:
            return "--"
        if shown.startswith("-") and not column.left:  # In text mode LaTeX would set a hyphen, not a minus.
            return f"$-${latex_safe(shown[1:])}"
        return latex_safe(shown).replace("\\textless{}0.", "$<$0.").replace(" *", "$^{*}$")

    about = [title(result)]
    about += [f"Split: {split_caption(result)}"] if result.splits else []
    about += [f"The same in all rows: {constants(result)}"] if constants(result) else []
    caption = " ".join(latex_safe(part.rstrip(".") + ".") for part in [*about, *result.notes()])
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{caption}}}",
        "  \\label{tab:dfa-compare}",
        f"  \\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in chosen)}}}",
        "    \\toprule",
        "    " + " & ".join(latex_safe(column.heading) for column in chosen) + " \\\\",
        "    \\midrule",
    ]
    lines += [
        "    " + " & ".join(cell(column, group) for column in chosen) + " \\\\" for group in result.groups
    ]
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"
