"""Whether one run repeats another, and what differs between their conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfa_cli.console.messages import percent
from dfa_cli.records.words import commit_in_words

if TYPE_CHECKING:
    from dfa_cli.records.run import Run


# what a repetition under other conditions (another processor, another torch) may differ by
ACCURACY_TOLERANCE = 0.02  # absolute, as a fraction: two points of a percentage
LOSS_TOLERANCE = 0.05  # relative
UNTIMED = ("seconds", "projection_seconds")  # columns that no repetition has the same


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
    first, second = (commit_in_words(git, digits=10) or "unknown" for git in (was, now))
    commits = f"commit {first} before, {second} now"
    if was.get("commit") != now.get("commit"):
        lines.append(f"code: {commits}")
    elif was.get("dirty") or now.get("dirty"):
        lines.append(f"code: {commits}; uncommitted changes cannot be compared")
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
