"""Options, warning filters and fixtures that the tests of several folders share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import program
import pytest
from newcomer import here, walk  # noqa: F401  (fixtures of the tests that walk through a page)
from program import Dfa
from reading import call, factory, swept  # noqa: F401  (fixtures of the tests that read records)

# pytest resets the warning filters that modules install, so they are repeated here.
NOT_OURS = (
    # torch_geometric as it is imported; a DeprecationWarning until torch 2.13, a FutureWarning from 2.14 on
    "ignore:.*torch.jit.*",
    # Triton 3.6, as it interprets kernels with NumPy
    "ignore:Conversion of an array with ndim > 0:DeprecationWarning:triton.runtime.interpreter",
    "ignore:Sparse CSR tensor support is in beta:UserWarning",
    "ignore:Sparse invariant checks are implicitly disabled:UserWarning",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--config-dir", help="also test the projection devices of this folder (tests/devices)")


def pytest_configure(config: pytest.Config) -> None:
    program.config_dir = config.getoption("--config-dir")
    for line in NOT_OURS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture
def dfa(tmp_path: Path) -> Iterator[Dfa]:
    """`dfa ...` with folders of this test alone."""
    made = Dfa(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def dfa_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Dfa]]:
    """`dfa_in("name")` makes a `dfa` for a fixture that several tests share."""
    made = []

    def make(name: str) -> Dfa:
        made.append(Dfa(tmp_path_factory.mktemp(name)))
        return made[-1]

    yield make
    for each in made:
        each.end()


NO_FLOCK = """
#include <errno.h>
int flock(int file, int operation) { errno = ENOLCK; return -1; }
"""


@pytest.fixture(scope="session")
def no_flock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process for which `flock` fails, as on a network disk without locks."""
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler to make a file system without locks")
    folder = tmp_path_factory.mktemp("no_flock")
    (folder / "no_flock.c").write_text(NO_FLOCK)
    library = folder / "no_flock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "no_flock.c"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}
