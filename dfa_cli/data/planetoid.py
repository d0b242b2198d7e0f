"""Cora, CiteSeer and PubMed: citation graphs with bag-of-words features and the public Planetoid split."""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.data.base import Data
from dfa_cli.data.catalogue import CATALOGUE, Entry, entry
from dfa_cli.errors import DfaError, one_of
from dfa_cli.kernels.sparse import csr_tensor, row_starts
from dfa_cli.seeding import generator

if TYPE_CHECKING:
    from dfa_cli.data.source import Source

NAMES = tuple(name for name, item in CATALOGUE.items() if item.kind == "graph" and item.files)
FORMAT = 1  # version of the processed file: after a change, older files are built again
LABELS_PER_CLASS, VALIDATION, TEST = 20, 500, 1_000  # sizes of the public split, and of the random ones


class Planetoid:
    """A citation graph: nodes are papers, classes are their subjects.

    `A_ij = 1` where one of the papers `i`, `j` cites the other. `x` `[papers, words]`, a `torch.sparse_csr`
    matrix, holds the words of each paper. `normalize=True` divides each row of `x` by its sum, where that is
    above 1 (Kipf & Welling 2017, section 5.2). The split is the public one: 20 labelled papers a class, 500 for
    validation, 1,000 for the test. With a `split_seed` the same numbers of papers are drawn at random instead (Shchur
    et al. 2018, arXiv 1811.05868).

    torch_geometric builds the graph once. The cache keeps it as a safetensors file, so that later runs neither
    import torch_geometric nor unpickle anything.

    Source: Yang, Cohen and Salakhutdinov, Revisiting semi-supervised learning with graph embeddings, ICML
    2016.
    """

    def __init__(self, name: str, normalize: bool = True, split_seed: int | None = None) -> None:
        if name not in NAMES:
            raise DfaError(f"Planetoid data set {one_of(name, NAMES)}")
        require("data.split_seed", split_seed)
        self.name = name
        self.normalize = normalize
        self.split_seed = split_seed

    def load(self, source: Source) -> Data:
        """Read the graph. Raises `DfaError` when a raw file is missing or corrupt."""
        item = entry(self.name)
        key = self._key(item)
        relative = f"{item.folder}/processed/dfa_{'normalised' if self.normalize else 'counts'}.safetensors"
        tensors = None if source.cache is None else _read_processed(source.cache / relative, key)
        if tensors is None:
            tensors = self._build(item, source)
            source.keep(relative, _serialise(tensors, key))
        if self.split_seed is not None:
            tensors |= random_split(tensors["y"], _have_words(tensors), generator(self.split_seed, "split"))
        shape = (len(tensors["y"]), item.features)
        return Data(
            name=self.name,
            x=csr_tensor(tensors["x.crow"], tensors["x.col"], tensors["x.values"], shape),
            y=tensors["y"],
            classes=item.classes,
            train=tensors["train"],
            validation=tensors["validation"],
            test=tensors["test"],
            split="public Planetoid split" if self.split_seed is None else "random Planetoid split",
            edge_index=tensors["edge_index"],
            checksums={file.name: file.sha256 for file in item.files},
        )

    def _key(self, item: Entry) -> str:
        """Hash all that the processed file depends on: its format, `normalize` and the raw files."""
        parts = [str(FORMAT), str(self.normalize), *(f"{file.name} {file.sha256}" for file in item.files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _build(self, item: Entry, source: Source) -> dict[str, Tensor]:
        raw = {file.name: source.read(self.name, file) for file in item.files}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch_geometric warns about its optional packages
            from torch_geometric.io import read_planetoid_data
            from torch_geometric.transforms import NormalizeFeatures
        try:
            with tempfile.TemporaryDirectory(prefix="dfa-") as folder:
                for name, content in raw.items():
                    clean = content if name.endswith(".index") else _repickle_safely(name, content)
                    (Path(folder) / name).write_bytes(clean)
                graph = read_planetoid_data(folder, self.name)
        except OSError as error:
            raise DfaError(
                f"The folder for temporary files cannot be written ({error}). Make room there, or name "
                "another folder with TMPDIR=FOLDER."
            ) from error
        if self.normalize:
            graph = NormalizeFeatures()(graph)
        x: Tensor = graph["x"]
        rows, columns = x.nonzero(as_tuple=True)  # sorted by row, then column
        return {
            "x.crow": row_starts(rows, item.rows),
            "x.col": columns.contiguous(),
            "x.values": x[rows, columns],
            "y": graph["y"],
            "train": graph["train_mask"].nonzero().view(-1),
            "validation": graph["val_mask"].nonzero().view(-1),
            "test": graph["test_mask"].nonzero().view(-1),
            "edge_index": graph["edge_index"].contiguous(),
        }


def random_split(y: Tensor, candidates: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    """Draw the rows for training, validation and test from `candidates`, as many as the public split has.

    `y`: the classes of all rows. The rows of each part are sorted, and no row is in two parts.
    """
    shuffled = candidates[torch.randperm(len(candidates), generator=draw)]
    labelled = torch.cat([shuffled[y[shuffled] == one][:LABELS_PER_CLASS] for one in y[candidates].unique()])
    others = shuffled[~torch.isin(shuffled, labelled)]
    parts = labelled, others[:VALIDATION], others[VALIDATION : VALIDATION + TEST]
    return {
        name: rows.sort().values for name, rows in zip(("train", "validation", "test"), parts, strict=True)
    }


def _have_words(tensors: dict[str, Tensor]) -> Tensor:
    """Return the papers with a word. CiteSeer has papers of which nothing is known, not even the class."""
    return tensors["x.crow"].diff().nonzero().view(-1)


class _AllowListUnpickler(pickle.Unpickler):
    """Unpickles arrays, sparse matrices and dictionaries of lists, and refuses everything else.

    A pickle can call any function. The checksums already refuse an unknown file; this class is a second barrier.
    Python 2 and old versions of numpy and scipy wrote the files, so the old names are mapped to today's.
    """

    def find_class(self, module: str, name: str) -> Any:
        import numpy
        import scipy.sparse

        admitted = {
            "numpy.ndarray": numpy.ndarray,
            "numpy.dtype": numpy.dtype,
            # numpy pickles an array as a call of this function, whose module moved in numpy 2.
            "numpy.core.multiarray._reconstruct": numpy.empty(0).__reduce__()[0],
            "scipy.sparse.csr.csr_matrix": scipy.sparse.csr_matrix,
            "collections.defaultdict": collections.defaultdict,
            "__builtin__.list": list,
        }
        try:
            return admitted[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no Planetoid file needs") from None


def _repickle_safely(name: str, content: bytes) -> bytes:
    """Unpickle `content` with the allow-list, and pickle the result again.

    torch_geometric unpickles without an allow-list, so it is given only pickles that this process wrote.
    Raises `DfaError` for a pickle that names anything outside the allow-list.
    """
    try:
        value = _AllowListUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DfaError(
            f"{name} was refused: {error}. `dfa data verify` checks the copies on this machine."
        ) from error
    return pickle.dumps(value)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _serialise(tensors: dict[str, Tensor], key: str) -> bytes:
    from safetensors.torch import save

    # The key and the digest share one metadata entry. safetensors writes several entries in any order, and
    # the same graph must give the same file.
    return save(tensors, metadata={"dfa": f"{key} {_digest(tensors)}"})


def _read_processed(path: Path, key: str) -> dict[str, Tensor] | None:
    """Read a processed file. Returns `None` when it is absent, damaged, or was built from something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            stored_key, _, digest = (file.metadata() or {}).get("dfa", "").partition(" ")
            if stored_key != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (`file` is not a mapping)
    except (OSError, SafetensorError):
        return None
    return tensors if digest == _digest(tensors) else None
