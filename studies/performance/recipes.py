"""Standard PyTorch programs ("recipes") with which the training loop is compared."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfa_cli.data.base import Data
from studies.performance.rounds import Round


def geometric_recipe(data: Data) -> Iterator[None]:
    """Train as torch_geometric's GCN example: cached GCNConv, dense features, autograd, Adam. Yields every epoch."""
    from torch_geometric.nn import GCNConv

    class Recipe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = GCNConv(data.x.shape[1], 16, cached=True)
            self.second = GCNConv(16, data.classes, cached=True)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            x = F.dropout(x, 0.5, self.training)
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
