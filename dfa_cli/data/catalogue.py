"""Lists the data sets that come with `dfa`: their raw files, the checksums, and public addresses.

A checksum is the SHA-256 of a file's decompressed content. Servers compress MNIST differently, so the checksum
of a `.gz` file would hold for one server only.

Cora, CiteSeer and PubMed are the files of kimiyoung/planetoid at commit af6abf4. The digests and sizes of
PubMed are those of the Git LFS pointers in D61-IA/FisherGCN. Two further public loaders state the same digests.
For Cora and CiteSeer, all three sources agree with the files that the entries below were checked against.
The digests of MNIST are those of the decompressed files, which the PyTorch and the TensorFlow copies share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfa_cli.errors import DfaError, one_of


@dataclass(frozen=True)
class RawFile:
    """A raw file of a data set, and where it can be downloaded.

    `size` [bytes] and `sha256` are those of the decompressed file. The `addresses` are tried in turn; one that
    ends with `.gz` serves the file compressed.
    """

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A data set of the catalogue.

    `folder`: name of its folder in the cache. `kind`: `samples` or `graph`, the same as `gives` in conf/data.
    """

    name: str
    folder: str
    kind: str
    rows: int
    features: int
    classes: int
    about: str
    files: tuple[RawFile, ...] = ()  # none for an embedded data set: a package carries it


_PLANETOID = (
    "https://raw.githubusercontent.com/kimiyoung/planetoid/af6abf468a772cc055bec88c52e4d6f51b7c37e3/data/",
    "https://github.com/kimiyoung/planetoid/raw/master/data/",
    "https://raw.githubusercontent.com/tkipf/gcn/master/gcn/data/",
    "https://cdn.jsdelivr.net/gh/tkipf/gcn@master/gcn/data/",
)
_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)


def _planetoid(name: str, parts: dict[str, tuple[int, str]]) -> tuple[RawFile, ...]:
    files = {f"ind.{name}.{part}": size_and_sha256 for part, size_and_sha256 in parts.items()}
    return tuple(
        RawFile(file, size, sha256, tuple(base + file for base in _PLANETOID))
        for file, (size, sha256) in files.items()
    )


def _mnist(files: dict[str, tuple[int, str]]) -> tuple[RawFile, ...]:
    return tuple(
        RawFile(file, size, sha256, tuple(f"{base}{file}.gz" for base in _MNIST))
        for file, (size, sha256) in files.items()
    )


_ENTRIES = (
    Entry(
        name="mnist",
        folder="MNIST",
        kind="samples",
        rows=70_000,
        features=784,
        classes=10,
        about="handwritten digits, 28 x 28 (LeCun, Cortes and Burges)",
        files=_mnist(
            {
                "train-images-idx3-ubyte": (
                    47_040_016,
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                "train-labels-idx1-ubyte": (
                    60_008,
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
                "t10k-images-idx3-ubyte": (
                    7_840_016,
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                "t10k-labels-idx1-ubyte": (
                    10_008,
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            }
        ),
    ),
    Entry(
        name="digits",
        folder="Digits",
        kind="samples",
        rows=1_797,
        features=64,
        classes=10,
        about="handwritten digits, 8 x 8, from scikit-learn",
    ),
    Entry(
        name="cora",
        folder="Cora",
        kind="graph",
        rows=2_708,
        features=1_433,
        classes=7,
        about="papers that cite each other, by subject (Yang, Cohen and Salakhutdinov 2016)",
        files=_planetoid(
            "cora",
            {
                "x": (22_119, "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab"),
                "y": (4_054, "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1"),
                "tx": (148_025, "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a"),
                "ty": (28_135, "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad"),
                "allx": (257_305, "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543"),
                "ally": (47_959, "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71"),
                "graph": (59_847, "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d"),
                "test.index": (5_000, "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875"),
            },
        ),
    ),
    Entry(
        name="citeseer",
        folder="CiteSeer",
        kind="graph",
        rows=3_327,
        features=3_703,
        classes=6,
        about="papers that cite each other, by subject (Yang, Cohen and Salakhutdinov 2016)",
        files=_planetoid(
            "citeseer",
            {
                "x": (31_087, "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6"),
                "y": (3_014, "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924"),
                "tx": (260_321, "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21"),
                "ty": (24_135, "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce"),
                "allx": (595_021, "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668"),
                "ally": (55_623, "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95"),
                "graph": (61_987, "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7"),
                "test.index": (5_000, "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4"),
            },
        ),
    ),
    Entry(
        name="pubmed",
        folder="PubMed",
        kind="graph",
        rows=19_717,
        features=500,
        classes=3,
        about="papers on diabetes that cite each other, by its type (Yang, Cohen and Salakhutdinov 2016)",
        files=_planetoid(
            "pubmed",
            {
                "x": (23_172, "fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33"),
                "y": (854, "e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3"),
                "tx": (405_505, "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d"),
                "ty": (12_135, "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd"),
                "allx": (7_578_385, "508e538e2abdccdd54c4d3e9f49d638b4af7107d85845f66ddea5a5152658b7e"),
                "ally": (224_739, "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e"),
                "graph": (471_808, "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9"),
                "test.index": (6_000, "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5"),
            },
        ),
    ),
    Entry(
        name="digits_graph",
        folder="Digits",
        kind="graph",
        rows=1_797,
        features=64,
        classes=10,
        about="the nearest-neighbour graph of digits",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def name_of(data: Mapping[str, Any]) -> str | None:
    """Return the name under which the catalogue has the data set of a configuration.

    `data`: the configuration of the data set, with the name of its class. The answer is `None` for a class of the
    user's own, and for a data set that is embedded.
    """
    package, _, class_name = str(data.get("_target_")).rpartition(".")
    if package.partition(".")[0] != "dfa_cli":
        return None
    name = data.get("name") or class_name.lower()
    return name if name in CATALOGUE and CATALOGUE[name].files else None


def embedded_for(needs: object) -> str:
    """Name the embedded data set for a model. `needs`: what its configuration says under this key, such as `graph`."""
    return "digits_graph" if needs == "graph" else "digits"


def entry(name: str) -> Entry:
    """Look up the data set `name`.

    Raises `DfaError` for an unknown name; the message suggests the nearest one.
    """
    if name not in CATALOGUE:
        raise DfaError(f"data set {one_of(name, CATALOGUE)}; `dfa data list` describes them")
    return CATALOGUE[name]
