"""Citation graphs: they equal those of torch_geometric, unpickle nothing unknown, and are built once."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_data import put

from dfa_cli.data import planetoid
from dfa_cli.data.base import Data
from dfa_cli.data.catalogue import entry
from dfa_cli.data.planetoid import Planetoid
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError

Real = Callable[[str], Source]
PROCESSED = "Cora/processed/dfa_normalised.safetensors"


def same(one: Data, other: Data) -> bool:
    """Whether all tensors are equal to the last bit."""
    pairs = [(one.x.to_dense(), other.x.to_dense())]
    for name in ("y", "train", "validation", "test", "edge_index"):
        pairs.append((getattr(one, name), getattr(other, name)))
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_equal_to_torch_geometric(name: str, normalize: bool, real: Real, tmp_path: Path) -> None:
    source = real(name)
    ours = Planetoid(name, normalize).load(source)

    from torch_geometric import datasets
    from torch_geometric.transforms import NormalizeFeatures

    folder = entry(name).folder
    assert source.cache is not None
    shutil.copytree(source.cache / folder / "raw", tmp_path / "theirs" / folder / "raw")
    transform = NormalizeFeatures() if normalize else None
    theirs: Any = datasets.Planetoid(str(tmp_path / "theirs"), folder, transform=transform)[0]

    assert torch.equal(ours.x.to_dense(), theirs.x)
    assert torch.equal(ours.y, theirs.y)
    assert ours.edge_index is not None
    assert torch.equal(ours.edge_index, theirs.edge_index)
    for part in ("train", "validation", "test"):
        mask = getattr(theirs, {"validation": "val_mask"}.get(part, f"{part}_mask"))
        assert torch.equal(getattr(ours, part), mask.nonzero().view(-1))


@pytest.mark.parametrize(("name", "labelled"), [("cora", 140), ("citeseer", 120)])
def test_split_layout_and_edges_are_as_documented(name: str, labelled: int, real: Real) -> None:
    data = Planetoid(name).load(real(name))
    assert (len(data.train), len(data.validation), len(data.test)) == (labelled, 500, 1000)
    used = torch.cat([data.train, data.validation, data.test])
    assert len(used.unique()) == len(used)
    for part in (data.train, data.validation, data.test):
        assert part.dtype == torch.int64
        assert torch.equal(part, part.sort().values)
    assert data.x.layout == torch.sparse_csr
    assert data.x.dtype == torch.float32
    sums = data.x.to_dense().sum(1)
    assert torch.all((sums - 1).abs().lt(1e-5) | sums.eq(0))
    assert data.edge_index is not None
    source, target = data.edge_index
    assert not (source == target).any()
    edges = target * len(data.y) + source
    assert torch.equal(edges, edges.unique())  # sorted, and no edge twice
    assert torch.equal((source * len(data.y) + target).sort().values, edges)  # both directions
    assert data.checksums == {file.name: file.sha256 for file in entry(name).files}
    assert torch.equal(data.to("cpu").x.to_dense(), data.x.to_dense())


class TestRandomSplits:
    @pytest.mark.parametrize("name", ["cora", "citeseer"])
    def test_a_random_split_has_the_sizes_of_the_public_one(self, name: str, real: Real) -> None:
        data = Planetoid(name, split_seed=7).load(real(name))
        assert data.y[data.train].bincount().tolist() == [20] * data.classes
        assert (len(data.validation), len(data.test)) == (500, 1000)
        used = torch.cat([data.train, data.validation, data.test])
        assert len(used.unique()) == len(used)
        assert bool((data.x.to_dense()[used].sum(1) > 0).all()), "a paper without a word has no known class"
        assert data.split == "random Planetoid split"

    def test_the_seed_alone_decides_the_split(self, real: Real) -> None:
        source = real("cora")
        first, again, other = (Planetoid("cora", split_seed=seed).load(source) for seed in (7, 7, 8))
        assert same(first, again)
        common = torch.isin(first.test, other.test).float().mean()
        assert 0.25 < common < 0.5, "two draws of 1,000 from 2,708 share about 37 %"

    def test_classes_are_drawn_as_often_as_they_occur(self, real: Real) -> None:
        source = real("cora")
        public = Planetoid("cora").load(source)
        tests = [Planetoid("cora", split_seed=seed).load(source).test for seed in range(20)]
        rest = public.y.bincount() - 20  # what the training set leaves
        drawn = torch.cat([public.y[test] for test in tests]).bincount() / 20
        assert torch.allclose(drawn, 1000 * rest / rest.sum(), atol=12.0)


class TestProcessed:
    @pytest.fixture
    def loaded(self, real: Real) -> tuple[Source, Data]:
        source = real("cora")
        return source, Planetoid("cora").load(source)

    @pytest.fixture
    def builds(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of the data sets that were built from raw files, as they are built."""
        built: list[str] = []
        really = Planetoid._build

        def build(self: Planetoid, *rest: Any) -> Any:
            built.append(self.name)
            return really(self, *rest)

        monkeypatch.setattr(Planetoid, "_build", build)
        return built

    def test_the_second_load_builds_nothing(self, loaded: tuple[Source, Data], builds: list[str]) -> None:
        source, first = loaded
        shutil.rmtree(source.cache / "Cora" / "raw")  # type: ignore[operator]
        again = Planetoid("cora").load(Source(source.cache, network=False))
        assert not builds
        assert same(first, again)

    @pytest.mark.parametrize("damage", ["value", "header", "truncated", "empty", "other"])
    def test_a_damaged_file_is_built_again(
        self, loaded: tuple[Source, Data], builds: list[str], damage: str
    ) -> None:
        source, first = loaded
        assert source.cache is not None
        path = source.cache / PROCESSED
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[-5 if damage == "value" else 3] ^= 0xFF
        content = {"truncated": whole[:-100], "empty": b"", "other": pickle.dumps("x")}
        path.write_bytes(content.get(damage, bytes(flipped)))
        assert same(first, Planetoid("cora").load(source))
        assert builds == ["cora"]
        assert path.read_bytes() == whole

    def test_another_format_or_other_raw_files_are_built_again(
        self, loaded: tuple[Source, Data], builds: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, _ = loaded
        monkeypatch.setattr(planetoid, "FORMAT", planetoid.FORMAT + 1)
        Planetoid("cora").load(source)
        Planetoid("cora").load(source)
        assert builds == ["cora"]

    def test_unnormalised_features_have_a_file_of_their_own(self, loaded: tuple[Source, Data]) -> None:
        source, first = loaded
        counts = Planetoid("cora", normalize=False).load(source)
        assert counts.x.values().unique().tolist() == [1.0]
        assert same(first, Planetoid("cora").load(source))

    def test_it_works_without_a_cache(self, loaded: tuple[Source, Data]) -> None:
        source, first = loaded
        assert same(first, Planetoid("cora").load(Source(None, source.mirrors, network=False)))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("place", ["cache", "mirror"])
def test_an_unknown_file_is_never_unpickled(place: str, tmp_path: Path) -> None:
    marker = tmp_path / "exploded"
    for file in entry("cora").files:
        put(tmp_path / place, pickle.dumps(Bomb(marker)), f"Cora/raw/{file.name}")
    source = Source(tmp_path / "cache", [tmp_path / "mirror"], network=False, warn=lambda _: None)
    with pytest.raises(DfaError, match=r"is corrupt .*SHA-256"):
        Planetoid("cora").load(source)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_with_the_right_checksum_may_call_nothing_either(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(marker), protocol)
    with pytest.raises(DfaError, match="which no Planetoid file needs"):
        planetoid._repickle_safely("ind.cora.x", bomb)
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()  # the plain unpickler does call it


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DfaError, match="'coral' is not one of citeseer, cora, pubmed"):
        Planetoid("coral")
