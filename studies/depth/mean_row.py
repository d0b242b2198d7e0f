"""The exact error plus the mean row that ternary errors add: it shows what this row alone does to training."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.devices.opu import Float, Ternary
from dfa_cli.devices.opu.encoding import Frames


class MeanRow:
    """Shows the exact error, with the mean of what `Ternary` adds to the rows added to each of them.

        q_r = e_r + (1 / rows) sum_s (t_s - e_s),      t_s: row s as `Ternary` shows it

    Every row gets the same term, so the terms add up in the gradient, while those of `Ternary` that differ from row to
    row are left out.
    """

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        frames = Ternary().encode(error, draws)
        shown = frames.scale * (frames.patterns[0] - frames.patterns[1])
        return Float().encode(error + (shown - error).mean(0), draws)
