"""Layers and models of one's own: what they say of themselves is believed where it holds, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from program import Dfa
from torch import Tensor, nn
from torch.nn.functional import gelu

from dfa_cli.errors import DfaError
from dfa_cli.models import Batch, Block, Graph, GraphConvolution, Linear, Model
from dfa_cli.models.base import said_of
from dfa_cli.rules import Backpropagation
from dfa_cli.seeding import generator

SAID = ("activated", "deterministic", "edges", "gives_some_rows")


class Twice(Linear):
    """Overrides `forward`, and says nothing of the new one."""

    def forward(self, h: Tensor, graph: Graph | None) -> Tensor:
        return 2 * super().forward(h, graph)


class Renamed(GraphConvolution):
    """Has the `forward` of the class above it."""


class SaidAgain(Twice):
    edges = 0


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(1, "h"))


def test_a_forward_that_a_subclass_overrides_is_what_a_block_computes() -> None:
    layer, h = Twice(5, 4, generator(0, "weights")), drawn(7, 5)
    out = Block(layer, 4, "relu")(h, None)
    torch.testing.assert_close(out, torch.relu(2 * (h @ layer.weight + layer.bias)))


def test_a_subclass_inherits_what_is_said_of_forward_only_with_the_forward() -> None:
    made = [kind(3, 3, None) for kind in (GraphConvolution, Renamed)]
    assert all(said_of(layer, name) for layer in made for name in SAID)
    assert [said_of(Twice(3, 3, None), name) for name in SAID] == [None] * 4
    assert said_of(SaidAgain(3, 3, None), "edges") == 0
    assert said_of(SaidAgain(3, 3, None), "activated") is None
    layer = Twice(3, 3, None)
    layer.edges = 2
    assert said_of(layer, "edges") == 2


@pytest.mark.parametrize("width", [4, 64])  # below and above what is multiplied transposed
def test_a_block_takes_an_elementwise_function_as_activation(width: int) -> None:
    block, h = Block(Linear(5, width, generator(0, "weights")), width, gelu), drawn(7, 5)
    assert isinstance(block.layer, Linear)
    weight, bias = (one.detach().requires_grad_() for one in (block.layer.weight, block.layer.bias))
    out, expected = block(h, None), gelu(h @ weight + bias)
    torch.testing.assert_close(out, expected)
    signal = drawn(7, width)
    out.backward(signal)
    expected.backward(signal)
    torch.testing.assert_close(block.layer.weight.grad, weight.grad)
    torch.testing.assert_close(block.layer.bias.grad, bias.grad)


def test_an_activation_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(
        DfaError, match=r"activation=\"gelu\".* must be tanh, relu, an elementwise function, or None"
    ):
        Block(Linear(5, 4, None), 4, "gelu")


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_width_that_is_not_that_of_the_output_is_named(wrong: int) -> None:
    widths = [6, 4]
    widths[wrong] = 5
    layers = Linear(3, 6, None), Linear(6, 4, None)
    model = Model([Block(layer, width) for layer, width in zip(layers, widths, strict=True)])
    sentence = (
        rf"^Block {wrong + 1} of Model has the width 5, and its layer Linear gives {[6, 4][wrong]} columns\."
    )
    with pytest.raises(DfaError, match=sentence):
        Backpropagation().backward(model, Batch(drawn(2, 3), torch.tensor([0, 1])))


OWN = """
from torch import nn
from dfa_cli.models import Block, FullyConnected, Linear, Model

class Plain(Model):
    def __init__(self, sizes, hidden):
        super().__init__([Block(nn.Linear(sizes.features, sizes.classes), sizes.classes)])

class Short(Model):
    def __init__(self, sizes, hidden):
        super().__init__([Block(Linear(sizes.features, 7, sizes.weights), 7)])

class Skipping(FullyConnected):
    def __init__(self, sizes, hidden):
        super().__init__(sizes, hidden, "tanh", 0.0, 0.0)

    def forward(self, batch):
        return super().forward(batch)
"""


@pytest.fixture
def refused(dfa: Dfa):
    """Give the sentence in which a model of `OWN` is refused."""

    def sentence(kind: str, *words: str) -> str:
        folder = Path(dfa.root) / "own"
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "wrong_models.py").write_text(OWN)
        (folder / "model" / "mine.yaml").write_text(f"_target_: wrong_models.{kind}\nhidden: [8]\n")
        answer = dfa(
            "train", "--config-dir", str(folder), *dfa.arguments("model=mine", "data=digits", *words)
        )
        assert answer.code == 2, answer
        return answer.sentence

    return sentence


def test_a_layer_that_takes_no_graph_is_refused_in_a_sentence(refused) -> None:
    found = refused("Plain")
    assert "model=mine: the layer Linear of block 1 cannot be called as layer(h, graph)" in found
    assert "forward(self, h, graph); graph is None for data without edges" in found


def test_a_last_block_without_a_column_for_each_class_is_refused_in_a_sentence(refused) -> None:
    found = refused("Short")
    assert "model=mine: the last block is 7 wide, and there are 10 classes" in found
    assert found.endswith("its width must be sizes.classes.")


@pytest.mark.parametrize("rule", ["dfa", "drtp", "shallow", "fa", "frsf"])
def test_rules_that_go_from_block_to_block_refuse_a_forward_that_may_do_more(refused, rule: str) -> None:
    found = refused("Skipping", f"rule={rule}", "epochs=1")
    assert "Skipping has a `forward` of its own, which is evaluated." in found
    assert found.endswith("into the layers of the blocks, or use rule=bp.")


def test_a_layer_is_any_module() -> None:
    """Of the attributes that make a layer faster, none is needed."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(3), nn.Linear(3, 2)

        def forward(self, h: Tensor, graph: Graph | None) -> Tensor:
            return self.linear(self.norm(h))

    model, data = Model([Block(Normed(), 2)]), Batch(drawn(4, 3), torch.tensor([0, 1, 1, 0]))
    assert model.edges_of_error() is None
    Backpropagation().backward(model, data)
    assert all(parameter.grad is not None for parameter in model.parameters())
