"""Direct random target projection."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from dfa_cli.models.batch import Batch
from dfa_cli.rules.dfa import DirectFeedbackAlignment


class DirectRandomTargetProjection(DirectFeedbackAlignment):
    """Direct feedback alignment with the labels in the place of the error: block `i < last` is taught by `-y B_i / n`.

    `y` `[labelled, classes]` is the one-hot label, whose negative has the sign of the error `p - y` wherever that is
    large. Hidden blocks need not even wait for the output. Of the same family and options as `dfa`; on an optical
    device a label is one bright frame and an empty one.

    Frenkel, Lefebvre & Bol 2021, Frontiers in Neuroscience 15, 629892 (arXiv 1909.01311).
    """

    def projected_signal(self, error: Tensor, batch: Batch) -> Tensor:
        return one_hot(batch.targets, error.shape[1]).to(error.dtype).div_(-len(error))
