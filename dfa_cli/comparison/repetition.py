"""Tells whether one run repeats another, and in which conditions the two differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfa_cli.console.messages import percent
from dfa_cli.console.values import plural
from dfa_cli.records.code import changed_files
from dfa_cli.records.words import commit_in_words

if TYPE_CHECKING:
    from dfa_cli.records.run import Run


# How far a repetition under other conditions (another processor, another torch) may be from the run it repeats.
ACCURACY_TOLERANCE = 0.02  # absolute, as a fraction: two percentage points
LOSS_TOLERANCE = 0.05  # relative
TIME_COLUMNS = ("seconds", "projection_seconds")  # They differ in every repetition.


def verdict(before: Run, after: Run) -> tuple[list[str], bool]:
    """Tells whether run `after` repeats run `before`: in lines for the user, and as a truth value for the exit code.

    Without a change of machine, versions or code, a deterministic run must repeat exactly. Otherwise the results must
    be within the tolerances.
    """
    changed = describe_changes(before, after)
    exact, outcome = compare_curves(before.curves, after.curves)
    lines = [f"repetition of {before.id} ({before.status}, {before.created[:10]}): {outcome}"]
    lines += [f"  {line}" for line in changed] or ["  same machine, versions and code"]
    if exact:
        return lines, True
    within, differences = compare_results(before, after)
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
    """Tells whether all measured columns are equal in all epochs of `before`, to the last digit.

    The second value of the result describes the outcome in words.
    """
    columns = [
        name
        for name in before
        if name in after and name not in TIME_COLUMNS and not name.endswith("_seconds")
    ]
    epochs = min(len(before["epoch"]), len(after["epoch"]))
    for row in range(epochs):
        differing = [name for name in columns if before[name][row] != after[name][row]]
        if differing:
            return False, f"the metrics differ from epoch {row + 1} on ({', '.join(differing)})"
    if len(before["epoch"]) > epochs:
        return (
            False,
            f"the metrics match in {plural(epochs, 'epoch')}, and {len(before['epoch']) - epochs} more are missing",
        )
    # The column `epoch` is not counted.
    return (
        True,
        f"the metrics match exactly, in {plural(epochs, 'epoch')} and {plural(len(columns) - 1, 'column')}",
    )


def compare_results(before: Run, after: Run) -> tuple[bool, list[str]]:
    """Tells whether all results are within their tolerances, and lists them side by side."""
    within, lines = True, []
    for key in (
        "test_accuracy_at_best_validation",
        "test_accuracy_at_last_epoch",
        "best_validation_accuracy",
    ):
        old_value, new_value = before.result.get(key), after.result.get(key)
        if old_value is not None and new_value is not None:
            within &= abs(old_value - new_value) <= ACCURACY_TOLERANCE
            lines.append(f"{key}: {percent(old_value).strip()} before, {percent(new_value).strip()} now")
    old_value, new_value = before.result.get("last_train_loss"), after.result.get("last_train_loss")
    if old_value is not None and new_value is not None:
        within &= abs(old_value - new_value) <= LOSS_TOLERANCE * max(abs(old_value), 1e-12)
        lines.append(f"last_train_loss: {old_value:.6g} before, {new_value:.6g} now")
    return within, lines


def describe_changes(before: Run, after: Run) -> list[str]:
    """Lists what differs in the code, the versions and the machine, one line each."""
    lines = []
    old, new = before.provenance, after.provenance
    old_git, new_git = old.get("git") or {}, new.get("git") or {}
    old_commit, new_commit = (commit_in_words(git, digits=10) or "unknown" for git in (old_git, new_git))
    commits = f"commit {old_commit} before, {new_commit} now"
    if old_git.get("commit") != new_git.get("commit"):
        lines.append(f"code: {commits}")
    elif old_git.get("dirty") or new_git.get("dirty"):
        if not (old_git.get("diff") and new_git.get("diff")):
            lines.append(f"code: {commits}; uncommitted changes cannot be compared")
        elif old_git["diff"] != new_git["diff"]:
            lines.append(f"code: {commits}, and the changes differ")
    lines += [f"code of your own: {change}" for change in changed_files(before.code, after.code)]
    old_versions, new_versions = old.get("versions") or {}, new.get("versions") or {}
    for name in sorted({*old_versions, *new_versions}):
        if old_versions.get(name) != new_versions.get(name):
            lines.append(
                f"{name}: {old_versions.get(name, 'absent')} before, {new_versions.get(name, 'absent')} now"
            )
    for name in ("processor", "platform", "compute", "threads"):
        if old.get(name) != new.get(name):
            lines.append(f"{name}: {old.get(name)} before, {new.get(name)} now")
    old_streams, new_streams = (run.record.get("streams", 1) for run in (before, after))
    if old_streams != new_streams:
        lines.append(
            f"random streams: version {old_streams} before, {new_streams} now, so dropout or optical noise "
            "draws other numbers"
        )
    old_checksums, new_checksums = old.get("data_checksums") or {}, new.get("data_checksums") or {}
    if old_checksums != new_checksums:
        lines += [f"data: {change}" for change in changed_files(old_checksums, new_checksums)]
    return lines
