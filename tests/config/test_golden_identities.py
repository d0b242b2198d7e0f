"""The identities in users' records stay valid, whatever is renamed or dropped.

golden_identities.json says how it was made. It is never generated again. If an identity differs from it, sweeps repeat
runs that are done, and comparisons put old and new runs into two rows.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from program import as_first

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, conf_dir
from dfa_cli.config.identity import identity, modernised

GOLDEN = json.loads(Path(__file__).with_name("golden_identities.json").read_text(encoding="utf-8"))
ENTRIES = GOLDEN["configurations"]


def configuration(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration in full: its base with the differences applied."""
    config = copy.deepcopy(GOLDEN["bases"][entry["base"]])
    for key in entry.get("without", ()):
        node, name = _node(config, key)
        del node[name]
    for key, value in entry.get("differs", {}).items():
        node, name = _node(config, key)
        node[name] = value
    return config


def _node(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *path, name = key.split(".")
    for part in path:
        config = config.setdefault(part, {})
    return config, name


@pytest.mark.parametrize("group", ENTRIES)
def test_a_stored_configuration_has_the_identity_stored_with_it(group: str) -> None:
    for entry in ENTRIES[group]:
        config = configuration(entry)
        assert identity(config) == entry["identity"], entry["overrides"]
        assert identity(modernised(config)) == entry["identity"], entry["overrides"]


def worth_composing(entry: dict[str, Any]) -> bool:
    """Whether an entry is worth composing. All of them would take half a minute, and many repeat what others show."""
    chosen = dict(word.split("=") for word in entry["overrides"])
    if "rule" not in chosen:
        return True
    tuned = conf_dir() / "tuned" / f"{chosen['model']}_{chosen['data']}_{chosen['rule']}.yaml"
    every_rule = chosen["model"] == "fc" and chosen["data"] == "digits"
    return tuned.is_file() or every_rule or chosen["rule"] == "dfa"


@pytest.mark.slow
def test_a_configuration_composed_today_has_the_identity_stored_with_it() -> None:
    entries = [entry for entry in ENTRIES["options"] if worth_composing(entry)]
    assert len(entries) > 70
    with Composer(parse_command([], "dfa train")) as composer:
        for entry in entries:
            spec = composer.run(as_first(entry["overrides"])).spec
            assert spec.identity == entry["identity"], entry["overrides"]
