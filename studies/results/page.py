"""Writes docs/results.md, and the tables of README.md and docs/tuning.md, from docs/results.csv and docs/tuning.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dfa_cli.machine.files import write_atomically
from studies.results import depth_choice, drift, encoding_choice, length_choice, sections
from studies.results.averages import percent
from studies.results.claims import claims
from studies.results.markdown import replace_between, table
from studies.results.selection import DEFAULT, EARLIER_OPTICS, INCOMPLETE, SERIES, TERNARY, main_results, pick
from studies.results.table import Row
from studies.results.tuning import tried


def page(rows: Sequence[Row]) -> str:
    """Return the text of docs/results.md."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.md.jinja").render(
        table=table,
        series=[*SERIES],
        with_ternary=[*list(SERIES)[:3], TERNARY, "`shallow`"],
        DEFAULT=DEFAULT,
        breaks=f"{sections.BREAKS:g}",
        claims=claims(rows),
        earlier=_named(EARLIER_OPTICS, rows),
        incomplete=_named(INCOMPLETE, rows),
        mnist=sections.mnist(rows),
        mnist_width=sections.mnist_width(rows),
        citation=sections.citation(rows),
        splits=sections.splits(rows),
        one_recipe=sections.one_recipe(rows),
        shallow=sections.shallow(rows),
        architectures=sections.architectures(rows),
        depth=sections.depth(rows),
        causal=sections.causal(rows),
        deeper=sections.deeper(rows),
        tuned_again=sections.tuned_again(rows),
        gradients=sections.gradients(),
        common_mode=sections.common_mode(),
        encoding=sections.encoding(rows),
        noise=sections.noise(rows),
        feedback=sections.feedback(rows),
        rules=sections.rules(rows),
        fairness=sections.fairness(rows),
        origin=sections.origin(rows),
    )


def _named(names: Sequence[str], rows: Sequence[Row]) -> str:
    return ", ".join(f"`{name}`" for name in names if pick(rows, experiment=name))


def with_results(readme: str, rows: Sequence[Row]) -> str:
    """Return the text of README.md with a new table of results between its two marks."""
    sets = {
        "cora": "Cora, `gcn`, 64 wide",
        "citeseer": "CiteSeer, `gcn`, 64 wide",
        "pubmed": "PubMed, `gcn`, 64 wide",
        "mnist": f"MNIST, `fc`, 2 x 1024, {sections.mnist(rows).get('epochs')} epochs",
    }
    lines = []
    for data, label in sets.items():
        cells = [main_results(rows, data, name) for name in SERIES]
        if all(cells):
            lines.append((label, *map(percent, cells), str(min(map(len, cells)))))
    return replace_between(readme, "results", table(("", *SERIES, "seeds"), lines))


def with_tuning(text: str, rows: Sequence[Row]) -> str:
    """Return the text of docs/tuning.md with new tables between its marks."""
    bold = "values tried, the chosen one in bold"
    heads = ("", "rule", bold, "combinations", "seeds", "epochs", "validation")
    text = replace_between(text, "tuning", table(heads, tried(rows), 3))
    for mark, heads, lines in (
        (
            "choice of encoding",
            ("encoding", "at the best epoch", "at the last epoch", "mean less exact errors", "frames a step"),
            encoding_choice.lines(rows),
        ),
        (
            "four blocks",
            ("", "rule", *(f"`{key}`" for key in depth_choice.SEARCHED), "validation"),
            depth_choice.lines(rows),
        ),
        (
            "length on MNIST",
            ("rule", "combinations", *(f"{n} epochs" for n in length_choice.LENGTHS)),
            length_choice.lines(rows),
        ),
    ):
        text = replace_between(text, mark, table(heads, lines) if lines else "Not searched yet.")
    return text


def with_drift(text: str, rows: Sequence[Row]) -> str:
    """Return the text of docs/opu.md with what the experiment `drift` says between its two marks."""
    return replace_between(text, "drift", drift.text(rows))


def write_if_changed(path: Path, text: str) -> None:
    """Write a page only if its text differs, so that an unchanged page keeps its date."""
    if not path.exists() or path.read_text("utf-8") != text:
        write_atomically(path, text)
