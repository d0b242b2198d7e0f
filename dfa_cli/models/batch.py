"""What one step reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency


@dataclass(eq=False)
class Graph:
    """`edge_index` `[2, edges]` over `nodes` nodes, and what the layers derive from it, once."""

    edge_index: Tensor
    nodes: int

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """The normalised adjacency `A'` `[nodes, nodes]` with self loops."""
        return normalised_adjacency(self.edge_index, self.nodes)


@dataclass(eq=False)
class Batch:
    """What one step reads: inputs, labels, and for a graph its edges.

    `x` `[rows, features]`; `y` `[rows]`; `rows` `[labelled]` are the rows whose labels count, `None` for all of
    them; `graph` is `None` where rows do not depend on one another.
    """

    x: Tensor | SparseMatrix
    y: Tensor
    rows: Tensor | None = None
    graph: Graph | None = None

    @cached_property
    def targets(self) -> Tensor:
        """The labels that count `[labelled]`."""
        return self.y if self.rows is None else self.y[self.rows]
