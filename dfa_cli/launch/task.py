"""What Hydra calls for a job."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dfa_cli.config.compose import chosen, plain
from dfa_cli.config.hydra_entry import config_dir, train_command
from dfa_cli.config.overrides import typed
from dfa_cli.errors import DfaError
from dfa_cli.machine.memory import importing


def task(composed: DictConfig) -> float:
    """What Hydra calls for each job, in whatever process. The value is what a search maximises, never the test.

    In a sweep a failed job is said in a line and gives NaN, so that it takes no other with it.
    """
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    overrides = typed(context.overrides.task)
    own = config_dir(context)
    command = train_command(overrides, own)
    with importing("torch"):
        from dfa_cli import experiment

    try:
        record = experiment.run(plain(composed), folder, chosen(context), overrides, command, own)
        return record["result"]["best_validation_accuracy"]
    except Exception as error:
        if context.mode == RunMode.MULTIRUN:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"job {context.job.num} failed: {reason} (see {folder / 'run.log'})", file=sys.stderr)
            return math.nan
        if isinstance(error, DfaError):
            _failures.append(error)
            return math.nan
        raise


_failures: list[DfaError] = []  # of the single job of this process, told after Hydra has ended
