"""`dfa evaluate`: classifies with the saved weights of a run, and compares with what its record says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.errors import DfaError
from dfa_cli.launch.recorded import NO_TRUST, Trust, require_no_overrides, spec_of_record
from dfa_cli.records.checksums import FILES, change_of_file
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.integrity import require_unchanged
from dfa_cli.records.run import WEIGHTS, Run

if TYPE_CHECKING:
    from dfa_cli.experiment import Trained


def evaluate(name: str, folders: Paths, trust: Trust = NO_TRUST) -> dict[str, Any]:
    """Classify the validation and the test rows of a run with its saved weights.

    Return plain data: `id`, the `epoch` whose weights they are, and for `validation` and `test` the number of `rows`,
    how many are `correct`, the `accuracy`, the one that is `recorded` for the epoch, and `confusion`, the number of
    rows by their class and by the class that the model favours. `matches`: whether both accuracies are those of the
    record.

    `trust`: what may be imported besides this package. Raises `DfaError` for a run without weights, and for one that
    was changed after dfa wrote it.
    """
    require_no_overrides("dfa evaluate takes a run", name, folders)
    run = _with_weights(name, folders)
    spec = spec_of_record(run, trust)
    epoch = run.result.get("best_epoch" if run.config.get("weights") == "best" else "last_epoch")
    if epoch not in (epochs := run.curves.get("epoch") or []):
        raise DfaError(f"run {run.id} has no metrics of epoch {epoch}, so there is nothing to compare with.")
    place = epochs.index(epoch)
    from dfa_cli.experiment import trained

    parts = {}
    for part, confusion in trained(spec, Path(run.folder)).confusions().items():
        rows = sum(map(sum, confusion))
        correct = sum(row[i] for i, row in enumerate(confusion))
        parts[part] = {
            "rows": rows,
            "correct": correct,
            "accuracy": correct / rows,
            "recorded": run.curves[f"{part}_accuracy"][place],
            "confusion": confusion,
        }
    matches = all(round(part["recorded"] * part["rows"]) == part["correct"] for part in parts.values())
    return {"id": run.id, "epoch": epoch, "matches": matches, **parts}


def trained(name: str, *folders: str | Path, config_dir: str | Path | None = None) -> Trained:
    """Return the network of a run, with the weights that the run has saved, and the data of the run.

    `name`: the start of an id, a run's folder, or `last`. `folders`: where to search; by default `outputs`.
    `config_dir`: the folder of your own classes, if the run uses any. Raises `DfaError` for a run without weights, for
    one that was changed after dfa wrote it, and for one whose data cannot be had.

        net = dfa_cli.trained("last")
        test = net.data.test
        accuracy = (net.logits(test).argmax(1) == net.data.y[test]).double().mean()
    """
    run = _with_weights(name, [Path(folder) for folder in folders] or [Path("outputs")])
    spec = spec_of_record(run, Trust.of(config_dir))
    import torch

    from dfa_cli.experiment import trained

    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):  # The program that calls this has a generator of its own.
            return trained(spec, Path(run.folder))
    finally:
        torch.set_num_threads(threads)


def _with_weights(name: str, folders: Paths) -> Run:
    """Find a run that has weights. Raises `DfaError` when it has none, or when it was changed after dfa wrote it."""
    run = pick_run(name, folders)
    require_unchanged(run)
    path = Path(run.folder) / WEIGHTS
    if not path.is_file():
        raise DfaError(
            f"run {run.id} is {run.status} and has no {WEIGHTS}, which a run writes when it completes."
        )
    if change := change_of_file(path, (run.record.get(FILES) or {}).get(WEIGHTS)):
        raise DfaError(f"run {run.id} is damaged: {change} ({run.folder}).")
    return run
