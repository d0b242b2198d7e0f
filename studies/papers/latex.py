"""Compiles the LaTeX tables of `dfa compare` with pdflatex, in the places where a paper would have them.

    scripts/latex_check                          trains 20 small runs first
    scripts/latex_check outputs --keep pages     the runs of a folder; the documents and PDFs stay in pages/

An ordinary table, of rules and devices against a baseline, must fit a column of a two-column article. Tables with odd
values, and with all columns, must compile.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OVERFULL = "Overfull \\hbox"
CLASSES = {
    "one column": "\\documentclass{article}",
    "two columns": "\\documentclass[twocolumn]{article}",
    "two columns, A4": "\\documentclass[twocolumn,a4paper]{article}",
}
OWN_TABLE = "\\begin{table}\\centering\\caption{A table of one's own.}\\input{TABLE}\\end{table}"
PLACES = {  # where a paper has the file: the options of `dfa compare`, and the LaTeX around it
    "in a table of one's own": ([], OWN_TABLE),
    "in the text": ([], "Text before.\n\n\\noindent\\input{TABLE}\n\nText after."),
    "as a float": (["--float"], "\\input{TABLE} See table~\\ref{tab:dfa-compare}."),
    "as a float with caption and label": (
        ["--caption", "Accuracy, 100\\,\\% is all. \\emph{Mean} of $n$ seeds.", "--label", "tab:own"],
        "\\input{TABLE} See table~\\ref{tab:own}.",
    ),
}
ORDINARY = ("--baseline", "rule=bp")
ALL_COLUMNS = (*ORDINARY, "--columns", "mean_std,n,ci,best,difference,p,absent,time,frames,energy")
ODD = ["50% & more_#1", "x^2~{y}\\z$", "<a|b>", 'say "hi" - -1', "*", "[3mm]", "[64, 64]", "日本 ∑"]


@dataclass(frozen=True)
class Outcome:
    words: str
    failure: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outputs", type=Path, nargs="?", help="a folder of runs by rule and device")
    parser.add_argument("--keep", type=Path, help="a folder for the documents and the PDFs")
    arguments = parser.parse_args()
    if shutil.which("pdflatex") is None:
        parser.error(
            "pdflatex is not installed; apt-get install texlive-latex-base texlive-latex-recommended"
        )
    with tempfile.TemporaryDirectory() as temporary:
        room = arguments.keep or Path(temporary)
        room.mkdir(parents=True, exist_ok=True)
        outputs = arguments.outputs.resolve() if arguments.outputs else _runs(Path(temporary))
        odd = _odd_runs(Path(temporary))
        outcomes = [
            _compile(room, f"{kind}, {place}", head, _table(outputs, (*ORDINARY, *options)), around)
            for kind, head in CLASSES.items()
            for place, (options, around) in PLACES.items()
        ]
        outcomes += [
            _compile(
                room, "all columns", CLASSES["one column"], _table(outputs, ALL_COLUMNS), OWN_TABLE, True
            ),
            _compile(room, "odd values", CLASSES["one column"], _table(odd, ()), OWN_TABLE, True),
        ]
    for outcome in outcomes:
        sys.stdout.write(
            f"{'FAILED' if outcome.failure else 'ok':6}  {outcome.words}  {outcome.failure}".rstrip() + "\n"
        )
    return int(any(outcome.failure for outcome in outcomes))


def _compile(room: Path, name: str, head: str, table: str, around: str, may_be_wide: bool = False) -> Outcome:
    """Compiles a document with the `table` in the LaTeX `around` it, and measures what it takes of the column."""
    file = re.sub(r"\W+", "-", name)
    (room / f"{file}-table.tex").write_text(table, "utf-8")
    measured = re.sub(r"(?s).*(\\begin\{tabular\}.*\\end\{tabular\}%).*", r"\1", table)
    (room / f"{file}-tabular.tex").write_text(measured, "utf-8")
    text = "\n".join(
        [
            head,
            "\\usepackage{booktabs}",
            "\\begin{document}",
            f"\\sbox0{{\\input{{{file}-tabular}}}}\\typeout{{takes \\the\\wd0 of \\the\\columnwidth}}",
            around.replace("TABLE", f"{file}-table"),
            "\\end{document}",
        ]
    )
    (room / f"{file}.tex").write_text(text + "\n", "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{file}.tex"],
        cwd=room,
        capture_output=True,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    found = re.search(r"takes ([\d.]+)pt ?of ([\d.]+)pt", log)
    size = f"{float(found[1]):.0f} pt of {float(found[2]):.0f} pt" if found else "nothing measured"
    failure = next((line for line in log.splitlines() if line.startswith("!")), "")
    if not failure and not may_be_wide and OVERFULL in log:
        failure = next(line for line in log.splitlines() if line.startswith(OVERFULL))
    if not failure and done.returncode:
        failure = f"pdflatex ended with {done.returncode}"
    return Outcome(f"{name}: {size}", failure)


@cache
def _table(outputs: Path, options: tuple[str, ...]) -> str:
    return _dfa(outputs.parent, "compare", str(outputs), "--format", "latex", *options)


def _runs(room: Path) -> Path:
    """Trains three rules with five seeds each, `dfa` on two devices too."""
    words = ["rule=bp,dfa,shallow", "device=cpu,opu_sim", "seed=range(5)", "data=digits", "epochs=10"]
    _dfa(room, "sweep", *words)
    return room / "outputs"


def _odd_runs(room: Path) -> Path:
    """Copies a record under values that LaTeX has a meaning for."""
    _dfa(room, "train", "data=digits", "epochs=1", "hydra.run.dir=odd/0")
    record = json.loads((room / "odd" / "0" / "run.json").read_text())
    for i, value in enumerate(ODD):
        record |= {"id": f"{i:08x}", "identity": f"{i:016x}", "overrides": [f"+aside={value}"]}
        record["config"]["aside"] = value
        (room / "odd" / str(i)).mkdir(exist_ok=True)
        (room / "odd" / str(i) / "run.json").write_text(json.dumps(record))
    return room / "odd"


def _dfa(room: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from dfa_cli.cli import main; main()", *words],
        cwd=room,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"dfa {' '.join(words)} failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
