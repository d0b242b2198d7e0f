"""`dfa rerun` and `dfa resume`: a run made again, or gone on with, from its record alone."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfa_cli.errors import DfaError
from dfa_cli.memory import importing
from dfa_cli.progress import percent, shortest
from dfa_cli.results.commands import Folders, Name

if TYPE_CHECKING:
    from dfa_cli.results.store import Run

# what a repetition under other conditions (another processor, another torch) may differ by
ACCURACY_TOLERANCE = 0.02  # absolute, as a fraction: two points of a percentage
LOSS_TOLERANCE = 0.05  # relative
UNTIMED = ("seconds", "projection_seconds")  # columns that no repetition has the same


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(rerun)
    app.command()(resume)


def rerun(
    run: Name,
    folders: Folders = None,
    outputs: Annotated[Path, typer.Option("--outputs", help="Where the repetition is recorded.")] = Path(
        "outputs"
    ),
) -> None:
    """Run again from a run's record alone, and say whether the metrics match: dfa rerun last."""
    from dfa_cli.results import pick_run
    from dfa_cli.results.store import read

    before = pick_run(run, folders or [Path("outputs")])
    if not before.curves.get("epoch"):
        raise DfaError(
            f"nothing was measured in run {before.id} ({before.status}): there is nothing to compare with."
        )
    config = _config_of(before)
    name = secrets.token_hex(4)
    folder = (outputs / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}_rerun_{name}").absolute()
    config |= {"run_id": name, "outputs": str(outputs), "checkpoint_every": None}
    # the same number of threads gives the same order of additions
    config["threads"] = before.provenance.get("threads") or config["threads"]
    with _logged(folder):
        with importing("torch"):
            from dfa_cli import experiment

        words = list(before.record.get("overrides") or ())
        own = before.provenance.get("config_dir")
        experiment.run(config, folder, before.choices, words, f"dfa rerun {before.id}", own)
    after = read(folder)
    lines, matches = verdict(before, after)
    typer.echo("\n".join(["", *lines]))
    raise typer.Exit(0 if matches else 1)


def resume(
    run: Name,
    folders: Folders = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin again with epoch 1, in the run's own folder.")
    ] = False,
) -> None:
    """Go on with a killed, interrupted or failed run from its checkpoint: dfa resume last."""
    from dfa_cli.results import pick_run
    from dfa_cli.results.store import read
    from dfa_cli.sweep.claims import FOLDER, claim
    from dfa_cli.training import CHECKPOINT

    chosen = pick_run(run, folders or [Path("outputs")])
    folder = Path(chosen.folder).absolute()
    _require_ended(chosen)
    if not from_start and not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"run {chosen.id} has no checkpoint, so there is no epoch to go on from: "
            f"dfa resume {chosen.id} --from-start begins again with epoch 1 "
            "(and checkpoint_every=EPOCHS makes checkpoints)."
        )
    config = _config_of(chosen)
    outputs = next((above for above in folder.parents if (above / FOLDER).is_dir()), folder.parent)
    with claim(outputs, chosen.identity or chosen.id) as ours:
        if ours is None:
            raise DfaError(f"a sweep is running the configuration of run {chosen.id} right now.")
        _require_ended(read(folder))  # a sweep may have gone on with it since
        with _logged(folder):
            with importing("torch"):
                from dfa_cli import experiment

            if from_start:
                for left in ("metrics.csv", CHECKPOINT):
                    (folder / left).unlink(missing_ok=True)
                words = list(chosen.record.get("overrides") or ())
                own = chosen.provenance.get("config_dir")
                experiment.run(config, folder, chosen.choices, words, config_dir=own, replaces=True)
            else:
                experiment.resume(folder)


def _require_ended(run: Run) -> None:
    """Raises `DfaError` for a run that is completed or still running."""
    if run.status == "completed":
        raise DfaError(f"run {run.id} is completed; dfa rerun {run.id} makes it again.")
    if run.status == "running":
        raise DfaError(f"run {run.id} is still running, in process {run.provenance.get('pid')}.")


def _config_of(run: Run) -> dict[str, Any]:
    """The recorded configuration with today's names; keys that came later than the record have their defaults.

    Raises `DfaError` for a run that was made with an option that this version does not have any more.
    """
    from dfa_cli.schema import DROPPED, Config, check, lookup, outdated

    if not run.config:
        raise DfaError(f"the record of run {run.id} has no configuration.")
    for key in outdated(run.config):  # `run.config` has lost those that hold what this version computes with
        raise DfaError(
            f"run {run.id} was made with {key}={lookup(run.config, key)[0]}, an option that this version of dfa does "
            f"not have any more: it computes as with {DROPPED[key].value}, and can neither repeat the run nor go on "
            "with it."
        )
    defaults = asdict(Config())
    del defaults["grids"]  # a sweep's, and no run's
    config = {**defaults, **run.config}
    try:
        for group in ("model", "rule", "device", "data", "optimizer"):
            assert config[group]["_target_"], f"{group} names no class"
            assert run.choices[group], f"no {group} was chosen"
        check(config, run.choices)
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise DfaError(f"the record of run {run.id} is not whole: {type(error).__name__} {error}.") from error
    return config


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """`run.log` in the folder; Ctrl-C and SIGTERM end in the record."""
    from dfa_cli.results.record import logged

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with logged(folder):
            yield
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured is in {shortest(folder)}", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def verdict(before: Run, after: Run) -> tuple[list[str], bool]:
    """Whether `after` repeats `before`, in lines, and as the exit code has it."""
    changed = changes(before, after)
    exact, words = compare_curves(before.curves, after.curves)
    lines = [f"repetition of {before.id} ({before.status}, {before.created[:10]}): {words}"]
    lines += [f"  {line}" for line in changed] or ["  same machine, versions and code"]
    if exact:
        return lines, True
    within, differences = close_enough(before, after)
    lines += [f"  {line}" for line in differences]
    if not changed:
        lines.append(
            "Under the same conditions they should match exactly: this is a bug, or the run is not on a CPU."
        )
        return lines, within and not (after.provenance.get("deterministic") or False)
    limits = (
        f"{percent(ACCURACY_TOLERANCE).strip()} of accuracy, {percent(LOSS_TOLERANCE).strip()} of the loss"
    )
    lines.append(f"{'within' if within else 'beyond'} the tolerance for other conditions ({limits})")
    return lines, within


def compare_curves(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> tuple[bool, str]:
    """Whether all measured columns are equal, to the last digit, in the epochs of `before`."""
    columns = [
        name for name in before if name in after and name not in UNTIMED and not name.endswith("_seconds")
    ]
    epochs = min(len(before["epoch"]), len(after["epoch"]))
    for row in range(epochs):
        differing = [name for name in columns if before[name][row] != after[name][row]]
        if differing:
            return False, f"the metrics differ from epoch {row + 1} on ({', '.join(differing)})"
    if len(before["epoch"]) > epochs:
        return (
            False,
            f"the metrics match in {epochs} epochs, and {len(before['epoch']) - epochs} more are missing",
        )
    return True, f"the metrics match exactly, in {epochs} epochs and {len(columns) - 1} columns"


def close_enough(before: Run, after: Run) -> tuple[bool, list[str]]:
    """The results side by side, and whether each is within its tolerance."""
    within, lines = True, []
    for key in (
        "test_accuracy_at_best_validation",
        "test_accuracy_at_last_epoch",
        "best_validation_accuracy",
    ):
        one, other = before.result.get(key), after.result.get(key)
        if one is not None and other is not None:
            within &= abs(one - other) <= ACCURACY_TOLERANCE
            lines.append(f"{key}: {percent(one).strip()} before, {percent(other).strip()} now")
    one, other = before.result.get("last_train_loss"), after.result.get("last_train_loss")
    if one is not None and other is not None:
        within &= abs(one - other) <= LOSS_TOLERANCE * max(abs(one), 1e-12)
        lines.append(f"last_train_loss: {one:.6g} before, {other:.6g} now")
    return within, lines


def changes(before: Run, after: Run) -> list[str]:
    """What differs in the code, the versions and the machine, a line each."""
    lines = []
    old, new = before.provenance, after.provenance
    was, now = old.get("git") or {}, new.get("git") or {}
    if was.get("commit") != now.get("commit"):
        lines.append(f"code: commit {_short(was)} before, {_short(now)} now")
    elif was.get("dirty") or now.get("dirty"):
        lines.append(
            f"code: commit {_short(was)} before, {_short(now)} now; uncommitted changes cannot be compared"
        )
    versions, later = old.get("versions") or {}, new.get("versions") or {}
    for name in sorted({*versions, *later}):
        if versions.get(name) != later.get(name):
            lines.append(f"{name}: {versions.get(name, 'absent')} before, {later.get(name, 'absent')} now")
    for name in ("processor", "platform", "compute", "threads"):
        if old.get(name) != new.get(name):
            lines.append(f"{name}: {old.get(name)} before, {new.get(name)} now")
    sums, here = old.get("data_checksums") or {}, new.get("data_checksums") or {}
    if sums != here:
        lines.append("data: the raw files have other checksums now")
    return lines


def _short(git: dict[str, Any]) -> str:
    commit = str(git.get("commit") or "")
    return "unknown" if not commit else commit[:10] + (" with changes" if git.get("dirty") else "")
