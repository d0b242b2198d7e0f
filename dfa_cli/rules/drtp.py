"""Direct random target projection."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.models.batch import Batch
from dfa_cli.rules.dfa import DirectFeedbackAlignment


class DirectRandomTargetProjection(DirectFeedbackAlignment):
    """Direct random target projection (DRTP): hidden blocks learn from a random projection of the label.

        dL/dW_i  <-  (d h_i / d W_i)^T (-y B_i / n)      for i < last

    `y` `[labelled, classes]` is the one-hot label, and `n` is the number of labelled rows. `-y` has the sign of the
    error `p - y` wherever the error is large; `p` is the softmax of the logits. Everything else, the options included,
    is as in direct feedback alignment. In principle a hidden block need not wait for the output of the network. On an
    optical device each label is shown as one bright frame and one dark frame.

    Frenkel, Lefebvre & Bol 2021, Frontiers in Neuroscience 15, 629892 (arXiv 1909.01311).
    """

    def projected_signal(self, error: Tensor, batch: Batch) -> Tensor:
        # `one_hot` would read the labels to check them.
        label = torch.zeros_like(error).scatter_(1, batch.targets.unsqueeze(1), 1.0)
        return label.div_(-len(error))
