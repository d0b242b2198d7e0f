"""Parallel runs divide the blocks of a model, or the rows of a batch, over several processes."""

from dfa_cli.parallel.pipeline import Pipeline

__all__ = ["Pipeline"]
