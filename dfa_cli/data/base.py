"""`Data`, a data set in memory, and `Dataset`, the interface of the classes that load one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dfa_cli.data.source import Source


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in memory: features, labels, and the rows that belong to each split.

    A row is a sample, or a node of one graph.

    `x` `[rows, features]`: float32, dense (strided) or `torch.sparse_csr`.
    `y` `[rows]`: int64 labels, `0 <= y < classes`.
    `train`, `validation`, `test` `[.]`: int64 row indices, ascending, without overlap.
    `split`: a phrase that says how these rows were chosen.
    `edge_index` `[2, edges]`: int64, both directions of every edge, no self loops, sorted by target and then
    by source. `None` where the rows are independent.
    `checksums`: the name of each raw file -> the SHA-256 of its content.
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
        """The number of rows in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def mistake(self) -> str | None:
        """Say where the data are not as described above, for a class of the user's own; `None`: nothing was found.

        Rows that serve training and the test, for example, would give an accuracy that means nothing.
        """
        for name, dtype in (("x", torch.float32), ("y", torch.int64)):
            tensor = getattr(self, name)
            if not isinstance(tensor, Tensor) or tensor.dtype != dtype:
                given = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                return f"{name} is {given}, and it must be a tensor of {dtype}."
        rows = len(self.x)
        if self.y.shape != (rows,):
            return f"y has the shape {list(self.y.shape)}, and x has {rows} rows: it must be [{rows}]."
        seen = torch.zeros(rows, dtype=torch.bool)
        for name in ("train", "validation", "test"):
            part = getattr(self, name)
            if not isinstance(part, Tensor) or part.dtype != torch.int64 or part.dim() != 1 or not len(part):
                return (
                    f"{name} must be row indices: a tensor of torch.int64 with one dimension, and not empty."
                )
            if not 0 <= int(part.min()) <= int(part.max()) < rows:
                return f"{name} has row indices from {int(part.min())} to {int(part.max())}, and x has {rows} rows."
            if (len(part) > len(part.unique())) or bool(seen[part].any()):
                return f"{name} has a row twice, or one that another split has as well."
            seen[part] = True
            labels = self.y[part]
            if not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
                return (
                    f"{name} has labels from {int(labels.min())} to {int(labels.max())}, and they must be from 0 to "
                    f"{self.classes - 1}: classes is {self.classes}."
                )
        return None

    def to(self, device: torch.device | str) -> Data:
        """Return the same data with every tensor on `device`."""
        tensors = {key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class Dataset(Protocol):
    """A data set that has not been read yet; every `_target_` under conf/data builds one.

    The constructor must be cheap: files are read by `load` alone.
    """

    def load(self, source: Source) -> Data:
        """Read the data into CPU memory. Every call gives the same tensors.

        Raises `DfaError` for a missing or corrupt file.
        """
        ...
