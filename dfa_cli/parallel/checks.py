"""Tells what cannot be divided over processes."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm

from dfa_cli.errors import DfaError
from dfa_cli.parallel.parts import require_rows
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import KEEP, LearningRule, Stateful
from dfa_cli.rules.blockwise import HasFeedback
from dfa_cli.training.setup import Experiment


def require_divisible_rule(rule: LearningRule, kind: str) -> None:
    """Raise `DfaError` for a rule whose step cannot be divided. `kind`: the option of the group `parallel`."""
    name = type(rule).__name__
    if not isinstance(rule, (HasFeedback, Backpropagation)) and not getattr(rule, "last_block_only", False):
        raise DfaError(
            f"parallel={kind}: {name} sends the error back through all blocks in its own way. "
            "Use parallel=none, or one of rule=dfa, drtp, shallow, bp."
        )
    if isinstance(rule, Stateful):
        raise DfaError(f"parallel={kind}: {name} has a state, which cannot be divided. Use parallel=none.")
    if getattr(rule, "activations", KEEP) != KEEP and (kind == "data" or isinstance(rule, Backpropagation)):
        raise DfaError(
            f"parallel={kind} with {name} keeps the activations of a step, as torch does it. Use activations=keep, or "
            "rule=dfa with parallel=pipeline."
        )


def require_divisible_rows(experiment: Experiment, advice: str) -> None:
    """Raise `DfaError` for a run whose batches cannot be divided. `advice`: what to set instead."""
    if experiment.batches.whole is not None:
        require_rows(experiment.batches.whole, advice)
    if any(isinstance(module, _BatchNorm) for module in experiment.model.modules()):
        raise DfaError(
            "Batch normalisation takes its averages over the rows that it is given, so with a divided batch it is "
            f"another network. Use {advice}."
        )
