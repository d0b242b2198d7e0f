"""What docs/opu.md says of drift follows from the lines of the experiment `drift`."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.config.compose import compose_sweep
from dfa_cli.config.identity import identity
from studies.results import drift, page
from studies.results.table import COLUMNS, Row, line, read

ROOT = Path(__file__).resolve().parents[2]
LOSS = {"3": 20.0, "10": 6.0, "30": 1.5, "100": 0.5, "300": 0.0}  # points


def made() -> list[Row]:
    """Make rows of all kinds of runs. The accuracy falls with the drift, by twice as much at four blocks."""
    rows = []
    for hidden, factor in (("64", 1.0), ("64 64 64", 2.0)):
        base = {"experiment": "drift", "model.hidden": hidden, "status": "completed", "data": "cora"}
        drifting = {"device": "opu_sim", "device.drift.walk": "0", "device.drift.jitter": "0"}
        drifting |= {"frames": "20000", "last_epoch": "100"}  # 0.1 s of light for each epoch
        kinds: list[tuple[Row, float]] = [
            ({"device": "cpu"}, 0.0),
            ({"device": "opu_sim", "drift": "none"}, 0.0),
            *(({**drifting, "drift": "medium", drift.TAU: tau}, loss) for tau, loss in LOSS.items()),
            *(({**drifting, "drift": "reference", drift.WALK: w}, 8 * float(w)) for w in ("0.1", "1")),
            *(({**drifting, "drift": "reference", drift.JITTER: j}, 1.5) for j in ("0.1", "3")),
        ]
        for kind, loss in kinds:
            for seed in range(3):
                test = {"seed": str(seed), "test": str(0.8 - factor * loss / 100 + seed / 1000)}
                rows.append(dict.fromkeys(COLUMNS, "") | base | kind | test)
    return rows


def test_the_tolerance_is_the_strongest_drift_within_two_points() -> None:
    rows = made()
    assert [drift.tolerated(rows, "64", key) for key in drift.WORDS] == ["30", "0.1", "3"]
    assert [drift.tolerated(rows, "64 64 64", key) for key in drift.WORDS] == ["100", "0.1", None]
    text = drift.text(rows)
    assert "| `drift.tau=10` | 74.1 ± 0.1 | -6.0 [-6.0, -6.0] | 68.1 ± 0.1 | -12.0 [-12.0, -12.0] |" in text
    assert (
        "- with 4 blocks, from a coherence time of 100 steps on, 10.0 s of modelled light; up to a walk of 0.1 "
        "radians per root step;" in text
    )
    assert drift.text([]) == "This experiment has not been run yet."
    assert len(drift.figure(rows).axes) == 3


def test_the_lines_of_the_experiment_have_the_keys_by_which_they_are_chosen() -> None:
    from dfa_cli.records.run import Run

    rows = []
    for job in compose_sweep(["experiment=drift"]):
        record = {
            "choices": job.choices,
            "config": job.config,
            "identity": identity(job.config),
            "projection": {},
            "status": "completed",
        }
        rows.append(line("drift", Run("", record)))
    assert len({row["identity"] for row in rows}) == len(rows)
    for hidden in drift.DEPTHS:
        runs = [drift.at_depth(rows, hidden), drift.at_depth(rows, hidden, "cpu")]
        runs += [some for key in drift.WORDS for some in drift.with_drift(rows, hidden, key).values()]
        assert [len(some) for some in runs] == [10] * 17


def test_the_page_is_made_from_the_table() -> None:
    text = (ROOT / "docs" / "opu.md").read_text("utf-8")
    rows = read(ROOT / "docs" / "results.csv")
    assert text == page.with_drift(text, rows), "scripts/reproduce --page writes it"
