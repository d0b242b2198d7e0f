"""Feedback alignment and its sign-symmetric variants: backpropagation with other weights in the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.func import functional_call

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import Step, labelled_rows, loss_and_error, require_chain, scatter_to_rows
from dfa_cli.seeding import generator

Weights = dict[str, Tensor]


class SequentialFeedback(ABC):
    """Base class of rules that send the error back block by block, through `F_i` in place of the weights `W_i`.

        g_last  =  e
        dL/dW_i <- (d z_i / d W_i)^T      act'(z_i) g_i
        g_{i-1} =  (d z_i / d h_{i-1})^T  act'(z_i) g_i      at W_i = F_i

    `z_i` is the output of the block's layer, `h_i = act(z_i)`. Unlike in direct feedback alignment, each block waits
    for the block above it. The equations are exact for layers that are linear in their input (fully connected, GCN,
    Chebyshev, SAGE). In the backward pass of an attention layer, the attention too is computed with `F_i`. Biases
    are not replaced.
    """

    def __init__(self, feedback_seed: int = 0):
        self.feedback_seed = feedback_seed

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        require_chain(model)
        self.draws = generator(self.feedback_seed, "feedback")
        self.magnitudes = [
            {name: self.draw(weight) for name, weight in block.matrices().items()} for block in model.blocks
        ]
        # From here on the generator draws only what a training step needs, so it must be on the device that trains.
        if compute.type != "cpu":
            self.draws = generator(self.feedback_seed, "feedback", compute)

    @abstractmethod
    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        """Return `F`, in the shape of `weight`. `magnitude` is what `draw` returned for this weight before training."""

    def draw(self, weight: Tensor) -> Tensor:
        """Draw a Gaussian matrix with the standard deviation of `weight`. `prepare` passes the initial weights.

        The matrix is drawn on the CPU, so that every machine draws the same numbers.
        """
        noise = torch.randn(weight.shape, generator=self.draws, dtype=weight.dtype).to(weight.device)
        return noise * weight.detach().std()

    def generators(self) -> Iterable[torch.Generator]:
        return (self.draws,)

    def state_dict(self) -> Weights:
        return {"draws": self.draws.get_state()}

    def load_state_dict(self, state: Weights) -> None:
        self.draws.set_state(state["draws"].cpu())

    def backward(self, model: Model, batch: Batch) -> Step:
        inputs: list[Tensor] = []  # h_{i-1}, detached from the block below
        layer_inputs: list[Tensor] = []  # h_{i-1} after dropout
        outputs: list[Tensor] = []  # z_i
        h = batch.x
        for block in model.blocks:
            h = h.detach().requires_grad_() if isinstance(h, Tensor) else h
            layer_input = block.dropout(h)
            inputs.append(h)  # type: ignore[arg-type]
            layer_inputs.append(layer_input)  # type: ignore[arg-type]
            outputs.append(block.layer(layer_input, batch.graph))
            h = block.activate(outputs[-1])
        assert isinstance(h, Tensor)
        step, error = loss_and_error(labelled_rows(h, batch), batch.targets)

        signal = scatter_to_rows(error, batch, len(h))
        for i in reversed(range(len(model.blocks))):
            block = model.blocks[i]
            if block.activation is not None:
                z = outputs[i].detach().requires_grad_()
                (signal,) = torch.autograd.grad(block.activation(z), z, signal)
            torch.autograd.backward(
                outputs[i], signal, inputs=list(block.layer.parameters()), retain_graph=i > 0
            )
            if i > 0:
                signal = self._signal_below(
                    block, self.magnitudes[i], layer_inputs[i], inputs[i], batch, signal
                )
        return step

    def _signal_below(
        self, block: Block, magnitudes: Weights, seen: Tensor, h: Tensor, batch: Batch, signal: Tensor
    ) -> Tensor:
        """Compute `g_{i-1}`: pass the signal back through the layer, with weights `F`, and then through the dropout.

        `h` is the input of the block, and `seen` is `h` after dropout: the input of the layer.
        """
        weights = {
            name: self.feedback(weight.detach(), magnitudes[name])
            for name, weight in block.matrices().items()
        }
        leaf = seen.detach().requires_grad_()
        z = functional_call(block.layer, weights, (leaf, batch.graph))
        (signal,) = torch.autograd.grad(z, leaf, signal)
        if seen is h:  # there was no dropout
            return signal
        return torch.autograd.grad(seen, h, signal)[0]


class FeedbackAlignment(SequentialFeedback):
    """Feedback alignment: the error passes back through fixed random matrices, `F_i = M_i`.

    Lillicrap, Cownden, Tweed & Akerman 2016, Nature Communications 7, 13276.
    """

    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        return magnitude


class UniformSign(SequentialFeedback):
    """Uniform sign-concordant feedback (uSF): the error passes back through the signs of the weights.

        F_i = s_i sign(W_i)      s_i the standard deviation of the initial W_i

    Liao, Leibo & Poggio 2016 (arXiv 1510.05067); Moskovitz, Litwin-Kumar & Abbott 2018 (arXiv 1812.06488).
    """

    def draw(self, weight: Tensor) -> Tensor:
        return weight.detach().std()

    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        return magnitude * weight.sign()


class BatchwiseRandomSign(SequentialFeedback):
    """Batchwise random sign-concordant feedback (brSF): `F_i` has the signs of the weights and random magnitudes.

        F_i = |M_i| sign(W_i)      M_i Gaussian, drawn anew for every batch

    Moskovitz, Litwin-Kumar & Abbott 2018 (arXiv 1812.06488).
    """

    def draw(self, weight: Tensor) -> Tensor:
        # Keep only the standard deviation of the Gaussian numbers: `feedback` draws the numbers for every batch.
        return weight.detach().std()

    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        noise = torch.randn(weight.shape, generator=self.draws, device=weight.device, dtype=weight.dtype)
        return (noise * magnitude).abs_() * weight.sign()


class FixedRandomSign(SequentialFeedback):
    """Fixed random sign-concordant feedback (frSF): `F_i` has the signs of the weights and fixed random magnitudes.

        F_i = |M_i| sign(W_i)      M_i Gaussian, drawn once before training

    Moskovitz, Litwin-Kumar & Abbott 2018 (arXiv 1812.06488).
    """

    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        return magnitude.abs() * weight.sign()
