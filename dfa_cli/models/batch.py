"""The input of one training step: features, labels, and the graph that connects the rows, if there is one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency


@dataclass(eq=False)
class Graph:
    """A graph of `nodes` nodes with `edge_index` `[2, edges]`. The matrix that layers derive from it is cached."""

    edge_index: Tensor
    nodes: int

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """The normalised adjacency matrix `A'` `[nodes, nodes]`, with self loops."""
        return normalised_adjacency(self.edge_index, self.nodes)

    def only(self, rows: Tensor) -> Graph:
        """Return the graph whose `adjacency` has only these rows, for layers that compute some nodes only."""
        part = copy.copy(self)
        part.adjacency = self.adjacency.only(rows)
        return part


@dataclass(eq=False)
class Batch:
    """The input of one training step: samples, or all nodes of a graph.

    `x` `[rows, features]` holds the inputs, `y` `[rows]` the labels. `rows` `[labelled]` are the rows whose labels
    enter the loss; `None` means all of them. `graph` is `None` where rows do not depend on one another.
    """

    x: Tensor | SparseMatrix
    y: Tensor
    rows: Tensor | None = None
    graph: Graph | None = None

    @cached_property
    def targets(self) -> Tensor:
        """The labels `[labelled]` that enter the loss."""
        return self.y if self.rows is None else self.y[self.rows]

    @cached_property
    def labelled(self) -> Graph:
        """The graph with only the labelled rows of the adjacency."""
        assert self.graph is not None
        assert self.rows is not None
        return self.graph.only(self.rows)
