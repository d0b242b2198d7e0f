"""Registers with Hydra what it needs before it composes: the schema, and the resolvers of conf/config.yaml."""

from __future__ import annotations

import secrets


def register_with_hydra() -> None:
    """Register the schema and the resolvers.

    It is called before a composition and never when a module is imported, so that a program which imports this package
    and uses Hydra itself finds its own registrations unchanged.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from dfa_cli.config.schema import Config

    ConfigStore.instance().store(name="dfa_schema", node=Config)
    for name in ("dfa_id", "dfa_token"):
        # With the cache, one configuration gets one id, which its folder and its record then share.
        OmegaConf.register_new_resolver(name, lambda: secrets.token_hex(4), use_cache=True, replace=True)
