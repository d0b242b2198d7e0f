"""Standard PyTorch programs ("recipes") with which the training loop is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfa_cli.data.base import Data
from studies.performance.rounds import Round


def geometric_recipe(data: Data, input_dropout: float = 0.5) -> Iterator[None]:
    """Train as torch_geometric's GCN example: cached GCNConv, dense features, autograd, Adam. Yields every epoch.

    The example drops entries of the dense features, most of which are zero. That takes most of its time.
    """
    from torch_geometric.nn import GCNConv

    class Recipe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = GCNConv(data.x.shape[1], 16, cached=True)
            self.second = GCNConv(16, data.classes, cached=True)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            x = F.dropout(x, input_dropout, self.training and input_dropout > 0)
            x = self.first(x, edge_index).relu()
            return self.second(F.dropout(x, 0.5, self.training), edge_index)

    x, edges = data.x.to_dense(), data.edge_index
    assert edges is not None
    model = Recipe()
    groups = [
        {"params": model.first.parameters(), "weight_decay": 5e-4},
        {"params": model.second.parameters()},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    while True:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x, edges)[data.train], data.y[data.train]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            found = model(x, edges).argmax(1)
            for rows in (data.validation, data.test):
                float((found[rows] == data.y[rows]).float().mean())
        yield


class _Project(torch.autograd.Function):
    """Passes the logits on, and lets the error teach the hidden layer when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, taught: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        ctx.hidden, ctx.feedback = taught  # a tuple, which autograd does not look into
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, error: Tensor):  # type: ignore[override]
        ctx.hidden.backward(error @ ctx.feedback / ctx.feedback.shape[1] ** 0.5)
        return error, None


def published_loop(data: Data, rule: str) -> Iterator[None]:
    """Train as the code of Launay et al. 2020 (arXiv 2006.12878) trains a GCN on a citation graph. Yields every epoch.

    The structure is that of github.com/lightonai/dfa-scales-to-modern-deep-learning at commit 336a211, in lines of our
    own (`paper-experiments/geometric-learning` for network, loop and evaluation, `TinyDFA/tinydfa/dfa.py` for
    `rule="dfa"`). Cached GCNConv, 16 wide, on dense features; dropout before the last layer only, 0.5 with `bp` and 0.1
    with `dfa`; one uniform feedback matrix; three accuracies after every epoch, each read as a number of its own.
    """
    from torch_geometric.nn import GCNConv

    x, edges = data.x.to_dense(), data.edge_index
    masks = [torch.zeros(len(data.y), dtype=torch.bool) for _ in range(3)]
    for mask, rows in zip(masks, (data.train, data.validation, data.test), strict=True):
        mask[rows] = True
    dropout, weight_decay = (0.5, 5e-4) if rule == "bp" else (0.1, 1e-4)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = GCNConv(data.x.shape[1], 16, cached=True)
            self.last = GCNConv(16, data.classes, cached=True)
            self.feedback = torch.rand(data.classes, 16) * 2 - 1

        def forward(self) -> Tensor:
            h = F.dropout(self.first(x, edges).relu(), dropout, self.training)
            if rule == "bp" or not torch.is_grad_enabled():
                return F.log_softmax(self.last(h, edges), dim=1)
            logits = self.last(h.detach().requires_grad_(), edges)
            return F.log_softmax(_Project.apply(logits, (h, self.feedback)), dim=1)

    network = Network()
    groups = [
        {"params": network.first.parameters(), "weight_decay": weight_decay},
        {"params": network.last.parameters(), "weight_decay": 0},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    while True:
        network.train()
        optimizer.zero_grad()
        F.nll_loss(network()[masks[0]], data.y[masks[0]]).backward()
        optimizer.step()
        network.eval()
        with torch.no_grad():
            log_p = network()
            for mask in masks:
                _ = log_p[mask].max(1)[1].eq(data.y[mask]).sum().item() / mask.sum().item()
        yield


def sequential_recipe(data: Data) -> Round:
    model = nn.Sequential(
        nn.Linear(784, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, data.classes)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> None:
        for rows in data.train[torch.randperm(len(data.train))].split(256):
            optimizer.zero_grad()
            F.cross_entropy(model(data.x[rows]), data.y[rows]).backward()
            optimizer.step()

    return epoch
