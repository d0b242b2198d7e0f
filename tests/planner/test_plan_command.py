"""`dfa plan`: what it says, in which forms, and which mistakes it explains."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread
from program import Answer, Dfa

from dfa_cli.console.values import duration
from dfa_cli.planner import configuration
from dfa_cli.planner.command import parse_sweep
from dfa_cli.planner.costs import Block, Hardware, Workload
from dfa_cli.planner.files import read_hardware, read_preset
from dfa_cli.planner.pictures import draw_sweep, timeline
from dfa_cli.planner.plan import Optics, Options, plan, sweep
from dfa_cli.planner.report import conclusions, sweep_text, text

LARGE = Hardware("large", peak=1.0, achieved=1.0, bandwidth=1e30, latency=0.0, memory=1e30)


def equal_blocks(count: int, projection: float = 1e-9, inner: float = 0.0) -> Workload:
    """Blocks that take a second each for the forward pass, the input gradient and the weight gradient of a row."""
    block = Block(1.0, inner, 1.0 - inner, 1.0, projection, width=10, kept=10.0, parameters=0)
    return Workload(
        "equal", (block,) * count, rows=8, classes=5, features=10, value_bytes=1, parameter_bytes=1
    )


def spoken(*words: Options | Workload) -> str:
    work, options = words
    assert isinstance(work, Workload)
    assert isinstance(options, Options)
    return " ".join(conclusions(plan(work, LARGE, options)))


def test_lines_are_what_the_formulas_say_at_equal_costs() -> None:
    result = plan(equal_blocks(8), LARGE, Options(4, 8))
    found = {line.name: (line.seconds, line.idle) for line in result.lines}
    unit = 2.0  # a stage has two blocks, a micro-batch one row
    assert found["bp 1f1b"] == pytest.approx((unit * 3 * 11, 3 / 11))
    assert found["bp interleaved"] == pytest.approx((unit * 3 * (8 + 1.5), 1.5 / 9.5))
    assert found["bp zero-bubble"] == pytest.approx((unit * (3 * 8 + 3), 3 / 27))
    assert found["bp zb-h2"] == pytest.approx((unit * 3 * 8, 0.0), abs=1e-9)
    assert found["bp zbv"] == pytest.approx((unit * 3 * 8, 0.0), abs=1e-9)
    assert found["dfa forward-first"] == pytest.approx((unit * 2 * 8, 0.0), rel=1e-6, abs=1e-6)
    assert found["dfa local"] == pytest.approx((unit * (2 * 8 + 3), 3 / 19), rel=1e-6)
    assert result.bound == pytest.approx(unit * 3 * 8)


def test_bytes_and_memory_are_what_a_hand_counts() -> None:
    result = plan(equal_blocks(8), LARGE, Options(4, 8))
    by_name = {line.name: line for line in result.lines}
    local, pipe, opu = by_name["dfa local"], by_name["bp 1f1b"], result.lines[-1]
    assert pipe.forward_bytes == pipe.backward_bytes == 3 * 8 * 10  # three links, eight messages, ten columns
    assert by_name["bp interleaved"].forward_bytes == 7 * 8 * 10
    assert (local.backward_bytes, local.error_bytes, local.feedback_bytes) == (0, 3 * 8 * 5, 0)
    assert (opu.error_bytes, opu.feedback_bytes) == (8 * 5, 8 * 8 * 10)
    assert pipe.memory == 4 * 20  # four micro-batches of two blocks on the first stage
    assert by_name["bp gpipe"].memory == 8 * 20
    assert pipe.memory_recompute == 4 * 10 + 20  # their first inputs, and all of one of them
    assert local.memory == 4 * 20 + 5 + 20 + 5 * 20  # and an error, its feedback, the feedback matrix
    assert local.memory_recompute == 4 * 10 + 10 + 5 + 20 + 5 * 20


def test_recompute_costs_a_forward_pass_for_each_rule() -> None:
    result = plan(equal_blocks(8), LARGE, Options(4, 8, recompute=True))
    found = {line.name: line.seconds for line in result.lines}
    assert found["bp 1f1b"] == pytest.approx(2 * 4 * 11)
    assert found["dfa local"] == pytest.approx(2 * (3 * 8 + 3), rel=1e-6)


def test_at_equal_costs_the_saved_gradients_count_for_more_than_the_bubbles() -> None:
    words = spoken(equal_blocks(8), Options(4, 8))
    assert (
        "33.3 % of bp's work. That is more than the busiest stage loses by waiting under zb-h2, 0.0 % of its step."
        in words
    )
    assert (
        "ahead of a bp that never waits up to 8 stages (fewer than 1 + 1.00 M, which is 9.0); beyond, the "
        "advantage vanishes." in words
    )


@pytest.mark.parametrize(("stages", "ahead"), [(8, True), (16, True), (17, False), (18, False)])
def test_the_advantage_vanishes_where_the_sentence_says(stages: int, ahead: bool) -> None:
    """1 + M stages at M micro-batches, if all costs are equal: then the saved third is the bubble."""
    work = equal_blocks(stages).with_rows(16)
    result = plan(work, LARGE, Options(stages, 16))
    local = result.line("dfa local")
    assert local is not None
    assert (local.seconds < result.bound * (1 - 1e-6)) == ahead


def test_a_projection_that_costs_more_than_is_saved_is_told() -> None:
    words = spoken(equal_blocks(8, projection=1.2), Options(4, 8))
    assert "The local projection costs more than what is left out." in words
    assert "slower than bp's best schedule here" in words


def test_a_network_that_only_waits_is_told_so() -> None:
    slow = Hardware("slow", peak=1.0, achieved=1.0, bandwidth=1e30, latency=1e6, memory=1e30)
    words = " ".join(conclusions(plan(equal_blocks(8), slow, Options(4, 8))))
    assert "Nearly all of a step is spent waiting for messages" in words
    assert "patterns a second" not in words


@pytest.mark.parametrize(
    ("rows", "parts", "words"),
    [
        (256, 12, "12 micro-batches of 21 or 22 samples (256 in a batch)"),  # split_batch makes four of 22
        (256, 8, "8 micro-batches of 32 samples (256 in a batch)"),
        (256, 1, "1 micro-batch of 256 samples,"),
    ],
)
def test_the_rows_of_all_micro_batches_are_those_of_the_batch(rows: int, parts: int, words: str) -> None:
    work = replace(equal_blocks(8), row="sample").with_rows(rows)
    assert words in " ".join(text(plan(work, LARGE, Options(4, parts)), 80).split())


def test_a_sweep_says_which_rate_the_given_one_stands_for() -> None:
    optics = Optics("device=mine", seconds=lambda components, columns: 1 / 400)
    given = plan(equal_blocks(8), LARGE, Options(4, 8, pattern_rate=700.0, optics=optics))
    said = " ".join(sweep_text([given], "stages", 80).split())
    assert (
        "As given (--pattern-rate) it shows 700 patterns a second, in place of the 400 of device=mine."
        in said
    )


def test_what_a_stage_holds_is_told_where_it_differs() -> None:
    words = "as dfa train runs it, dfa takes 0.67 of the time of bp's best schedule here, zb-h2"
    held = f"{words}, and a stage holds all micro-batches: 285 B in place of 205 B."
    assert held in spoken(equal_blocks(8), Options(4, 8))
    slow = replace(LARGE, latency=2.0)  # the first error is late, so that a stage holds all of them anyhow
    assert "holds all micro-batches" not in " ".join(conclusions(plan(equal_blocks(8), slow, Options(4, 8))))


def test_what_a_block_needs_inside_itself_is_not_saved() -> None:
    assert "8.3 % of bp's work" in spoken(equal_blocks(8, inner=0.75), Options(4, 8))


def test_the_needed_pattern_rate_keeps_the_stages_busy_and_half_of_it_does_not() -> None:
    work, options = equal_blocks(8).with_rows(400), Options(4, 400)
    result = plan(work, LARGE, options)
    assert result.needed_pattern_rate == pytest.approx(
        2 / 4
    )  # two patterns in the four seconds of a micro-batch
    busy = 400 * 2 * 2
    assert result.lines[-1].seconds == pytest.approx(busy, rel=0.03)
    half = plan(work, LARGE, Options(4, 400, pattern_rate=result.needed_pattern_rate / 2))
    assert half.lines[-2].seconds == pytest.approx(2 * busy, rel=0.03)


def test_an_hour_of_light_is_computed_from_the_batch() -> None:
    work, hardware = read_preset("gpt3-175b"), read_hardware("h100")
    # More columns than one camera reads: all its 2,073,600 pixels, 1,017 rows of 2.7 us, and a pause of 50 us.
    seconds = 2 * 32_000 * (50e-6 + 1017 * 2.7e-6)
    said = " ".join(conclusions(plan(work.with_rows(32_000), hardware, Options(8, 8))))
    assert f"a batch of 32,000 tokens takes {duration(seconds, fine=True)} of light" in said
    said = " ".join(conclusions(plan(work, hardware, Options(8, 32))))
    assert f"a batch of 3,200,000 tokens takes {duration(100 * seconds, fine=True)} of light" in said
    assert "The modelled hardware shows 358 with 2,359,296 columns" in said


def test_the_sentences_are_about_the_rate_that_is_given() -> None:
    work, hardware = read_preset("gpt3-1.3b"), read_hardware("h100")
    result = plan(work, hardware, Options(8, 32, pattern_rate=250.0))
    said = " ".join(conclusions(result))
    # Two patterns a token of a batch of a million.
    assert (
        f"At 250 patterns a second a batch of 1,000,000 tokens takes {duration(8000.0, fine=True)} of light"
        in said
    )
    few = f"{result.needed_pattern_rate / 250:,.0f} times too few"
    assert f"The given one (--pattern-rate) shows 250, {few};" in said
    assert "modelled" not in said
    enough = Options(8, 32, pattern_rate=2 * result.needed_pattern_rate)
    assert "which is enough;" in " ".join(conclusions(plan(work, hardware, enough)))
    (caption,) = (
        text.get_text()
        for text in draw_sweep([result, result], "stages").texts
        if "Dotted" in text.get_text()
    )
    assert "the 250 patterns a second of the given OPU (--pattern-rate)." in " ".join(caption.split())


def test_a_timeline_has_a_bar_for_each_operation_and_a_row_for_the_opu() -> None:
    result = plan(equal_blocks(8), LARGE, Options(4, 8))
    by_name = {line.name: line for line in result.lines}
    local = timeline(result, by_name["dfa local"])
    assert len(local.bars) == 4 * 8 * 3  # F, projection and W
    assert local.rows == ["stage 1", "stage 2", "stage 3", "stage 4"]
    assert local.seconds == pytest.approx(by_name["dfa local"].seconds)
    for row in range(4):
        bars = sorted((bar for bar in local.bars if bar.row == row), key=lambda bar: bar.start)
        for before, after in itertools.pairwise(bars):
            assert after.start >= before.start + before.seconds - 1e-9
    assert timeline(result, result.lines[-1]).rows[-1] == "OPU"


# The command


def ok(answer: Answer) -> str:
    assert answer.code == 0, answer.err
    return answer.out


def test_the_text_fits_80_columns(dfa: Dfa) -> None:
    for words in (
        ["--preset", "gpt3-175b", "--stages", "64", "--micro-batches", "256"],
        ["--preset", "megatron-1t", "--sweep", "stages=8,16"],
        ["--preset", "cora-gcn", "--stages", "2"],
    ):
        assert max(map(len, ok(dfa("plan", *words)).splitlines())) <= 80


def test_the_page_shows_what_the_command_prints(dfa: Dfa) -> None:
    page = (Path(__file__).parents[2] / "docs" / "independent-blocks.md").read_text("utf-8")
    ((words, shown),) = re.findall(r"^    \$ dfa plan (.+)\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    printed = ok(dfa("plan", *words.split()))
    assert printed.startswith(textwrap.dedent(shown).rstrip()), "copy the tables again"


def test_a_configuration_is_counted_as_the_preset_of_the_same_network(dfa: Dfa) -> None:
    words = ["--stages", "2", "--micro-batches", "1", "--format", "json"]
    for preset, overrides in (
        ("mnist-fc", ["model=fc", "data=mnist"]),
        ("cora-gcn", ["model=gcn", "data=cora"]),
    ):
        answer = dfa("plan", *overrides, *words)
        if "data" in answer.err:
            pytest.skip(answer.sentence)
        of_preset = json.loads(ok(dfa("plan", "--preset", preset, *words)))[0]["lines"]
        for one, other in zip(json.loads(ok(answer))[0]["lines"], of_preset, strict=True):
            assert {**one, "model": ""} == pytest.approx({**other, "model": ""})


def test_blocks_are_timed_on_this_machine(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "TIMED_SECONDS", 0.01)
    words = [
        "model=fc",
        "data=digits",
        "model.hidden=[32,32]",
        "--measure",
        "--stages",
        "2",
        "--micro-batches",
        "2",
    ]
    (content,) = json.loads(ok(dfa("plan", *words, "--format", "json", "--hardware", "xeon")))
    assert all(0 < line["seconds"] < 60 for line in content["lines"] if line["projector"] != "central")
    said = " ".join(ok(dfa("plan", *words)).split())
    assert re.search(
        r"on this machine \(cpu, \d+ threads? a stage\) with the links and the memory of h100: 2 stages", said
    )
    assert "times of the blocks measured" in said


def test_csv_has_a_row_for_each_line_of_each_plan(dfa: Dfa) -> None:
    text = ok(dfa("plan", "--preset", "gpt2-1.5b", "--sweep", "stages=2,4", "--format", "csv"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["stages"] for row in rows] == ["2"] * 11 + ["4"] * 11
    assert {row["schedule"] for row in rows} == {
        "gpipe", "1f1b", "interleaved", "zero-bubble", "zb-h2", "zbv", "forward-first", "", "never waiting"
    }  # fmt: skip


def test_the_export_has_what_the_table_shows(dfa: Dfa) -> None:
    words = ["--preset", "gpt2-1.5b", "--stages", "4"]
    (plan,) = json.loads(ok(dfa("plan", *words, "--format", "json")))
    shown = ok(dfa("plan", *words))
    (waiting,) = (line for line in plan["lines"] if line["schedule"] == "never waiting")
    assert waiting["seconds"] == plan["bound_seconds"]
    assert re.search(
        rf"^bp never waiting +{re.escape(duration(waiting['seconds'], fine=True))} ", shown, re.MULTILINE
    )
    (quick,) = (line for line in plan["lines"] if line["opu"] == "fast enough")
    assert quick["pattern_rate"] == plan["needed_pattern_rate"]
    assert f"fast enough with {quick['pattern_rate']:,.0f} patterns a second" in " ".join(shown.split())


def test_the_limit_is_not_that_of_the_rounded_numbers(dfa: Dfa) -> None:
    words = ["--preset", "mnist-fc", "--stages", "2", "--micro-batches", "512", "--batch", "4096"]
    said = " ".join(ok(dfa("plan", *words)).split())
    found = re.search(r"up to (\d+) stages \(fewer than 1 \+ 0\.56 M, which is ([\d.]+)\)", said)
    assert found
    assert int(found[1]) < float(found[2]) <= int(found[1]) + 1
    assert int(found[1]) != int(1 + 0.56 * 512)


def test_pictures_are_drawn_and_not_overwritten(dfa: Dfa) -> None:
    small = ["--preset", "gpt2-1.5b", "--stages", "2", "--micro-batches", "4"]
    path = dfa.root / "plan.png"
    assert f"wrote {path}" in dfa("plan", *small, "--plot", "--out", str(path)).err
    assert imread(path).shape[0] > 500
    again = dfa("plan", *small, "--out", str(path))
    assert (again.code, "is already there; give --force" in again.sentence) == (2, True)
    curves = dfa.root / "curves.svg"
    ok(dfa("plan", "--preset", "gpt2-1.5b", "--sweep", "stages=2..8", "--plot", "--out", str(curves)))
    assert curves.read_bytes().startswith(b"<?xml")


def test_every_curve_of_a_sweep_has_its_own_look_and_the_place_of_the_tables() -> None:
    # Interleaved needs a multiple of the stages, so the first plan has no such line.
    plans, _ = sweep(equal_blocks(8), LARGE, [Options(2, count) for count in (1, 2, 4)])
    lines = draw_sweep(plans, "micro_batches").axes[0].lines
    looks = {(line.get_color(), str(line.get_linestyle()), str(line.get_marker())) for line in lines}
    assert len(looks) == len(lines) == 9
    names = [str(line.get_label()) for line in lines]
    assert names == [*(line.name for line in plans[-1].lines[:8]), "dfa OPU fast enough"]


def test_smaller_parts_may_be_more_even_than_whole_stages() -> None:
    # Two stages of whole parts take 3 and 5; ZB-V gives each stage a large block and a small one.
    blocks = tuple(Block(cost, 0.0, cost, cost, 0.0, 1, 1.0, 0) for cost in (3.0, 3.0, 1.0, 1.0))
    planned = plan(Workload("uneven", blocks, rows=64, classes=1, features=1), LARGE, Options(2, 64))
    assert planned.bound == pytest.approx(64 * 15)
    assert {line.name for line in planned.lines if line.rule == "bp" and line.seconds < planned.bound} == {
        "bp interleaved",
        "bp zbv",
    }


def test_a_sweep_says_where_a_link_holds_the_light_up() -> None:
    work = equal_blocks(8)
    swept = [Options(stages, 8) for stages in (1, 2, 4, 8)]
    # The OPU sends 80 bytes for a row, on which a stage of n blocks works 2 n seconds.
    slow = Hardware("slow", peak=1.0, achieved=1.0, bandwidth=15.0, latency=0.0, memory=1e30)
    plans, _ = sweep(work, slow, swept)
    said = " ".join(sweep_text(plans, "stages", 80).split())
    held = [plan for plan in plans if "which then holds the stages up" in " ".join(conclusions(plan))]
    assert [plan.options.stages for plan in held] == [4, 8]
    assert "dfa OPU fast enough is held up by a link, and not by its light, at 4, 8 stages" in said
    fast, _ = sweep(work, LARGE, swept)
    assert "held up" not in sweep_text(fast, "stages", 80)


def test_the_configuration_counts_where_no_option_is_given(dfa: Dfa) -> None:
    words = ["model=fc", "data=digits", "model.hidden=[8,8,8]", "parallel=pipeline", "--format", "json"]
    more = [
        "parallel.micro_batches=2",
        "rule.share_columns=true",
        "activations=recompute",
        "parallel.split=[1,3]",
    ]
    answer = dfa("plan", *words, *more)
    options = ["--stages", "2", "--micro-batches", "2", "--share-columns", "--activations", "recompute"]
    assert json.loads(ok(answer)) == json.loads(ok(dfa("plan", *words[:3], *options, *words[-2:])))
    assert "and not as parallel.split does" in answer.err


def test_a_sweep_goes_on_without_the_values_that_the_model_does_not_allow(dfa: Dfa) -> None:
    answer = dfa("plan", "--preset", "mnist-fc", "--sweep", "stages=2..8")
    assert "left out: 4 stages are more than the 3 blocks" in answer.err
    assert re.search(r"^ +2 ", ok(answer), re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("stages=2..64", [2, 4, 8, 16, 32, 64]),
        ("stages=2..48", [2, 4, 8, 16, 32, 48]),
        ("stages=5..5", [5]),
        ("stages=8,2", [2, 8]),
    ],
)
def test_the_values_of_a_sweep(words: str, numbers: list[int]) -> None:
    assert parse_sweep(words) == ("stages", numbers)
    assert parse_sweep("micro-batches=3")[0] == "micro_batches"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--preset", "gtp3"], "--preset: 'gtp3' is not one of cora-gcn, gpt2-1.5b"),
        (["--hardware", "h1000"], "(did you mean h100?)"),
        (["--stages", "0"], "--stages is 0. It must be a whole number from 1 to 10^12."),
        (["--batch", "0"], "--batch is 0. It must be a whole number from 1"),
        (["--stages", "500"], "500 stages are more than the 193 blocks of the model"),
        (["--micro-batches", "2000"], "it has 1562 sequences; give at most --micro-batches 1562."),
        (["--preset", "cora-gcn", "--stages", "2", "--micro-batches", "2"], "graph, which cannot be divided"),
        (
            ["--preset", "cora-gcn", "--batch", "5"],
            "a graph is always one batch, of 2708 nodes; leave it out.",
        ),
        (
            ["--pattern-rate", "0"],
            "--pattern-rate is 0. It must be a number of patterns a second, from 1e-09",
        ),
        (["--pattern-rate", "nan"], "--pattern-rate is nan. It must be a number"),
        (["--pattern-rate", "inf"], "--pattern-rate is inf. It must be a number"),
        (["--stages", "1000000000"], "1000000000 stages are more than the 193 blocks of the model"),
        (["--batch", "1" + "0" * 400], "It must be a whole number from 1 to 10^12."),
        (
            ["--batch", "1000000000000", "--micro-batches", "100000000"],
            "give at most --micro-batches 1048576.",
        ),
        (["--batch", "5"], "--batch is 5 tokens. It must be at least 2048, which is one sequence."),
        (["--sweep", "width=2..4"], "--sweep width=2..4 is not understood."),
        (["--sweep", ""], "--sweep is not understood."),
        (["--sweep", "stages=0..4"], "--sweep stages=0..4 is not understood."),
        (["--sweep", "stages=" + "9" * 5000], "is not understood."),
        (["--sweep", "stages=8..2"], "--sweep stages=8..2 goes backwards; type stages=2..8."),
        (
            ["--sweep", "stages=2..8", "--stages", "4"],
            "--sweep stages=2..8 and --stages 4 exclude each other",
        ),
        (["--sweep", "micro_batches=2", "--micro-batches", "4"], "and --micro-batches 4 exclude each other"),
        (["--format", "xml"], "--format: 'xml' is not one of csv, json, table"),
        (["--activations", "keeep"], "(did you mean keep?)"),
        (
            ["--preset", "mnist-fc", "rule=dfa"],
            "takes no rule=dfa. Leave this word out, or --preset to plan a",
        ),
        (
            [
                "--preset",
                "gpt3-1.3b",
                "--config-dir",
                ".",
                "rule=dfa",
                "device=mylab",
                "device.macropixel=4",
            ],
            "takes no device=mylab. Give the patterns a second of your device by --pattern-rate in its place: 1 over "
            "the seconds of a pattern that "
            "dfa beam --config-dir . device=mylab device.macropixel=4 --outputs 98304 prints",
        ),
        (
            ["--preset", "rule=dfa"],
            "--preset takes a name, and rule=dfa sets an option. Type --preset cora-gcn, or",
        ),
        (["mnist-fc", "--stages", "2"], "mnist-fc is a preset; type dfa plan --preset mnist-fc."),
        (
            ["--preset", "none.yaml"],
            "--preset none.yaml: there is no such file. Give the path of a YAML file, or one of",
        ),
        (["--hardware", "none.yaml"], "--hardware none.yaml: there is no such file. Give the path"),
        (["--measure"], "--measure times the blocks of a configuration; name one"),
        (["model=fc", "data=digits", "--measure"], "give --stages and --micro-batches."),
        (["model=gat", "data=digits_graph"], "The operations of model=gat cannot be counted"),
        (["model=fc", "data=digits", "model.hiden=[3]"], "hiden"),
        (["model=fc", "data=digits", "parallel=none", "parallel.stages=3"], "parallel=pipeline"),
        (["model=fc", "data=digits", "parallel=data"], "parallel=data has none; leave parallel=data out."),
        (["--preset", "mnist-fc", "--config-dir", "."], "name one, such as model=mine."),
        (["--plot", "--out", "plan.gif"], "the name must end in .png, .svg or .pdf"),
        (
            ["--plot", "--stages", "64", "--micro-batches", "1024", "--out", "x.png"],
            "too many to see in one picture",
        ),
    ],
)
def test_a_mistake_is_one_sentence(dfa: Dfa, words: list[str], sentence: str) -> None:
    answer = dfa("plan", *words)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert answer.err.count("\n") == 1


def test_a_pipeline_need_not_be_chosen(dfa: Dfa) -> None:
    words = ["model=fc", "data=digits", "parallel.stages=2", "parallel.micro_batches=4", "--format", "json"]
    assert dfa("plan", *words).out == dfa("plan", "parallel=pipeline", *words).out


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (["device=cpu"], 2000),
        (["device=opu_sim", "device.frame_seconds=1e-3"], 1000),
        (["device=opu_lighton"], 400),  # five exposures of 500 us
        # Four of 50 + 950 us. A tenth of the light does not fill a pixel, so the whole exposure is taken.
        (
            [
                "device=opu_phase_shifting",
                "device.laser.exposure_seconds=950e-6",
                "device.laser.watts=1e-4",
            ],
            250,
        ),
        # All mirrors together give a pixel 12,915 photoelectrons in 5 ms, the calibration pattern 6,458. The brightest
        # pixel has (2 + 3)^2 times as much, and is full at 10,000: after 309.7 us, and 50 us between the images.
        (
            [
                "device=opu_holographic",
                "device.laser.exposure_seconds=5e-3",
                "device.frame_time.shortest=1e-4",
            ],
            2780,
        ),
    ],
)
def test_the_speed_of_the_optics_is_that_of_the_configured_device(
    words: list[str], rate: int, dfa: Dfa
) -> None:
    # A network that does not only wait for messages, and few enough columns for the shortest frame.
    large = ["plan", "data=digits", "model.hidden=[20000,20000]", "--stages", "2", "--micro-batches", "1"]
    said = " ".join(dfa(*large, *words).out.split())
    source = "docs/opu.md" if words == ["device=cpu"] else words[0]
    name = "The modelled hardware" if words == ["device=cpu"] else words[0]
    assert f"{name} shows {rate:,} with 40,000 columns" in said
    assert f"As modelled ({source}) it shows {rate:,} patterns a second. It is fast enough with" in said
    assert "dfa OPU as modelled " in said
    given = " ".join(dfa(*large, *words, "--pattern-rate", "700").out.split())
    instead = "" if words == ["device=cpu"] else f", in place of the {rate:,} of {words[0]}"
    assert f"As given (--pattern-rate) it shows 700 patterns a second{instead}." in given
    assert "dfa OPU as given " in given
