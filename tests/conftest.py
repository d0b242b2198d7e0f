"""What the tests of more than one folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import program
import pytest
from program import Dfa
from reading import call, factory, swept  # noqa: F401  (fixtures of the tests that read records)

# pytest forgets what the modules say about warnings
NOT_OURS = (
    "ignore:.*torch.jit.*:DeprecationWarning",  # of torch_geometric, as it is imported
    "ignore:Sparse CSR tensor support is in beta:UserWarning",
    "ignore:Sparse invariant checks are implicitly disabled:UserWarning",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--config-dir", help="hold the devices of this folder to the contract (tests/devices)")


def pytest_configure(config: pytest.Config) -> None:
    program.config_dir = config.getoption("--config-dir")
    for line in NOT_OURS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture
def dfa(tmp_path: Path) -> Dfa:
    """`dfa ...` with folders of this test's own."""
    return Dfa(tmp_path)


@pytest.fixture(scope="session")
def dfa_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dfa]:
    """The same for fixtures that several tests read: `dfa_in("name")`."""
    return lambda name: Dfa(tmp_path_factory.mktemp(name))
