"""What `dfa diff` prints of two runs."""

from __future__ import annotations

import re
from typing import Any

from run_factory import Factory

from dfa_cli.console.table import wrap
from dfa_cli.records.find import find
from dfa_cli.views.diff import diff_as_text
from dfa_cli.views.listing import list_as_text

OPU = {
    "device._target_": "dfa_cli.devices.opu.OPU",
    "device.laser._target_": "dfa_cli.devices.opu.Laser",
    "device.laser.exposure_seconds": 0.0004,
}


def _diff(factory: Factory, one: dict[str, Any], other: dict[str, Any], width: int | None = None) -> str:
    for words in (one, other):
        factory.run(**words)
    first, second = sorted(find([factory.root]).runs, key=lambda run: run.created)
    return diff_as_text(first, second, width)


def _projection(frames: int) -> dict[str, Any]:
    return {"steps": 10, "rows": 20000, "frames": frames, "coefficients": 4 * 10**7, "modelled_joules": 0.25}


def test_counts_are_written_in_full(factory: Factory):
    said = _diff(
        factory,
        {"record": {"projection": _projection(19843)}},
        {"record": {"projection": _projection(19844)}},
    )
    assert re.search(r"  frames +19,843 +19,844\n", said)


def test_a_unit_is_said_once(factory: Factory):
    record = {"time": {"total_seconds": 12.5, "train_seconds": 2.0}, "peak_memory_mb": 12345.0}
    said = _diff(factory, {"record": record}, {"record": {"time": {"total_seconds": 4.25}}})
    assert re.search(r"  total time +12\.5 s +4\.25 s\n", said)
    assert re.search(r"  training time \(sum of the epochs\) +2\.00 s +–\n", said)
    assert re.search(r"  peak memory, MB +12,345 +512\n", said)


def test_checksums_and_commits_are_short(factory: Factory):
    sums = [
        {"provenance": {"data_checksums": {"x": digit * 64}, "git": {"commit": digit * 40}}} for digit in "ab"
    ]
    said = _diff(factory, {"record": sums[0]}, {"record": sums[1]})
    assert re.search(r"\n  data_checksums.x  a{8}  b{8}\n", said)
    assert re.search(r"\n  git.commit        a{8}  b{8}\n", said)


def test_a_narrow_table_keeps_the_ids_of_the_runs_whole(factory: Factory):
    said = _diff(factory, {"device": "cpu"}, {"device": "opu_sim"}, 44)
    assert re.search(r"\n {20,}[0-9a-f]{8}  [0-9a-f]{8}\n", said)
    assert max(map(len, said.splitlines())) <= 44


def test_every_line_of_a_narrow_list_fits(factory: Factory):
    for device in ("cpu", "opu_sim"):
        factory.run(device=device)
    assert max(map(len, list_as_text(find([factory.root]).runs, 44).splitlines())) <= 44


def test_results_that_differ_look_different(factory: Factory):
    said = _diff(factory, {"accuracy": 0.98621}, {"accuracy": 0.98634})
    assert re.search(r"  test accuracy at best validation epoch, % +98\.62 +98\.63\n", said)


def test_keys_are_whole_at_80_columns_and_break_behind_a_dot_or_dash_where_they_must(factory: Factory):
    device = {"device": "opu_sim", "config": OPU}
    said = _diff(factory, {"config": {"device._target_": "dfa_cli.devices.Digital"}}, device, 80)
    assert re.search(r"\n  device.laser.exposure_seconds  –  +0.0004\n", said)
    assert "  test accuracy at best validation epoch, %  8" in said
    assert max(map(len, said.splitlines())) <= 80
    assert wrap("device.laser.exposure_seconds", 14) == ["device.laser.", "exposure_", "seconds"]


def test_a_class_that_the_name_of_an_option_stands_for_is_left_out(factory: Factory):
    said = _diff(
        factory,
        {"config": {"device._target_": "dfa_cli.devices.Digital"}},
        {"device": "opu_sim", "config": OPU | {"optimizer._target_": "mine.Adam"}},
    )
    assert re.search(r"  device +cpu +opu_sim\n", said)
    assert "device._target_" not in said
    assert "device.laser._target_" not in said
    assert re.search(r"  optimizer._target_ +torch.optim.Adam +mine.Adam\n", said)


def test_a_device_that_a_rule_does_not_use_is_no_part_of_its_run(factory: Factory):
    said = _diff(factory, {"rule": "bp"}, {"device": "opu_sim", "config": OPU})
    assert re.search(r"  device +– +opu_sim\n", said)
    assert re.search(r"  rule +bp +dfa\n", said)
    assert "rule.needs" not in said


def test_what_neither_run_uses_changes_nothing(factory: Factory):
    """`bp` projects nothing, and a graph is always one batch."""
    graph = {"rule": "bp", "config": {"data.gives": "graph"}}
    other = {"rule": "bp", "device": "opu_sim", "config": {"data.gives": "graph", "batch_size": 7}}
    said = _diff(factory, graph, other)
    first, second = said.split("Changes nothing in the result\n")
    assert first.startswith("The two runs have the same configuration.")
    assert re.search(r"  device +cpu +opu_sim\n", second)
    assert re.search(r"  batch_size +128 +7\n", second)
