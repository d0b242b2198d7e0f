"""Writing a part of docs/performance.md keeps the measurements of other machines and other parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studies.performance import page

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["graphs", "mnist"]


def measured(figure: str, title: str = "Graphs") -> page.Section:
    section = page.Section(title, "What is compared.")
    section.text(figure)
    section.at_least("ratio", 2.5, 2.0)
    return section


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that writes a part as a machine with a given processor, and returns the page."""

    def write(processor: str, section: page.Section, name: str = "graphs") -> str:
        monkeypatch.setattr(page, "processor", lambda: processor)
        page.write(section, ORDER, name, tmp_path / "performance.md")
        return (tmp_path / "performance.md").read_text("utf-8")

    return write


def test_two_machines_stand_one_below_the_other(on) -> None:
    on("First(R) Processor", measured("figure one"))
    text = on("Second", measured("figure two"))
    assert text.count("## Graphs\n\nWhat is compared.\n\n### First Processor, ") == 1
    assert text.index("### First Processor") < text.index("figure one") < text.index("### Second")
    assert text.index("### Second") < text.index("figure two")
    assert text.count("| ratio | 2.50 | at least 2 | met |") == 2


def test_a_machine_that_measures_again_replaces_its_own_figures_only(on) -> None:
    for processor, figure in (("First", "figure one"), ("Second", "figure two"), ("First", "figure three")):
        text = on(processor, measured(figure))
    assert "figure one" not in text
    assert text.index("figure three") < text.index("figure two"), "machines keep their places"


def test_parts_keep_their_order_and_their_text(on) -> None:
    on("First", measured("of mnist", "MNIST"), "mnist")
    text = on("First", measured("of graphs"), "graphs")
    assert text.index("of graphs") < text.index("## MNIST") < text.index("of mnist")
    assert on("First", measured("of graphs"), "graphs") == text


def test_the_page_of_the_repository_is_read_and_written_without_loss(
    on, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (ROOT / "docs" / "performance.md").read_text("utf-8")
    (tmp_path / "performance.md").write_text(before, encoding="utf-8")
    monkeypatch.setitem(globals(), "ORDER", re.findall("<!-- part: (.+) -->", before))
    after = on("Another", measured("of graphs"), "graphs").splitlines()
    title, about = before.partition("<!-- part: graphs -->\n\n")[2].split("\n\n")[:2]
    assert title == "## Graphs"
    assert [line for line in before.splitlines() if line not in after] == [about], "its text is the newest"
