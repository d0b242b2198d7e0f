"""The catalogue, conf/data and the classes of the data sets agree with each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dfa_cli.config.schema import without_facts
from dfa_cli.data.catalogue import CATALOGUE, entry
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError

CONF = Path(__file__).resolve().parents[2] / "conf" / "data"


def test_the_catalogue_and_conf_data_hold_the_same_names() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_loaded_data_set_has_the_sizes_of_its_catalogue_entry(
    name: str, real: Callable[[str], Source]
) -> None:
    from hydra.utils import instantiate

    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert config["gives"] == CATALOGUE[name].kind
    if "stand_in" in config:
        instead = CATALOGUE[config["stand_in"]]
        assert (instead.kind, instead.files) == (config["gives"], ()), "an embedded data set of the same kind"
    data = instantiate(without_facts(config)).load(real(name))
    assert data.name == name
    assert tuple(data.x.shape) == (CATALOGUE[name].rows, CATALOGUE[name].features)
    assert data.classes == CATALOGUE[name].classes == int(data.y.max()) + 1
    assert (data.edge_index is not None) == (CATALOGUE[name].kind == "graph")


def test_no_two_files_share_a_digest() -> None:
    files = [file for item in CATALOGUE.values() for file in item.files]
    assert len({file.sha256 for file in files}) == len(files) == 28
    for file in files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert len(file.addresses) >= 2
        for address in file.addresses:
            assert address.startswith("https://")
            assert address.removesuffix(".gz").endswith(f"/{file.name}")


def test_an_unknown_name_is_refused_and_the_nearest_suggested() -> None:
    with pytest.raises(DfaError, match=r"'pubmd' is not one of .*did you mean pubmed\?"):
        entry("pubmd")
