"""Loads the data set that a configuration names, once in each process."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from dfa_cli.config.instantiate import build
from dfa_cli.config.plugins import is_of_package
from dfa_cli.console.messages import log, notify
from dfa_cli.data.base import Data
from dfa_cli.data.catalogue import CATALOGUE, embedded_for
from dfa_cli.data.source import MissingDataError, Source, refusal
from dfa_cli.errors import DfaError


@functools.lru_cache(maxsize=4)
def _loaded(data: str, data_dir: str | None, mirrors: tuple[str, ...], compute: str, code: str) -> Data:
    """Load a data set. `data`: its configuration as JSON, because `lru_cache` needs hashable arguments.

    `code`: the checksums of the user's own code, so that a changed class loads the data set again.
    """
    source = Source.from_config(data_dir, mirrors, warn=notify)
    node = json.loads(data)
    loaded = build(node).load(source)
    if not isinstance(loaded, Data):
        raise DfaError(
            f"{node['_target_']}: load returned {type(loaded).__name__}, and it must return a dfa_cli.data.Data."
        )
    if not is_of_package(node["_target_"]) and (mistake := loaded.mistake()):
        raise DfaError(f"{node['_target_']}: {mistake}")
    return loaded.to(torch.device(compute))


def load_data(config: Mapping[str, Any], code: Mapping[str, str | None] = MappingProxyType({})) -> Data:
    """Load the data set of `config`. The jobs of a sweep that run in one process share the returned data.

    Nobody may change the tensors, since other jobs read them too. Raises `DfaError` for a data set that cannot be had.
    What was tried is then in the log of the run. `code`: the checksums of the user's own code.
    """
    mirrors = config["mirrors"]
    mirrors = (mirrors,) if isinstance(mirrors, str) else tuple(mirrors or ())
    data = json.dumps(config["data"], sort_keys=True)
    try:
        own_class = not is_of_package(config["data"]["_target_"])
        checksums = json.dumps(dict(code), sort_keys=True) if own_class else ""
        return _loaded(data, config["data_dir"], mirrors, config["compute"], checksums)
    except MissingDataError as error:
        if error.item.name not in CATALOGUE:  # `dfa data fetch` does not know a data set of the user's own
            raise
        if log.hasHandlers():
            log.warning(str(error))
        sentence = refusal([error.item.name], embedded_for(config["model"].get("needs")))
        raise DfaError("; ".join([*error.damaged, sentence])) from error
