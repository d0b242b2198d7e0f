"""Runs the experiments that check the claims of the paper, and writes docs/results.md.

    scripts/reproduce                     all experiments that have not been run yet
    scripts/reproduce mnist_fc noise      only these; the others keep their numbers
    scripts/reproduce depth               all about deep networks, with the search for values at four blocks
    scripts/reproduce --tuning            first the searches that chose the values in conf/tuned
    scripts/reproduce memory parallel     the measurements of docs/independent-blocks.md, on a quiet machine
    scripts/reproduce --page              runs nothing, and writes the pages from the records that exist

When it is stopped or killed, the same command goes on where it was. The records are in outputs/reproduce. From them
docs/results.csv gets one line for each run, and from these lines alone come docs/results.md, the table of README.md,
and what docs/opu.md says of drift.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from dfa_cli.machine.files import write_atomically
from dfa_cli.plots.style import save
from studies.results import depth_choice, drift, figures, page
from studies.results.selection import pick
from studies.results.table import Row, collect, read, write

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TUNING = ROOT / "docs" / "results.csv", ROOT / "docs" / "tuning.csv"
EXPERIMENTS = (
    "quickstart",
    "citation_gcn",
    "depth",
    "depth_mean_row",
    "depth_tuned",
    "mnist_fc",
    "architectures",
    "citation_splits",
    "citation_one_recipe",
    "feedback",
    "encoding",
    "noise",
    "rules",
    "shallow_width",
    "mnist_one_recipe",
    "mnist_width",
    "drift",
)
# What else belongs to an experiment that is named on the command line.
WITH = {"depth": ("depth", "depth_mean_row", "tuning_depth", "depth_tuned", "gradients")}
DEPTH_TUNED = ROOT / "conf" / "experiment" / "depth_tuned.yaml"
SEARCHES = (
    "tuning_citation",
    "tuning_mnist",
    "tuning_mnist_regularisation",
    "tuning_mnist_length",
    "tuning_rules",
    "tuning_architectures",
    "tuning_encoding",
    "tuning_depth",
)
# Programs that measure, and write their tables into docs/.
STUDIES = {
    "gradients": ("studies.depth.gradients",),
    "common_mode": ("studies.depth.common_mode",),
    "memory": ("studies.memory",),
    "parallel": ("studies.parallel", "studies.parallel.planned"),
}
INTERRUPTED = 130


def main() -> int:
    options = arguments()
    outputs = options.outputs.absolute()
    named = options.experiments or [*(SEARCHES if options.tuning else ()), *EXPERIMENTS]
    names = dict.fromkeys(name for one in named for name in WITH.get(one, (one,)))
    failed = []
    for name in names:
        if name in STUDIES:
            if not options.page and any(
                subprocess.call([sys.executable, "-m", one]) for one in STUDIES[name]
            ):
                failed.append(name)
            continue
        if not options.page and run(name, outputs, options.workers):
            failed.append(name)
        if outputs.is_dir():
            update(name, outputs)
    publish()
    if failed:
        print(f"Not complete: {', '.join(failed)}. Run the same command to try again.", file=sys.stderr)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*EXPERIMENTS, *SEARCHES, *STUDIES)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(known))
    parser.add_argument("--tuning", action="store_true", help="also run the searches")
    parser.add_argument("--page", action="store_true", help="run nothing, only write the pages")
    parser.add_argument(
        "--outputs", type=Path, default=ROOT / "outputs" / "reproduce", help="folder of the records"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="how many runs train at once (default: one for each core)",
    )
    options = parser.parse_args()
    if unknown := set(options.experiments) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return options


def run(name: str, outputs: Path, workers: int) -> bool:
    """Run one experiment as a sweep in processes of its own, and tell whether any of its runs failed."""
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "dfa_cli.cli", "sweep", f"experiment={name}", *words(name)]
    if workers > 1:
        command += ["launcher=joblib", f"launcher.n_jobs={workers}"]
    sweep = subprocess.Popen([*command, f"outputs={outputs}"], cwd=ROOT)
    while True:
        try:
            code = sweep.wait()
            break
        except KeyboardInterrupt:
            continue  # The sweep gets Ctrl-C too. It records what was interrupted and says how to go on.
    if code == INTERRUPTED:
        sys.exit(INTERRUPTED)
    print(f"{name}: {(time.monotonic() - began) / 60:.1f} min", flush=True)
    return code != 0


def words(name: str) -> list[str]:
    """Return the words of an experiment beside its name.

    citation_gcn runs on PubMed too, where a copy of PubMed exists or docs/results.csv has it already. depth_mean_row
    needs an encoding of its own, which no hardware can show.
    """
    from dfa_cli.data.source import Source

    if name == "depth_mean_row":
        return ["--config-dir", str(ROOT / "studies" / "depth" / "conf")]
    if name != "citation_gcn":
        return []
    had = any(row["data"] == "pubmed" for row in read(RESULTS))
    return ["data=cora,citeseer,pubmed"] if had or Source.default().available("pubmed") is None else []


def update(name: str, outputs: Path) -> None:
    """Write the lines of an experiment into docs/results.csv, if all its runs have ended.

    The lines of a search go into docs/tuning.csv.
    """
    table = TUNING if name in SEARCHES else RESULTS
    rows, missing = collect(name, words(name), outputs, read(table))
    if missing:
        print(
            f"{name}: {missing} of {missing + len(rows)} runs are missing, so its numbers stay as they are."
        )
        return
    others: list[Row] = [row for row in read(table) if row["experiment"] != name]
    order = (*SEARCHES, *EXPERIMENTS).index
    write(table, sorted([*others, *rows], key=lambda row: order(row["experiment"])))
    if name == "tuning_depth":
        page.write_if_changed(DEPTH_TUNED, depth_choice.experiment(read(TUNING)))
    if name == "feedback":
        figures.alignment(outputs, rows, ROOT / "docs" / "images")


def publish() -> None:
    docs = ROOT / "docs"
    if found := read(TUNING):
        tuning = docs / "tuning.md"
        page.write_if_changed(tuning, page.with_tuning(tuning.read_text("utf-8"), found))
        print("wrote the table in docs/tuning.md")
    rows = read(RESULTS)
    if not rows:
        print("No experiment is complete yet, so docs/results.md is not written.", file=sys.stderr)
        return
    figures.draw(rows, docs / "images")
    page.write_if_changed(docs / "results.md", page.page(rows))
    if pick(rows, experiment="drift"):
        write_atomically(docs / "images" / "results_drift.svg", save(drift.figure(rows), ".svg"))
    opu = docs / "opu.md"
    page.write_if_changed(opu, page.with_drift(opu.read_text("utf-8"), rows))
    readme = ROOT / "README.md"
    page.write_if_changed(readme, page.with_results(readme.read_text("utf-8"), rows))
    print("wrote docs/results.md, its figures, and the table in README.md")


if __name__ == "__main__":
    sys.exit(main())
