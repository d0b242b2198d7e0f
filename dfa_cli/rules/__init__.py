"""Training rules compute the gradients of the blocks. No rule knows which device projects the error."""

from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import (
    LearningRule,
    Step,
    cross_entropy,
    labelled_rows,
    loss_and_error,
    scatter_to_rows,
)
from dfa_cli.rules.dfa import DirectFeedbackAlignment
from dfa_cli.rules.drtp import DirectRandomTargetProjection
from dfa_cli.rules.feedback_alignment import (
    BatchwiseRandomSign,
    FeedbackAlignment,
    FixedRandomSign,
    UniformSign,
)
from dfa_cli.rules.shallow import Shallow

__all__ = [
    "Backpropagation",
    "BatchwiseRandomSign",
    "DirectFeedbackAlignment",
    "DirectRandomTargetProjection",
    "FeedbackAlignment",
    "FixedRandomSign",
    "LearningRule",
    "Shallow",
    "Step",
    "UniformSign",
    "cross_entropy",
    "labelled_rows",
    "loss_and_error",
    "scatter_to_rows",
]
