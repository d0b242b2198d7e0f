"""Parallel runs divide the blocks of a model, or the rows of a batch, over several processes."""

from dfa_cli.parallel.pipeline import Pipeline
from dfa_cli.parallel.replicas import DataParallel

__all__ = ["DataParallel", "Pipeline"]
