"""Options, warning filters and fixtures that the tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import program
import pytest
from program import Dfa
from reading import call, factory, swept  # noqa: F401  (fixtures of the tests that read records)

# pytest resets the warning filters that modules install, so they are repeated here.
NOT_OURS = (
    "ignore:.*torch.jit.*:DeprecationWarning",  # of torch_geometric, as it is imported
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
def dfa(tmp_path: Path) -> Dfa:
    """`dfa ...` with folders of this test alone."""
    return Dfa(tmp_path)


@pytest.fixture(scope="session")
def dfa_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dfa]:
    """`dfa_in("name")` makes a `dfa` for a fixture that several tests share."""
    return lambda name: Dfa(tmp_path_factory.mktemp(name))
