"""The HTML page of `dfa report`, as a file and in a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import escape
from reading import Call
from run_factory import Factory

from dfa_cli.comparison.comparison import summarise
from dfa_cli.views.figures import choose

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'; document.title='owned'; //",
    "<b>bold</b> & $\\frac{1}{0$ ]]> <!--",
]


class Page(HTMLParser):
    """Parses a page into its tags, and the rows of each table by its id."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.hidden: dict[str, int] = {}
        self._table = ""
        self._cell = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._table = dict(attrs)["id"] or ""
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
            self.hidden[self._table] = self.hidden.get(self._table, 0) + ("hidden" in dict(attrs))
        elif tag in ("td", "th"):
            self._cell = True
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[self._table][-1][-1] += data


@pytest.fixture
def page(swept: Path, call: Call) -> str:
    call("report", "--baseline", "rule=bp", "--title", "Rules & devices")
    return Path("dfa-report.html").read_text("utf-8")


@pytest.fixture
def hostile(factory: Factory, call: Call) -> str:
    for i, name in enumerate(HOSTILE):
        for seed in range(2):
            factory.run(
                seed=seed, model="gcn" if i else name, config={"note": name}, overrides=[f"note={name}"]
            )
        factory.run(seed=2, status="failed", config={"note": name}, record={
            "error": {"type": name, "message": name, "epoch": 1},
            "provenance": {"command": name, "host": name, "versions": {name: name}},
        })  # fmt: skip
    (factory.root / "<img src=x>" / ".hydra").mkdir(parents=True)
    call("report", "--title", HOSTILE[0])
    return Path("dfa-report.html").read_text("utf-8")


def browse(source: str, tmp_path: Path, action: str = "") -> tuple[str, str]:
    """Loads the page in a browser, runs `action`, and returns the page afterwards and the messages of its console.

    The page's security policy allows only its own script, so it is loosened where there is an `action`.
    """
    if action:
        source = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", source)
        source = source.replace("</body>", f"<script>{action}</script></body>")
    path = tmp_path / "page.html"
    path.write_text(source, "utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
            f"--user-data-dir={tmp_path / 'profile'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_the_page_is_self_contained(page: str):
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not (tag == "script" and "src" in attributes)
        for name in ("src", "href", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert [tag for tag, _ in parsed.tags].count("script") == 1


def test_the_page_says_what_the_table_says(page: str):
    tables = Page(page).tables
    comparison = {tuple(row[:2]): row for row in tables["comparison"]}
    assert comparison["bp", "–"][6] == "baseline"
    assert "seed 2 failed" in comparison["dfa", "opu_sim"]
    assert "<0.001 *" in comparison["shallow", "–"]
    assert ["optimizer.lr", "0.01", "0.02", "0.02", "0.02"] in tables["differences"]
    failed = tables["failures"][1]
    assert failed[2] == "failed"
    assert "failed in epoch 7: RuntimeError: the loss is NaN" in failed
    assert failed[-1].endswith("run.log")
    assert ["commit", "0123456789abcdef0123456789abcdef01234567", "23"] in tables["provenance"]
    assert len(tables["runs"]) == 1 + 23
    assert "Rules &amp; devices" in page
    assert "test accuracy at best validation epoch" in page
    assert "140 train, 500 validation, 1000 test" in page
    assert page.count("data:image/svg+xml;base64,") == 2


def test_a_numeric_key_gets_its_figure(factory: Factory, call: Call):
    for noise in (0.0, 0.1, 0.2):
        for seed in range(2):
            factory.run(device="opu_sim", seed=seed, config={"device.noise": noise})
    call("report", "--out", "noise.html")
    assert 'alt="test accuracy at best validation epoch against device.noise"' in Path(
        "noise.html"
    ).read_text("utf-8")


def test_hostile_text_is_only_text(hostile: str):
    parsed = Page(hostile)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not [tag for tag, attributes in parsed.tags if any(name.startswith("on") for name in attributes)]
    assert all(
        (attributes.get("src") or "").startswith("data:") for tag, attributes in parsed.tags if tag == "img"
    )
    shown = {cell for row in parsed.tables["comparison"] for cell in row}
    assert set(HOSTILE) - {HOSTILE[0]} <= shown
    assert str(escape(HOSTILE[1])) in hostile


@in_browser
def test_nothing_hostile_runs_in_a_browser(hostile: str, tmp_path: Path):
    dom, complaints = browse(hostile, tmp_path)
    assert complaints == ""
    assert f"<title>{html.escape(HOSTILE[0], quote=False)}</title>" in dom
    assert "<b>bold</b>" not in dom


@in_browser
def test_sorting_and_filtering_in_a_browser(page: str, tmp_path: Path):
    action = """
      const heads = table => [...document.querySelectorAll(`#${table} th button`)];
      const head = (table, name) => heads(table).find(button => button.textContent === name);
      head("comparison", "mean ± std").click();
      head("runs", "test %").click(); head("runs", "test %").click();
      const box = document.querySelector("input[data-for=comparison]");
      box.value = "DFA cpu"; box.dispatchEvent(new Event("input"));
      const broken = [...document.images].filter(i => !i.complete || i.naturalWidth === 0);
      document.body.dataset.broken = broken.length;
    """
    dom, complaints = browse(page, tmp_path, action)
    assert complaints == ""
    parsed = Page(dom)
    assert [row[0] for row in parsed.tables["comparison"][1:]] == ["shallow", "dfa", "dfa", "bp"]
    assert parsed.hidden["comparison"] == 3
    column = parsed.tables["runs"][0].index("test %")
    cells = [row[column] for row in parsed.tables["runs"][1:]]
    assert cells[-1] == "–"  # The failed run has no accuracy, and stays last in both directions.
    values = [float(cell) for cell in cells[:-1]]
    assert values == sorted(values, reverse=True)
    assert 'data-broken="0"' in dom


def test_runs_without_anything_measured_still_give_a_page(factory: Factory, call: Call):
    factory.run(status="failed", curves=False)
    call("report", "--out", "bad.html")
    text = Path("bad.html").read_text("utf-8")
    assert "the loss is NaN" in text
    assert "Figures" not in text


def test_of_many_rows_the_best_are_drawn_and_the_others_are_counted(factory: Factory, call: Call):
    for i in range(23):
        factory.run(rule="bp", seed=0, accuracy=0.5 + 0.01 * i, config={"optimizer.lr": 0.001 * (i + 1)})
    factory.run(rule="shallow", accuracy=0.3, config={"optimizer.lr": 0.001, "optimizer.weight_decay": 0.1})
    call("report", "--baseline", "rule=shallow", "--out", "some.html")
    call("report", "--all", "--out", "all.html")
    some, every = (Path(name).read_text("utf-8") for name in ("some.html", "all.html"))
    assert (
        "20 of 24 rows: those with the highest test accuracy at best validation epoch, and the best baseline"
        in some
    )
    assert "--all</code> draws them all" in some
    assert "of 24 rows" not in every
    assert "--all" not in every
    table = Page(some).tables["differences"]
    assert table[0] == ["key", "values", "value (rows that have it)", "why"]
    assert ["rule", "2", "bp (23), shallow (1)", "tells rows apart"] in table
    (decay,) = [row for row in table if row[0] == "optimizer.weight_decay"]
    assert decay[1:] == ["2", "0.0005 (23), 0.1 (1)", "follows from rule: 0.0005 for bp; 0.1 for shallow"]
    assert len(Page(some).tables["comparison"]) == 1 + 24


def test_each_data_set_has_rows_among_the_drawn_ones(factory: Factory, call: Call):
    for i in range(22):
        for data, low in (("cora", 0.6), ("mnist", 0.9)):
            accuracy = low + 0.001 * i
            factory.run(data=data, accuracy=accuracy, config={"optimizer.lr": 0.001 * (i + 1)})
    result = summarise([factory.root])
    groups, about = choose(result, [[group] for group in result.groups], 20, "rows")
    assert (
        about
        == "20 of 44 rows: those with the highest test accuracy at best validation epoch of each data set"
    )
    assert {data: sum(group.data == data for group in groups) for data in ("cora", "mnist")} == {
        "cora": 10,
        "mnist": 10,
    }
    assert min(group.mean or 0 for group in groups) > 0.611


def test_keys_that_one_device_has_are_folded_away(factory: Factory, call: Call):
    for device in ("cpu", "opu_sim"):
        for lr in (0.1, 0.2):
            overrides = [f"device={device}", f"optimizer.lr={lr}"]
            factory.run(device=device, config={"optimizer.lr": lr}, overrides=overrides)
    call("report")
    page = Path("dfa-report.html").read_text("utf-8")
    tables = Page(page).tables
    assert [row[0] for row in tables["differences"]] == ["key", "device", "optimizer.lr"]
    assert ["device.threshold", "–", "–", "0.1", "0.1"] in tables["folded"]
    assert re.search(r"<details><summary>\d+ keys? that only some rows have", page)
    assert "device=opu_sim" in page[page.index("<details>") :]
    assert "A value in <span" in page


ODD_VALUES = ["absent", None, "auto", True, {"low": 0.1}, -0.5]


@pytest.mark.parametrize("value", ODD_VALUES, ids=str)
def test_one_odd_run_breaks_neither_the_page_nor_a_figure(factory: Factory, call: Call, value: object):
    """Runs with two numbers of a key, and one that lacks it or has something else there."""
    for dampening in (0.1, 0.2):
        for seed in range(2):
            factory.run(seed=seed, config={"optimizer.dampening": dampening})
    factory.run(accuracy=0.66, config={} if value == "absent" else {"optimizer.dampening": value})
    call("report")
    page = Path("dfa-report.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") == 3
    call("plot", "--x", "optimizer.dampening", "--out", "x.svg")
