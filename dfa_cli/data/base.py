"""What a data set is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dfa_cli.data.source import Source


@dataclass(frozen=True, eq=False)
class Data:
    """Rows with labels, and which of them are for what. A row is a sample or a node of one graph.

    `x` `[rows, features]` float32, strided or `torch.sparse_csr`; `y` `[rows]` int64, `0 <= y < classes`;
    `train`, `validation`, `test` `[.]` int64 row indices, ascending, without overlap; `split` says in plain
    words how they were chosen; `edge_index` `[2, edges]` int64, both directions of every edge, no self loops,
    sorted by target and then source, `None` where rows are independent; `checksums` raw file -> SHA-256 of
    its content.
    """

    name: str
    x: Tensor
    y: Tensor
    classes: int
    train: Tensor
    validation: Tensor
    test: Tensor
    split: str
    edge_index: Tensor | None = None
    checksums: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def to(self, device: torch.device | str) -> Data:
        """The same data with every tensor on `device`."""
        tensors = {key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class Dataset(Protocol):
    """What a `_target_` under conf/data builds: cheap to construct, read only when loaded."""

    def load(self, source: Source) -> Data:
        """The data, on the CPU, the same in every call. Raises `DfaError` for a missing or corrupt file."""
        ...
