"""Packs dfa for machines without a network: wheels with all that they require, data sets, checksums, and an installer.

    scripts/offline bundle DIR                     for the Python of this checkout's environment
    scripts/offline bundle DIR --python 3.12 --cuda
    scripts/offline bundle DIR --into-existing     without PyTorch, for an environment that has it

The bundle is for Linux on processors of this kind. On the other machine `DIR/install ENV` makes an environment.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import metadata
from pathlib import Path

from packaging.requirements import Requirement

from dfa_cli.data.catalogue import CATALOGUE, entry
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError, one_of
from dfa_cli.machine.files import disk_errors_as_sentences, make_folder
from dfa_cli.machine.provenance import git_state
from dfa_cli.version import __version__
from studies.installation.wheels import Target, build_wheel, collect, version_of

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[2]
SUMS = "SHA256SUMS"
OPTION = "scripts/offline bundle FOLDER"
DATA = tuple(name for name, item in CATALOGUE.items() if item.files)
NO_CPU_BUILD = (
    "The package index has no build of torch {version} for processors alone ({reason}). Name an index that has one in "
    "pip's configuration (PIP_EXTRA_INDEX_URL), or add --cuda."
)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a bundle holds. `torch`: `cpu`, `cuda`, or `none`, which leaves PyTorch to the other machine."""

    target: Target
    torch: str = "cpu"
    extras: Sequence[str] = ("joblib", "slurm")
    data: Sequence[str] = DATA


def bundle(folder: Path, contents: Contents, say: Callable[[str], None] = lambda line: None) -> None:
    """Make a bundle in `folder`. It appears there whole, or not at all.

    Raises `DfaError` when the folder is not empty, or when a wheel or a data set cannot be had.
    """
    if folder.exists() and not folder.is_dir():
        raise DfaError(f"{folder} is a file: name a new folder for the bundle.")
    if folder.is_dir() and any(folder.iterdir()):
        raise DfaError(f"{folder} is not empty: name a new folder for the bundle.")
    part = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.part")
    try:
        make_folder(part / "wheels", folder, OPTION)
        with disk_errors_as_sentences(folder, OPTION):
            build_wheel(ROOT, part / "wheels", "--no-index")
            wheels = _collect(part / "wheels", contents, say)
            _add_data(part / "data", contents.data, say)
            found = wheels.get("torch")
            seal(part, contents, None if found is None else str(version_of(found)))
            part.rename(folder)
    except BaseException:  # Ctrl-C must leave nothing behind either.
        shutil.rmtree(part, ignore_errors=True)
        raise


def seal(folder: Path, contents: Contents, torch: str | None) -> None:
    """Add what is inside, the installer, and last the checksums of all files. `torch`: the version of its wheel."""
    inside = {
        "dfa": __version__,
        "commit": git_state(ROOT)["commit"],
        "torch": torch,
        "extras": list(contents.extras),
        "data": list(contents.data),
    }
    (folder / "contents.json").write_text(json.dumps(inside, indent=2) + "\n", "utf-8")
    (folder / "python-version").write_text(contents.target.python + "\n", "utf-8")
    for name in ("install", "install.py"):
        shutil.copy(HERE / "bundle" / name, folder / name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def _collect(folder: Path, contents: Contents, say: Callable[[str], None]) -> dict[str, Path]:
    pins = read_pins(ROOT / "constraints.txt")
    (torch,) = (pin for pin in pins if pin.name == "torch")
    version = next(iter(torch.specifier)).version
    # An index may hold several builds of a version. The local part of the version, behind the +, tells them apart.
    builds = {"cpu": [f"torch=={version}+cpu"], "cuda": [f"torch!={version}+cpu"], "none": []}
    pins += map(Requirement, builds[contents.torch])
    wanted = [Requirement(f"dfa-cli[{','.join(contents.extras)}]"), Requirement("pip")]
    without: Collection[str] = ("torch",) if contents.torch == "none" else ()
    try:
        return collect(wanted, pins, contents.target, folder, without=without, say=say)
    except DfaError as error:
        if "+cpu" not in str(error):
            raise
        raise DfaError(NO_CPU_BUILD.format(version=version, reason=error)) from error


def read_pins(constraints: Path) -> list[Requirement]:
    lines = constraints.read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _add_data(folder: Path, names: Sequence[str], say: Callable[[str], None]) -> None:
    found = Source.default()
    mirrors = (*found.mirrors, *([found.cache] if found.cache else []))
    source = dataclasses.replace(found, cache=folder, mirrors=mirrors)
    for name in names:
        say(f"data set {name}")
        source.fetch(name)


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/offline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="bundle")
    one = commands.add_parser("bundle", help="make a bundle", description="Makes a bundle in the folder DIR.")
    one.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    one.add_argument("--python", default=here, metavar="VERSION", help=f"the other machine's Python ({here})")
    torch = one.add_mutually_exclusive_group()
    torch.add_argument(
        "--cuda", action="store_true", help="with PyTorch and its libraries for NVIDIA GPUs, 3 GB"
    )
    torch.add_argument(
        "--into-existing",
        action="store_true",
        help="without PyTorch: it is there, as in many images for GPUs",
    )
    one.add_argument("--extras", default="joblib,slurm", help="extras of pyproject.toml (joblib,slurm)")
    one.add_argument("--data", default=",".join(DATA), help=f"data sets to pack, or none ({','.join(DATA)})")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        bundle(given.folder, _contents(given), _show)
    except DfaError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    size = sum(path.stat().st_size for path in given.folder.rglob("*") if path.is_file())
    print(f"{given.folder}: {size / 1e6:,.0f} MB. Copy the folder, and on the other machine call")
    print(f"    {given.folder.name}/install {'--into-existing' if given.into_existing else 'ENV'}")


def _contents(given: argparse.Namespace) -> Contents:
    if sys.platform != "linux":
        raise DfaError("A bundle is for Linux machines and is made on one, and this is another system.")
    if not re.fullmatch(r"3\.1\d", given.python):
        raise DfaError(f"--python is '{given.python}'. It must be a version from 3.10 on, such as 3.12.")
    data = [] if given.data == "none" else given.data.split(",")
    if embedded := [name for name in data if not entry(name).files]:
        raise DfaError(f"{embedded[0]} comes with a package and needs no packing: leave it out of --data.")
    extras = [] if given.extras == "none" else given.extras.split(",")
    known = metadata("dfa-cli").get_all("Provides-Extra") or []
    if unknown := [extra for extra in extras if extra not in known]:
        raise DfaError(f"extra {one_of(unknown[0], known)}")
    torch = "cuda" if given.cuda else "none" if given.into_existing else "cpu"
    return Contents(Target(given.python, platform.machine()), torch, extras, data)


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
