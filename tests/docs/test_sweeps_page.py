"""docs/sweeps.md lists every experiment of conf/, each beside the page that tells of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_every_experiment_is_listed_beside_the_page_that_tells_of_it() -> None:
    page = (DOCS / "sweeps.md").read_text(encoding="utf-8")
    found = re.search(r"^These experiments are shipped.*?\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert found
    names: list[str] = []
    for item in re.split(r"^- ", found[1], flags=re.MULTILINE)[1:]:
        links = re.findall(r"\]\(([^)#]+)\)", item)
        assert len(links) == 1, item
        told = (DOCS / links[0]).read_text(encoding="utf-8")
        for name in set(re.findall(r"`(\w+)`", item)):
            names.append(name)
            assert re.search(rf"experiment={name}\b", told), f"{links[0]} does not tell of {name}"
    assert sorted(names) == sorted(file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml"))
