"""`dfa sweep`: trains one model for each combination of values, or for each trial of a search."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composed, Composer, is_grid_sweep
from dfa_cli.config.hydra_entry import show_by_hydra
from dfa_cli.config.own_code import OwnCode
from dfa_cli.config.spec import RunSpec
from dfa_cli.console import output
from dfa_cli.console.messages import shortest
from dfa_cli.console.values import enumeration
from dfa_cli.errors import DfaError, one_of
from dfa_cli.launch.exit_codes import COMPLETED, FAILED
from dfa_cli.launch.fallback import require_data
from dfa_cli.launch.help import help_text
from dfa_cli.launch.task import launched_processes
from dfa_cli.machine import signals
from dfa_cli.machine.files import fixable_errors_as_sentences
from dfa_cli.machine.provenance import provenance
from dfa_cli.records.code import origin, origin_in_words
from dfa_cli.records.locks import only_one
from dfa_cli.records.run import Run, read_run
from dfa_cli.sweeps.display import SweepDisplay
from dfa_cli.sweeps.dry_run import jobs_in_words, print_grid, print_search
from dfa_cli.sweeps.grid import Grid
from dfa_cli.sweeps.notes import LOCK
from dfa_cli.sweeps.plan import Plan, SweepRun, plan
from dfa_cli.sweeps.search import (
    Search,
    Study,
    combinations_for_each_option,
    first_combination,
    is_optuna,
    searched_data,
)


def sweep(command: Command) -> int:
    """Run every job that has no completed record yet. With `--dry-run`, only say which these are.

    Returns the exit code: 0 when all jobs are completed, 1 when some are not, 130 after Ctrl-C, 143 after another
    signal.
    """
    if command.asks_help:
        print(help_text(command))
        return COMPLETED
    if command.asks_hydra:
        show_by_hydra(command)
        return COMPLETED
    if count := launched_processes():
        raise DfaError(
            f"A launcher such as torchrun has started {count} processes, and each would run the whole sweep. A sweep "
            "starts the processes of each run itself, so type it without the launcher: "
            f"dfa sweep {shlex.join(command.overrides)}"
        )
    with Composer(command) as composer:
        first = composer.job(first_combination(command.overrides))
        sweep_folder = first.sweep_folder()
        with fixable_errors_as_sentences(sweep_folder):
            if is_grid_sweep(first):
                return _run_grid(command, composer, sweep_folder)
            # A search picks its trials later. Whatever they pick, their own code and their data sets must be known now.
            combinations = combinations_for_each_option(command.overrides, composer.group_options())
            searched = [*searched_data(first.sweeper, command.overrides), *command.overrides]
            specs = [
                composer.job(combination, checked=False).spec
                for combination in combinations_for_each_option(searched, ("data", "model"))
            ]
            return _run_search(command, first, composer.code_of(combinations), specs, sweep_folder)


def _run_grid(command: Command, composer: Composer, sweep_folder: Path) -> int:
    """Run the jobs of a grid that have no completed run yet, or list them for `--dry-run`. Return the exit code."""
    jobs = composer.jobs(command.overrides)
    config = jobs[0].spec.config
    outputs = Path(config["outputs"]).absolute()
    planned = plan(jobs, outputs)
    output.name_skipped(planned.found.skipped)
    to_run = sum(not run.ended for run in planned.runs)
    lines = [_opening_line(planned, to_run), *_lines_on_reused(planned.runs)]
    if command.dry_run:
        print_grid(lines, planned, jobs[0].launcher, outputs)
    require_data(run.composed.spec for run in planned.runs if run.composed is not None and not run.ended)
    if command.dry_run:
        return COMPLETED
    with only_one(sweep_folder / LOCK, shortest(sweep_folder)) if to_run else contextlib.nullcontext():
        listed = [run for run in planned.runs if run.earlier.resumes_after is not None or _is_run_again(run)]
        lines += jobs_in_words(listed, output.terminal_width() or 200)
        output.write_stdout("\n".join(lines) + "\n")
        if to_run:
            with SweepDisplay(len(planned.runs)) as display:
                Grid(planned.runs, sweep_folder, outputs, display, config["fail_fast"]).run()
    return _print_result(planned.runs, sweep_folder)


def _run_search(
    command: Command, first: Composed, code: OwnCode, specs: Sequence[RunSpec], sweep_folder: Path
) -> int:
    """Run a search. `specs`: runs with every data set that its trials may use."""
    outputs = Path(first.spec.config["outputs"]).absolute()
    node = first.sweeper
    direction = str(node.get("direction", "maximize")).lower()
    if is_optuna(node) and not direction.endswith(("maximize", "minimize")):
        raise DfaError(f"sweeper.direction={one_of(direction, ('maximize', 'minimize'))}.")
    study = Study(command.overrides, node, outputs, code)
    if is_optuna(node) and not study.searches_something():
        raise DfaError(
            "sweeper=optuna has nothing to search. Give a key an interval or several values, such as "
            "'optimizer.lr=interval(0.001,0.1)'."
        )
    if command.dry_run:
        print_search(study, first)
        if study.left():
            require_data(specs)
        return COMPLETED
    lock = study.lock()
    with only_one(lock, f"the study {study.name}") if lock else contextlib.nullcontext():
        if study.left():
            require_data(specs)
        return _run_study(command, first, study, code, sweep_folder)


def _run_study(command: Command, first: Composed, study: Study, code: OwnCode, sweep_folder: Path) -> int:
    """Run the trials that the study has not completed yet, and print the best one. Return the exit code."""
    left, runs = study.left(), []
    if study.total is not None:
        print(
            f"study {study.name}: {study.total - left} of {study.total} trials are there, {left} to run",
            flush=True,
        )
    if left:
        with (
            only_one(sweep_folder / LOCK, shortest(sweep_folder)),
            SweepDisplay(left if study.total is not None else None) as display,
        ):
            search = Search(command, study, sweep_folder, display, code, first.spec.config["fail_fast"])
            search.run()
            runs = search.runs
    exit_code = _print_result(runs, sweep_folder, study.storage is not None) if runs else COMPLETED
    if signals.received():
        return signals.exit_code()
    if is_optuna(study.node) and (best := study.best()):
        print(best)
    # Without a storage nobody can tell how many trials are completed.
    countable = study.total is not None and study.storage is not None
    return FAILED if countable and study.left() else exit_code


def _is_run_again(run: SweepRun) -> bool:
    """Tell whether a completed job runs again for a reason that the user has not typed."""
    return run.earlier.why_not_reused not in (None, "reuse=false")


def _opening_line(planned: Plan, to_run: int) -> str:
    """Say how many jobs the sweep has, and how many of them are reused, resumed and run."""
    count = len(planned.runs)
    words = [f"{count} job{'s' if count != 1 else ''}"]
    if planned.merged:
        words = [
            f"{count + planned.merged} combinations",
            f"{count} different run{'s' if count != 1 else ''}",
        ]
        if rules := planned.without_device:
            words[-1] += f" ({enumeration(rules)} use{'s' if len(rules) == 1 else ''} no device)"
    if count > to_run:
        words.append(f"{count - to_run} reused")
    if resumed := sum(run.earlier.resumes_after is not None for run in planned.runs):
        words.append(f"{resumed} resumed")
    return f"sweep of {', '.join(words)}; {to_run} to run"


def _lines_on_reused(runs: Sequence[SweepRun]) -> list[str]:
    """Say which reused runs were made by another commit of dfa, or with other versions of packages."""
    now = origin(provenance())
    counts = Counter(
        (origin_in_words(then, now), origin_in_words(now, then))
        for run in runs
        if run.earlier.run is not None
        and run.earlier.is_reused
        and (then := origin(run.earlier.run.provenance)) != now
    )
    return [
        f"{count} reused, made by {before} (now {today}); reuse=strict runs such jobs again"
        for (before, today), count in counts.items()
    ]


def _print_result(runs: Sequence[SweepRun], sweep_folder: Path, goes_on: bool = True) -> int:
    """Print the table and the failures at the end of a sweep, and return the exit code.

    `goes_on`: the same command does what this one has left.
    """
    from dfa_cli.comparison.comparison import compare
    from dfa_cli.comparison.tables import render

    recorded: list[Run] = []
    for run in runs:
        if run.folder is not None and run.state in ("completed", "reused", "failed", "interrupted"):
            try:
                recorded.append(read_run(run.folder))
            except ValueError:
                continue
    if any(run.status == "completed" for run in recorded):
        output.write_stdout("\n" + render(compare(recorded), width=output.terminal_width()))
    lines = [""]
    printed: set[str] = set()
    for run in runs:
        # A signal stops every job that is running, and the last line counts them.
        if run.state == "failed" or (run.state == "interrupted" and not signals.received()):
            log = f" ({shortest(run.folder / 'run.log')})" if run.folder is not None else ""
            reason = "as above" if not log and run.reason in printed else run.reason
            printed.add(run.reason)
            lines.append(f"{run.state}: {run.label}: {reason or 'no reason known'}{log}")
    left = _what_is_left(runs, goes_on)
    if left and not signals.received():
        lines.append(left)
    if any(run.state in ("completed", "failed", "interrupted") for run in runs):
        lines.append(f"records in {shortest(sweep_folder)}")
    output.write_stdout("\n".join(lines) + "\n")
    if signals.received():
        print(f"interrupted: {left}" if left else "interrupted", file=sys.stderr)
        return signals.exit_code()
    return COMPLETED if all(run.state in ("completed", "reused") for run in runs) else FAILED


def _what_is_left(runs: Sequence[SweepRun], goes_on: bool) -> str:
    """Say how many jobs a stopped sweep leaves, and how to go on. Empty: none was stopped."""
    midway = sum(run.state == "interrupted" for run in runs) if signals.received() else 0
    waiting = sum(run.state == "stopped" for run in runs)
    words = [
        f"{count} job{'s were' if count > 1 else ' was'} {what}"
        for count, what in ((midway, "stopped midway"), (waiting, "not begun"))
        if count
    ]
    return ", ".join(words) + ("; the same command goes on from here" if words and goes_on else "")
