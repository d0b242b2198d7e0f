"""The input of one training step: features, labels, and the graph that connects the rows, if there is one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from dfa_cli.kernels.fixed_order import FixedOrder
from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency


@dataclass(eq=False)
class Graph:
    """A graph of `nodes` nodes with `edge_index` `[2, edges]`. What layers derive from it is cached."""

    edge_index: Tensor
    nodes: int

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """The normalised adjacency matrix `A'` `[nodes, nodes]`, with self loops."""
        return normalised_adjacency(self.edge_index, self.nodes)

    @cached_property
    def fixed_order(self) -> FixedOrder:
        """The context in which layers add up edges in a fixed order."""
        return FixedOrder(self.edge_index)

    def only(self, rows: Tensor) -> Graph:
        """Return the graph whose `adjacency` has only these rows, for layers that compute some nodes only."""
        part = copy.copy(self)
        part.adjacency = self.adjacency.only(rows)
        return part

    def for_signals(self, rows: Tensor) -> Graph:
        """Return the same graph for signals that are zero in all but these rows."""
        part = copy.copy(self)
        part.adjacency = self.adjacency.for_signals(rows)
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
    _near: dict[int, Batch] = field(default_factory=dict, init=False, repr=False)

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

    def near(self, edges: int) -> Batch:
        """Return the same batch for signals that are zero more than `edges` edges away from all labelled rows.

        Gradients are computed from the entries of the matrices that such a signal reaches. In float32 their bits are
        the same.
        """
        if self.graph is None or self.rows is None:
            return self
        if edges not in self._near:
            adjacency, rows, x = self.graph.adjacency, self.rows, self.x
            for _ in range(edges):
                rows = adjacency.columns_of(rows)
            if isinstance(x, SparseMatrix):
                x = x.for_signals(adjacency.columns_of(rows))
            self._near[edges] = replace(self, x=x, graph=self.graph.for_signals(rows))
        return self._near[edges]
