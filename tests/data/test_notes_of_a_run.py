"""Notes about raw files that a run writes while it reads them."""

from __future__ import annotations

import pytest
from program import Dfa

from dfa_cli.data.source import Source


def test_a_corrupt_copy_is_reported_on_the_terminal_and_in_the_log(dfa: Dfa) -> None:
    if Source.default().where("cora") == "to be fetched":
        pytest.skip("no copy of cora on this machine")
    cache = dfa.root / "damaged"
    file = cache / "Cora" / "raw" / "ind.cora.x"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not what it was")
    answer = dfa.train("model=gcn", "epochs=1", f"data_dir={cache}")
    assert answer.code == 0, answer.err
    assert "note: " in answer.err
    assert "ind.cora.x" in answer.err
    (run,) = dfa.runs()
    assert "ind.cora.x" in run.log
