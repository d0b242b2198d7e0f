"""Training rules: who computes the gradients of the blocks. No rule knows which device projects."""

from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import LearningRule, Step, cross_entropy
from dfa_cli.rules.dfa import DirectFeedbackAlignment
from dfa_cli.rules.shallow import Shallow

__all__ = [
    "Backpropagation",
    "DirectFeedbackAlignment",
    "LearningRule",
    "Shallow",
    "Step",
    "cross_entropy",
]
