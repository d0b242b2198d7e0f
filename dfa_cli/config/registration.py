"""What Hydra has to know of us before it composes: the schema, and the resolvers that conf/config.yaml uses."""

from __future__ import annotations

import secrets


def register_with_hydra() -> None:
    """Register the schema and the resolvers. Called where something is composed, never when a module is imported."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from dfa_cli.config.schema import Config

    ConfigStore.instance().store(name="dfa_schema", node=Config)
    for name in ("dfa_id", "dfa_token"):
        # kept within a configuration, so that a folder and a record carry the same one
        OmegaConf.register_new_resolver(name, lambda: secrets.token_hex(4), use_cache=True, replace=True)
