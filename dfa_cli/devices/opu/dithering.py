"""Encodings that light mirrors at random, so that the patterns are right on average."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.devices.opu.encoding import Frames, positive_and_negative


class Dithered:
    """Lights each mirror with a probability proportional to its error: one pattern for the +1, another for the -1.

        t_j = sign(e_j)  with probability  |e_j| / m,  else 0,      m = max_j |e_j| of the row
        q   = m t

        bias      E[q] - e = 0;  so the sum of the row is right on average, too
        variance  Var[q_j] = |e_j| (m - |e_j|)
        norm      E|q|^2   = m sum_j |e_j|,  which is |e|^2 plus the variances: below 2 |e|^2 for errors of a softmax
        patterns  E        = 2 - prod_{j: e_j > 0} (1 - |e_j| / m) - prod_{j: e_j < 0} (1 - |e_j| / m)

    The norm of a row is not restored: a factor that depends on the draw would bring a bias back. So
    `E |project(e)|^2 = n_out E|q|^2`. Gradients are sums over rows, in which the variance averages out and the mean
    does not. The mean is that of digital hardware, so a learning rate tuned there holds.

    The largest entry of a row is always shown, so a row takes one or two patterns.
    """

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        largest = torch.linalg.vector_norm(error, float("inf"), 1, keepdim=True)
        # `rand` is below 1, so the largest entry always passes. A row of zeros never does.
        cut = torch.rand(error.shape, generator=draws, device=error.device).mul_(largest)
        patterns = error.new_empty(2, *error.shape)
        torch.gt(error, cut, out=patterns[0])
        torch.lt(error, cut.neg_(), out=patterns[1])
        return Frames(patterns, shown=patterns.amax(2), weights=(1.0, -1.0), scale=largest)


class DitheredTwoScales:
    """Dithers like `Dithered`, but each sign has a scale of its own, which lowers the variance.

        t_j = sign(e_j)  with probability  |e_j| / m(e_j),  else 0
        q_j = m(e_j) t_j,   m(e_j) = max |e| over the components of the row with the sign of e_j

        bias      E[q] - e = 0
        variance  Var[q_j] = |e_j| (m(e_j) - |e_j|)
        norm      E|q|^2   = sum_j m(e_j) |e_j|
        patterns  one for each sign that the row has, since the largest component of each is always shown

    As with `Dithered`, the norm of a row is not restored.
    """

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        parts = positive_and_negative(error)
        largest = parts.amax(2, keepdim=True)
        uniform = torch.rand(error.shape, generator=draws, device=error.device)
        patterns = (parts > uniform * largest).to(error.dtype)
        shown = (largest > 0).to(error.dtype).squeeze(2)
        return Frames(patterns, shown, weights=(largest[0], -largest[1]), scale=shown.amax(0).unsqueeze(1))
