"""A stand-in for a missing data set is named in every list, table and export, for today's records and for old ones."""

from __future__ import annotations

import csv
import io
import json

import pytest
from reading import Call
from run_factory import Factory

import dfa_cli
from dfa_cli.records.words import heading

TODAY = "digits_graph, in place of cora, which could not be had: dfa data fetch cora"
EARLIER = "cora could not be had (ind.cora.x is not in the cache (/c)); digits_graph took its place"
MARK = "digits_graph for cora"


@pytest.fixture(params=[TODAY, EARLIER], ids=["today", "version 0.1.0"])
def fallback(request: pytest.FixtureRequest) -> str:
    return request.param


def make(factory: Factory, fallback: str | None, *seeds: int, rule: str = "bp") -> None:
    for seed in seeds:
        factory.run(
            data="digits_graph",
            rule=rule,
            seed=seed,
            record={"data_fallback": fallback},
            config={"data_fallback": fallback},
        )


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def test_runs_marks_the_run_and_gives_the_sentence(factory: Factory, call: Call, fallback: str) -> None:
    make(factory, fallback, 0)
    make(factory, None, 1)
    text = call("runs").stdout
    (stand_in,) = [line for line in text.splitlines() if MARK in line]
    (chosen,) = [line for line in text.splitlines() if "digits_graph " in line and MARK not in line][:1]
    assert stand_in.split()[-4] == "0"
    assert chosen.split()[-4] == "1", "a run on digits_graph by choice has no mark"
    assert fallback in text


@pytest.mark.parametrize("format", ["csv", "json"])
def test_runs_for_programs_has_the_sentence_in_the_row(
    format: str, factory: Factory, call: Call, fallback: str
) -> None:
    make(factory, fallback, 0)
    make(factory, None, 1)
    text = call("runs", "--format", format).stdout
    rows = table(text) if format == "csv" else json.loads(text)
    assert [row["data"] for row in rows] == ["digits_graph"] * 2
    assert [row["data_fallback"] or None for row in rows] == [None, fallback]


@pytest.mark.parametrize("format", ["table", "md", "latex"])
def test_each_row_of_a_comparison_has_the_mark_even_if_all_have_the_same(
    format: str, factory: Factory, call: Call, fallback: str
) -> None:
    make(factory, fallback, 0, 1, rule="bp")
    make(factory, fallback, 0, 1, rule="shallow")
    text = call("compare", "--format", format).stdout.replace("\\_", "_").replace("\n% ", "\n")
    rows = [line for line in text.splitlines() if MARK in line]
    assert [rule for line in rows for rule in ("bp", "shallow") if rule in line] == ["bp", "shallow"]
    assert on_one_line(fallback) in on_one_line(text)
    assert "data digits_graph," not in text, "the line above the table has the data set without its mark"


@pytest.mark.parametrize("format", ["csv", "json"])
def test_each_row_of_a_comparison_for_programs_has_the_sentence(
    format: str, factory: Factory, call: Call, fallback: str
) -> None:
    make(factory, fallback, 0, 1, rule="bp")
    make(factory, None, 0, 1, rule="shallow")
    text = call("compare", "--format", format).stdout
    rows = table(text) if format == "csv" else json.loads(text)["groups"]
    assert [(row["rule"], row["data"], row["data_fallback"] or None) for row in rows] == [
        ("bp", "digits_graph", fallback),
        ("shallow", "digits_graph", None),
    ]


def test_a_row_of_both_kinds_counts_those_with_a_stand_in(
    factory: Factory, call: Call, fallback: str
) -> None:
    make(factory, fallback, 0, 1)
    make(factory, None, 2, 3, 4)
    assert "digits_graph (2 of 5 for cora)" in call("compare").stdout
    (row,) = table(call("compare", "--format", "csv").stdout)
    assert row["data_fallback"] == f"{fallback} (2 of 5 runs)"


def test_the_data_set_itself_and_its_stand_in_have_two_rows(factory: Factory, call: Call) -> None:
    make(factory, TODAY, 0)
    factory.run(data="cora", rule="bp")
    text = call("compare").stdout
    assert sum(line.startswith("cora ") for line in text.splitlines()) == 1
    assert sum(line.startswith(f"{MARK} ") for line in text.splitlines()) == 1


def test_without_a_stand_in_a_comparison_is_as_before(factory: Factory, call: Call) -> None:
    make(factory, None, 0, 1)
    assert "data digits_graph," in call("compare").stdout
    assert "data_fallback" not in call("compare", "--format", "csv").stdout


def test_the_sentence_of_today_stays_on_one_line_of_80_columns(
    factory: Factory, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(factory, TODAY, 0)
    monkeypatch.setenv("COLUMNS", "80")
    assert TODAY in call("compare").stdout.splitlines()
    assert TODAY in call("runs").stdout.splitlines()


def test_the_report_has_the_mark_in_both_tables_and_the_sentence(
    factory: Factory, call: Call, fallback: str
) -> None:
    make(factory, fallback, 0, 1)
    call("report", "--out", "report.html")
    page = (factory.root.parent / "report.html").read_text("utf-8")
    assert page.count(f">{MARK}<") == 3, "one row of the comparison, two of the list"
    assert fallback in page


def test_exports_have_the_sentence_in_the_row(factory: Factory, call: Call, fallback: str) -> None:
    make(factory, fallback, 0)
    make(factory, None, 1)
    call("export", "--to", "csv", "--out", "runs.csv")
    rows = table((factory.root.parent / "runs.csv").read_text("utf-8"))
    assert {row["seed"]: row["data_fallback"] or None for row in rows} == {"0": fallback, "1": None}
    frame = dfa_cli.load(factory.root)
    sentences = dict(
        zip(frame["seed"], frame["data_fallback"].dropna().reindex(frame.index, fill_value=""), strict=True)
    )
    assert sentences == {0: fallback, 1: ""}
    assert list(frame["data"]) == ["digits_graph"] * 2


def test_show_has_the_sentence(factory: Factory, call: Call, fallback: str) -> None:
    make(factory, fallback, 0)
    assert on_one_line(fallback) in on_one_line(call("show", "last").stdout)


def test_the_heading_of_an_old_run_that_is_continued_has_the_sentence_of_today(fallback: str) -> None:
    choices = {"model": "gcn", "data": "digits_graph", "rule": "bp"}
    config = {"model": {"hidden": [64]}, "rule": {"needs": "nothing"}, "seed": 3, "data_fallback": fallback}
    assert heading(config, choices) == f"gcn [64], trained by bp, seed 3, on {TODAY}"
