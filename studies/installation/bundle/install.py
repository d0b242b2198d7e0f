"""Installs dfa from the bundle in this folder. No network is asked. The checksums of all files are checked first.

    install ENV                a new environment in the folder ENV, with everything that dfa needs
    install --into-existing    into the environment of python3, or of $PYTHON, whose PyTorch stays as it is

The data sets go into the cache of dfa: $DFA_DATA_DIR, else the user's cache folder.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

BUNDLE = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"


class RefusalError(Exception):
    """Says in one sentence why nothing can be installed, and what to do."""


def check_sums() -> None:
    """Compare every file of the bundle with its checksum. A file without one is refused too: pip might choose it."""
    try:
        lines = (BUNDLE / SUMS).read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise RefusalError(
            f"{BUNDLE / SUMS} is missing, so the bundle is not whole. Copy it again."
        ) from None
    expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    there = {path.relative_to(BUNDLE).as_posix() for path in BUNDLE.rglob("*") if path.is_file()} - {SUMS}
    for what, names in (
        ("is missing", expected.keys() - there),
        ("does not belong to it", there - expected.keys()),
    ):
        if names:
            raise RefusalError(f"{BUNDLE / min(names)} {what}. Copy the bundle again, into an empty folder.")
    for name, digest in expected.items():
        if _sha256(BUNDLE / name) != digest:
            raise RefusalError(
                f"{BUNDLE / name} is damaged: its SHA-256 is not the one in {SUMS}. Copy the bundle again."
            )


def make_environment(folder: Path, wanted: str) -> Path:
    """Make an environment with dfa in `folder`, and return its Python. If that fails, nothing is left."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusalError(f"{folder} is there already. Name a folder that is new or empty.")
    try:
        # pip comes from the bundle, because not every Python has a pip to copy.
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        python = folder / "bin" / "python"
        _pip(python, "install", "pip", wanted)
        _pip(python, "check")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python


def use_existing(wanted: str) -> Path:
    """Install dfa into the environment of this Python, where PyTorch keeps its version. Returns the Python."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise RefusalError(
            f"{sys.executable} has no torch. Name the Python that has it with PYTHON=/path/to/python, or leave out "
            "--into-existing."
        ) from None
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix == sys.base_prefix and marker.exists():
        raise RefusalError(
            f"{sys.executable} belongs to the system, and pip may not change it. Make an environment that sees its "
            f"packages, with {sys.executable} -m venv --without-pip --system-site-packages ENV, and call "
            "PYTHON=ENV/bin/python install --into-existing."
        )
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write(f"torch==={torch}\n")
    try:
        _pip(Path(sys.executable), "install", "--constraint", file.name, wanted)
    finally:
        os.unlink(file.name)
    return Path(sys.executable)


def _pip(python: Path, *arguments: str) -> None:
    """Run the pip of the bundle for another Python. It sees no index, no configuration and no other wheels."""
    (pip,) = (BUNDLE / "wheels").glob("pip-*.whl")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment.update(
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=(BUNDLE / "wheels").as_uri(),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_QUIET="1",
    )
    _run(str(python), str(pip / "pip"), *arguments, environment=environment)


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    # The working folder is this one, because Python would look for packages in the user's.
    done = subprocess.run(command, env=environment, cwd=str(BUNDLE), stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RefusalError(f"{' '.join(command)} failed for the reason shown above.")


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="install", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "environment", nargs="?", type=Path, metavar="ENV", help="a folder for a new environment"
    )
    where.add_argument("--into-existing", action="store_true", help="use the PyTorch that is there")
    given = parser.parse_args()
    try:
        check_sums()
        contents = json.loads((BUNDLE / "contents.json").read_text("utf-8"))
        wanted = f"dfa-cli[{','.join(contents['extras'])}]=={contents['dfa']}"
        if given.into_existing:
            python = use_existing(wanted)
        elif contents["torch"] is None:
            raise RefusalError(
                "This bundle has no PyTorch. Call install --into-existing where PyTorch is installed."
            )
        else:
            os.environ.pop("PYTHONPATH", None)  # what it names is not part of the new environment
            python = make_environment(given.environment.absolute(), wanted)
        try_out(python, contents["data"])
    except RefusalError as refusal:
        sys.exit(f"install: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"dfa {contents['dfa']} is installed: {python.parent / 'dfa'}")


def try_out(python: Path, data: list[str]) -> None:
    """Train for one epoch, and bring the data sets into the cache."""
    dfa = [str(python), "-m", "dfa_cli.cli"]
    with tempfile.TemporaryDirectory() as outputs:
        _run(*dfa, "train", f"outputs={outputs}", "data=digits", "epochs=1", "progress=none")
    if data:
        mirror = str(BUNDLE / "data")
        _run(*dfa, "data", "fetch", *data, environment={**os.environ, "DFA_DATA_MIRROR": mirror})


if __name__ == "__main__":
    main()
