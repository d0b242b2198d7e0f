"""Counts the operations of blocks: fully connected, graph convolution, transformer.

An operation is a multiplication or an addition, so the product of an `a x b` and a `b x c` matrix has `2 a b c`.
Element-wise work (activations, normalisations, dropout, the loss) is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dfa_cli.planner.costs import Block


def fully_connected(widths: Sequence[int], value_bytes: int) -> tuple[Block, ...]:
    """Count the blocks `h W + b`. `widths`: features, hidden widths, classes.

    Forward pass, input gradient and weight gradient are one product each. Nothing comes before the weights, so the
    input gradient is left out entirely in direct feedback alignment.
    """
    last = len(widths) - 2
    blocks = []
    for i, (inputs, width) in enumerate(pairwise(widths)):
        product = 2.0 * inputs * width
        blocks.append(
            Block(
                forward=product,
                inner=0.0,
                input_gradient=product if i else 0.0,
                weight_gradient=product,
                projection=2.0 * widths[-1] * width if i < last else 0.0,
                width=width,
                # The output of a block is the input of the next one, and is kept once.
                kept=float(width * value_bytes + (inputs * value_bytes if i == 0 else 0)),
                parameters=inputs * width + width,
            )
        )
    return tuple(blocks)


def graph_convolution(
    widths: Sequence[int], edges_per_node: float, features_per_node: float, value_bytes: int
) -> tuple[Block, ...]:
    """Count the blocks `A' h W + b`. `widths`: features, hidden widths, classes.

    `edges_per_node`: stored entries of `A'` for each node, self loops included. `features_per_node`: entries of a
    node's features that are not zero. The sparse product is done on the narrower side, as in `GraphConvolution`.
    """
    last = len(widths) - 2
    blocks = []
    for i, (inputs, width) in enumerate(pairwise(widths)):
        product = 2.0 * (features_per_node if i == 0 else inputs) * width
        narrows = i == 0 or inputs >= width
        spread = 2.0 * edges_per_node * (width if narrows else inputs)
        blocks.append(
            Block(
                forward=product + spread,
                # Where the layer narrows, the gradient goes back over the edges before it reaches the weights.
                inner=spread if narrows else 0.0,
                input_gradient=0.0 if i == 0 else product + (0.0 if narrows else spread),
                weight_gradient=product,
                projection=2.0 * widths[-1] * width if i < last else 0.0,
                width=width,
                kept=float(width * value_bytes * 2),
                parameters=inputs * width + width,
            )
        )
    return tuple(blocks)


def transformer(layers: int, width: int, sequence: int, vocabulary: int) -> tuple[Block, ...]:
    """Count a decoder: each layer is two blocks, attention and MLP (4 times as wide inside), and the head is the last.

    Forward pass of a token: attention `8 d^2 + 4 n d`, MLP `16 d^2`, head `2 d V`. These are the counts of Narayanan et
    al. 2021 (arXiv 2104.04473), appendix: they do not halve the attention for its causal mask.

    Inside a block there is backpropagation: attention needs the gradients of its output projection and of the scores
    before it reaches the first weights, and the MLP that of its second product. What direct feedback alignment leaves
    out is only the gradient of the block's first product: `6 d^2` of the attention (queries, keys, values), `8 d^2` of
    the MLP. The embedding belongs to the first block, which therefore leaves nothing out.

    Activations kept: 13 d bytes for attention, 21 d for the MLP in 16 bits, with the scores recomputed (Korthikanti et
    al. 2022, arXiv 2205.05198, table 2: 34 s b h a layer), and logits in 32 bits.
    """
    d, n = float(width), float(sequence)
    projection = 2.0 * vocabulary * d
    first = 6 * d * d
    attention = Block(
        forward=8 * d * d + 4 * n * d,
        inner=2 * d * d + 8 * n * d,
        input_gradient=first,
        weight_gradient=8 * d * d,
        projection=projection,
        width=width,
        kept=13 * d,
        parameters=4 * width * width + 6 * width,  # four biases, and scale and shift of the normalisation
    )
    mlp = Block(
        forward=16 * d * d,
        inner=8 * d * d,
        input_gradient=8 * d * d,
        weight_gradient=16 * d * d,
        projection=projection,
        width=width,
        kept=21 * d,
        parameters=8 * width * width + 7 * width,
    )
    embedding = Block(
        forward=attention.forward,
        inner=attention.inner + first,
        input_gradient=0.0,
        weight_gradient=attention.weight_gradient,
        projection=projection,
        width=width,
        kept=attention.kept,
        parameters=attention.parameters + (vocabulary + sequence) * width,
    )
    head = Block(
        forward=2 * d * vocabulary,
        inner=0.0,
        input_gradient=2 * d * vocabulary,
        weight_gradient=2 * d * vocabulary,
        projection=0.0,
        width=vocabulary,
        kept=2 * d + 4.0 * vocabulary,
        # The matrix is the embedding's. A pipeline holds it on the first stage and on the last.
        parameters=vocabulary * width + 2 * width,
    )
    return embedding, *([mlp, attention] * layers)[:-1], head
