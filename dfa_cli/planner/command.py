"""Answers `dfa plan`: reads what is asked, plans, and writes the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfa_cli.config.spec import RunSpec
from dfa_cli.console import output
from dfa_cli.errors import DfaError, one_of
from dfa_cli.planner import plan as planning
from dfa_cli.planner import report
from dfa_cli.planner.costs import Workload
from dfa_cli.planner.files import known_presets, read_hardware, read_preset
from dfa_cli.planner.plan import DEFAULT_OPTICS, Optics, Options, Plan, plan

PRESET = "gpt3-175b"
FORMS = ("table", "csv", "json")
STAGES = 8
SWEPT = ("stages", "micro-batches")


@dataclass(frozen=True)
class Question:
    """The options of `dfa plan`. An option that is `None` takes its value from the configuration, or its default.

    `form`: the format of the output, one of `FORMS`.
    """

    overrides: Sequence[str]
    config_dir: str | None
    preset: str | None
    hardware: str
    stages: int | None
    micro_batches: int | None
    chunks: int
    batch: int | None
    activations: str | None
    pattern_rate: float | None
    patterns_per_row: int
    share_columns: bool
    measure: bool
    sweep: str | None
    picture: Path | None
    form: str
    force: bool
    optics: Optics = DEFAULT_OPTICS


def run(question: Question) -> None:
    """Plan, and write tables and pictures. Raises `DfaError` for options that do not go together."""
    if question.form not in FORMS:
        raise DfaError(f"--format: {one_of(question.form, FORMS)}.")
    swept = parse_sweep(question.sweep) if question.sweep is not None else None
    if swept and (given := getattr(question, swept[0])) is not None:
        option = swept[0].replace("_", "-")
        raise DfaError(
            f"--sweep {question.sweep} and --{option} {given} exclude each other; leave one of them out."
        )
    if question.picture is not None:
        from dfa_cli.plots.style import check_suffix

        check_suffix(question.picture)
        output.check_free(question.picture, question.force)
    planning.require_counts(
        stages=question.stages,
        micro_batches=question.micro_batches,
        chunks=question.chunks,
        batch=question.batch,
        patterns_per_row=question.patterns_per_row,
    )
    hardware = read_hardware(question.hardware)
    question, work = _workload(question, swept)
    choices = _options(question, work, swept)
    if swept is None:
        plans, left_out = [plan(work, hardware, choices[0])], []
    else:
        plans, left_out = planning.sweep(work, hardware, choices)
    output.write_stdout(_answer(plans, question, swept))
    for sentence in left_out:
        output.write_stderr(f"left out: {sentence}")
    if question.picture is not None:
        from dfa_cli.planner.pictures import draw_plan, draw_sweep
        from dfa_cli.plots.style import save

        figure = draw_plan(plans[0]) if swept is None else draw_sweep(plans, swept[0])
        output.write_file(question.picture, save(figure, question.picture.suffix), question.force)
        output.write_stderr(f"wrote {question.picture}")


def _answer(plans: Sequence[Plan], question: Question, swept: tuple[str, list[int]] | None) -> str:
    if question.form == "csv":
        return report.as_csv(plans)
    if question.form == "json":
        return report.as_json(plans)
    width = output.terminal_width()
    return report.text(plans[0], width) if swept is None else report.sweep_text(plans, swept[0], width)


def parse_sweep(words: str) -> tuple[str, list[int]]:
    """Parse `stages=2..64`, which doubles from 2 to 64, or `micro-batches=1,4,16`.

    Raises `DfaError` for other words.
    """
    key, _, values = words.partition("=")
    name = key.strip().replace("_", "-")
    first, dots, last = values.partition("..")
    parts = [first, last] if dots else values.split(",")
    if name not in SWEPT or not all(re.fullmatch(r"\s*[1-9][0-9]{0,8}\s*", part) for part in parts):
        raise DfaError(
            f"--sweep {words} is not understood. It must be stages or micro-batches with whole numbers above 0, such "
            "as stages=2..64, which doubles from 2 to 64, or micro-batches=1,4,16."
        )
    numbers = [int(part) for part in parts]
    if dots:
        low, high = numbers
        if low > high:
            raise DfaError(f"--sweep {words} goes backwards; type {key}={high}..{low}.")
        numbers = [low * 2**i for i in range((high // low).bit_length())]
        numbers += [high] if numbers[-1] < high else []
    return name.replace("-", "_"), sorted(set(numbers))


def _workload(question: Question, swept: tuple[str, list[int]] | None) -> tuple[Question, Workload]:
    """Read the preset, or count or measure the configuration. Its keys of `parallel` fill in what no option gives."""
    if question.overrides:
        if question.preset is not None:
            refused = f"--preset {question.preset} plans a model of its own, by bp and by dfa, and takes no "
            if device := [word for word in question.overrides if re.match(r"\+*device\b", word)]:
                widths = [block.width for block in read_preset(question.preset).blocks[:-1]]
                columns = max(widths) if question.share_columns else sum(widths)
                folder = f"--config-dir {question.config_dir} " if question.config_dir else ""
                raise DfaError(
                    f"{refused}{device[0]}. Give the patterns a second of your device by --pattern-rate in its place: "
                    f"1 over the seconds of a pattern that dfa beam {folder}{' '.join(device)} --outputs {columns} "
                    "prints, or with fewer --outputs if the camera cannot read so many."
                )
            raise DfaError(
                f"{refused}{question.overrides[0]}. Leave this word out, or --preset to plan a configuration, such as "
                "model=fc data=digits."
            )
        if (name := question.overrides[0]) in known_presets():
            raise DfaError(f"{name} is a preset; type dfa plan --preset {name}.")
        spec = _compose(question)
        question = _filled_in(question, spec)
        work = _of_configuration(question, spec, swept)
    elif question.measure:
        raise DfaError(
            "--measure times the blocks of a configuration; name one, such as model=fc data=digits."
        )
    elif question.config_dir is not None:
        raise DfaError(
            f"--config-dir {question.config_dir} has the options of a configuration; name one, such as model=mine."
        )
    else:
        work = read_preset(question.preset or PRESET)
    if question.batch is not None:
        if work.row == "node":
            raise DfaError(
                f"--batch {question.batch}: a graph is always one batch, of {work.rows} nodes; leave it out."
            )
        if question.batch < work.unit:
            raise DfaError(
                f"--batch is {question.batch} {work.row}s. It must be at least {work.unit}, which is one sequence."
            )
        work = work.with_rows(question.batch)
    return question, work


def _compose(question: Question) -> RunSpec:
    from dfa_cli.config.compose import compose_run

    flags = ["--config-dir", question.config_dir] if question.config_dir else []
    words = question.overrides
    # What is planned is a pipeline, so nobody has to say it.
    if any(word.startswith("parallel.") for word in words) and not any(
        w.startswith("parallel=") for w in words
    ):
        flags.append("parallel=pipeline")
    return compose_run([*flags, *words], "dfa plan")


def _filled_in(question: Question, spec: RunSpec) -> Question:
    """Take from the configuration what no option gives, if it has it.

    This is `parallel.stages`, `parallel.micro_batches`, `activations`, `rule.share_columns`, and the speed of the
    optics.
    """
    parallel = spec.config.get("parallel") or {}
    if parallel and "stages" not in parallel:
        option = f"parallel={spec.choices.get('parallel')}"
        raise DfaError(
            f"dfa plan plans the stages of parallel=pipeline, and {option} has none; leave {option} out."
        )
    if parallel.get("split"):
        output.write_stderr(
            "note: dfa plan divides the blocks by their costs, and not as parallel.split does."
        )
    return replace(
        question,
        stages=question.stages or parallel.get("stages"),
        micro_batches=question.micro_batches or parallel.get("micro_batches"),
        activations=question.activations or spec.config.get("activations"),
        share_columns=question.share_columns or bool(spec.config["rule"].get("share_columns")),
        optics=_optics(spec),
    )


def _optics(spec: RunSpec) -> Optics:
    """Return the optics of the configured device, or the default ones for a digital device."""
    if "frame_time" not in (spec.config.get("device") or {}):
        return DEFAULT_OPTICS
    from dfa_cli.config.instantiate import build, files_named

    with files_named(spec):
        device = build(spec.config["device"])

    def seconds(components: int, columns: int) -> float:
        device.calibrate(components, columns)
        return device.readout.exposures * device.seconds_per_frame

    return Optics(
        f"device={spec.choices['device']}", device.limits.pixels, device.readout.pixels_per_mode, seconds
    )


def _of_configuration(question: Question, spec: RunSpec, swept: tuple[str, list[int]] | None) -> Workload:
    from dfa_cli.planner import configuration

    if not question.measure:
        return configuration.count(spec)
    if swept is not None:
        raise DfaError("--measure times the blocks for one plan; leave --sweep or --measure out.")
    if question.stages is None or question.micro_batches is None:
        raise DfaError(
            "--measure times the blocks with the rows of a micro-batch; give --stages and --micro-batches."
        )
    return configuration.measure(spec, question.batch, question.micro_batches, question.stages)


def _options(question: Question, work: Workload, swept: tuple[str, list[int]] | None) -> list[Options]:
    """Return what is planned, one for each value of the sweep."""
    activations = question.activations or "keep"
    if activations not in ("keep", "recompute"):
        raise DfaError(f"--activations: {one_of(activations, ('keep', 'recompute'))}.")
    choices = []
    for value in swept[1] if swept else [None]:
        stages = value if swept and swept[0] == "stages" else question.stages
        if stages is None:
            stages = min(STAGES, len(work.blocks))
        count = value if swept and swept[0] == "micro_batches" else question.micro_batches
        if count is None:
            # A pipeline has little bubble from four micro-batches a stage on (Huang et al. 2019).
            count = max(1, min(4 * stages, work.units // stages * stages or work.units))
        assert count is not None
        choices.append(
            Options(
                stages,
                count,
                chunks=question.chunks,
                recompute=activations == "recompute",
                pattern_rate=question.pattern_rate,
                patterns_per_row=question.patterns_per_row,
                share_columns=question.share_columns,
                optics=question.optics,
            )
        )
    return choices
