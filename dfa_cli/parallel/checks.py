"""Tells what cannot be divided over processes."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm

from dfa_cli.errors import DfaError
from dfa_cli.parallel.parts import require_rows
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import KEEP, LearningRule, Stateful
from dfa_cli.rules.blockwise import HasFeedback
from dfa_cli.training.setup import Experiment


def require_divisible_rule(rule: LearningRule, name: str, kind: str) -> None:
    """Raise `DfaError` for a rule whose step cannot be divided.

    `name`, `kind`: the options chosen of the groups `rule` and `parallel`.
    """
    name = f"rule={name}"
    if not isinstance(rule, (HasFeedback, Backpropagation)) and not getattr(rule, "last_block_only", False):
        raise DfaError(
            f"parallel={kind}: {name} goes through the blocks in a way of its own, which cannot be divided. "
            "Use parallel=none, or one of rule=dfa, drtp, shallow, bp."
        )
    if isinstance(rule, Stateful):
        raise DfaError(f"parallel={kind}: {name} has a state, which cannot be divided. Use parallel=none.")
    if getattr(rule, "activations", KEEP) != KEEP and (kind == "data" or isinstance(rule, Backpropagation)):
        raise DfaError(
            f"parallel={kind} with {name} keeps the activations of a step. Use activations=keep, or rule=dfa with "
            "parallel=pipeline."
        )


def require_divisible_rows(experiment: Experiment, key: str, parts: int, advice: str) -> None:
    """Raise `DfaError` for a run whose batches cannot be divided into so many parts.

    `key`: what sets their number. `advice`: what to set instead.
    """
    batches = experiment.batches
    if batches.whole is not None:
        require_rows(batches.whole, advice)
    if any(isinstance(module, _BatchNorm) for module in experiment.model.modules()):
        raise DfaError(
            "Batch normalisation takes its averages over the rows that it is given, so with a divided batch it is "
            f"another network. Use {advice}."
        )
    if parts > (rows := batch_rows(experiment)):
        raise DfaError(
            f"{key}={parts} is more than the {rows} rows of a batch. Use {key}={or_fewer(rows)}, or a larger "
            "batch_size."
        )


def or_fewer(most: int) -> str:
    """Say that a count of at least 1 must be no more than `most`."""
    return "1" if most == 1 else f"{most} or fewer"


def batch_rows(experiment: Experiment) -> int:
    """Return the rows of a whole batch."""
    rows = len(experiment.batches.train)
    return min(experiment.batches.size or rows, rows)
