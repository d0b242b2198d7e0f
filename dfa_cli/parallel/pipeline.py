"""One model over several processes, each of which computes some consecutive blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfa_cli.config.bounds import require
from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model
from dfa_cli.parallel.checks import batch_rows, or_fewer, require_divisible_rows, require_divisible_rule
from dfa_cli.parallel.divided import DividedExperiment, Placement
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.processes import Team
from dfa_cli.parallel.split import chunks_of, even_sizes, measure_costs
from dfa_cli.parallel.stage import BlockwiseStage
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.blockwise import HasFeedback
from dfa_cli.training.setup import Experiment


class Pipeline:
    """Divides the blocks of the model over `stages` processes, and each batch into `micro_batches`.

    While one stage computes a micro-batch, the stage before it computes the next. Masks and noise are drawn for the
    whole batch, so the results do not depend on `stages`. With one micro-batch they have the bits of one process. With
    more, sums are added in another order.

    `split`: the number of blocks of each stage; `None`: measured, so that all stages take about as long.
    `schedule` (backpropagation): the order of the forward and backward passes, `gpipe`, `1f1b`, `interleaved`,
    `zero-bubble` or `zbv`; `None`: `1f1b`, or `gpipe` with fewer micro-batches than stages. With `interleaved` and
    `zbv` a process computes two chunks of blocks, and `split` has two numbers for each process.
    `projector` (rules that project the error): `local`, if each stage projects the error for its own blocks, or
    `central`, if the first stage projects it for all and sends the others their feedback.
    """

    part = "Stage"

    def __init__(
        self,
        stages: int = 2,
        micro_batches: int = 1,
        split: Sequence[int] | None = None,
        projector: str = "local",
        schedule: str | None = None,
    ):
        split = None if split is None else list(split)  # Hydra has a list type of its own
        for key, value in (
            ("stages", stages),
            ("micro_batches", micro_batches),
            ("split", split),
            ("projector", projector),
            ("schedule", schedule),
        ):
            require(f"parallel.{key}", value)
        self.processes = stages
        self.micro_batches = micro_batches
        self.split = split
        self.projector = projector
        self.schedule = schedule

    def require(self, config: Mapping[str, Any]) -> None:
        """Raise `DfaError` for options that do not go together. This is called before the data are read."""
        if config["alignment_every"] is not None:
            raise DfaError(
                "alignment_every needs the whole model in one process, and parallel=pipeline divides it. "
                "Use alignment_every=null or parallel=none."
            )
        chunks = len(chunk_owners(self.schedule, self.processes))
        if self.split is not None and len(self.split) != chunks:
            chosen = f" and parallel.schedule={self.schedule}" if chunks > self.processes else ""
            raise DfaError(
                f"parallel.split is {self.split}. With parallel.stages={self.processes}{chosen} its length must be "
                f"{chunks}."
            )

    def require_divisible(self, experiment: Experiment, choices: Mapping[str, str]) -> None:
        """Raise `DfaError` for an experiment that cannot be divided. This is called before a process is started."""
        model, rule = experiment.model, experiment.rule
        if type(model).forward is not Model.forward:
            raise DfaError(
                f"parallel=pipeline: model={choices.get('model')} has a `forward` of its own, so it may do more than "
                "call its blocks one after another. Use parallel=none."
            )
        require_divisible_rule(rule, str(choices.get("rule")), "pipeline")
        if isinstance(rule, Backpropagation):
            self._require_schedule()
        elif self.schedule is not None:
            raise DfaError(
                f"parallel.schedule orders the forward and backward passes of rule=bp. rule={choices.get('rule')} has "
                "no backward pass through the stages. Use parallel.schedule=null."
            )
        if self.projector != "local" and not isinstance(rule, HasFeedback):
            raise DfaError(
                f"parallel.projector={self.projector} says who projects the error, and rule={choices.get('rule')} "
                "projects nothing. Use parallel.projector=local."
            )
        if self.micro_batches > 1:
            require_divisible_rows(
                experiment, "parallel.micro_batches", self.micro_batches, "parallel.micro_batches=1"
            )
        chunks, blocks = len(chunk_owners(self.schedule, self.processes)), len(model.blocks)
        if chunks > blocks:
            fewer = blocks * self.processes // chunks
            advice = [f"parallel.stages={or_fewer(fewer)}"] if fewer else []
            advice += ["parallel.schedule=1f1b"] if chunks > self.processes else []
            raise DfaError(
                f"parallel.stages={self.processes} needs a model of {chunks} blocks or more, and this one has "
                f"{blocks}. Use {', or '.join(advice)}."
            )
        if self.split is not None:
            chunks_of(self.split, blocks)

    def _require_schedule(self) -> None:
        """Raise `DfaError` for a schedule that torch cannot make of these stages and micro-batches."""
        if self.schedule not in (None, "gpipe") and self.micro_batches < self.processes:
            raise DfaError(
                f"parallel.schedule={self.schedule} needs as many micro-batches as stages. Use "
                f"parallel.micro_batches={self.processes} or more, parallel.stages={or_fewer(self.micro_batches)}, or "
                "parallel.schedule=gpipe."
            )
        rounds = max(1, self.micro_batches // self.processes)
        if self.schedule in ("interleaved", "zero-bubble") and self.micro_batches % rounds:
            raise DfaError(
                f"parallel.schedule={self.schedule} takes the micro-batches in {rounds} equal rounds, each with at "
                f"least one for every stage, and {self.micro_batches} cannot be divided so. Use "
                f"parallel.micro_batches={self.processes * rounds}."
            )

    def divide(self, experiment: Experiment, team: Team) -> Experiment:
        """Return the part of the experiment that this process computes. Every process calls it."""
        model, rule = experiment.model, experiment.rule
        if isinstance(rule, Backpropagation):
            return self._divide_backpropagation(experiment, team)
        placement = Placement(self._chunks(experiment, team, self.processes), range(self.processes))
        link = ProcessLink(team, experiment.batches.y.device)
        stage = BlockwiseStage(
            model,
            rule,
            placement.chunks,
            link,
            self.micro_batches,
            self.projector == "central",
            getattr(experiment.device, "rowwise", False),
        )
        return DividedExperiment.of(experiment, team, placement, link, self.micro_batches, stage.step)

    def _divide_backpropagation(self, experiment: Experiment, team: Team) -> Experiment:
        from dfa_cli.parallel.schedules import ScheduledBackpropagation  # it imports torch's compiler

        schedule = self.schedule or ("1f1b" if self.micro_batches >= self.processes else "gpipe")
        owners = chunk_owners(schedule, self.processes)
        placement = Placement(self._chunks(experiment, team, len(owners)), owners)
        link = ProcessLink(team, experiment.batches.y.device)
        stages = ScheduledBackpropagation(experiment.model, placement, link, self.micro_batches, schedule)
        return DividedExperiment.of(experiment, team, placement, link, self.micro_batches, stages.step)

    def _chunks(self, experiment: Experiment, team: Team, count: int) -> list[range]:
        """Divide the blocks into `count` chunks."""
        sizes = self.split
        if sizes is None:
            sample = experiment.batches.sample(batch_rows(experiment) // self.micro_batches)
            sizes = even_sizes(measure_costs(experiment.model, sample), count) if team.rank == 0 else None
            sizes = team.tell(sizes)
        return chunks_of(sizes, len(experiment.model.blocks))


def chunk_owners(schedule: str | None, processes: int) -> list[int]:
    """Return the process of each chunk. `interleaved` goes through the processes twice, `zbv` forth and back."""
    up = list(range(processes))
    return {"interleaved": up + up, "zbv": up + up[::-1]}.get(schedule or "", up)
