"""The pages and README.md show what docs/*.csv holds, and conf/tuned holds what the searches chose."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from omegaconf import OmegaConf
from program import Dfa

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_sweep
from dfa_cli.config.identity import identity
from dfa_cli.config.spec import RunSpec
from studies.results import claims as results_claims
from studies.results import encoding_choice
from studies.results import page as results_page
from studies.results.depth_choice import choices as depth_choices
from studies.results.depth_choice import experiment as depth_tuned
from studies.results.reproduce import DEPTH_TUNED
from studies.results.reproduce import words as words_of
from studies.results.selection import EARLIER_OPTICS, ENCODING, INCOMPLETE, KNOBS
from studies.results.table import COLUMNS, Row, collect, read, write
from studies.results.tuning import choices, searched, tried

ROOT = Path(__file__).resolve().parents[2]
CITED = {"cora", "citeseer", "pubmed"}
RESULTS, TUNING = read(ROOT / "docs" / "results.csv"), read(ROOT / "docs" / "tuning.csv")


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def make_rows(accuracies: dict[tuple[str, str], list[float]], **more: str) -> list[Row]:
    """Make rows of MNIST's main runs with these accuracies for each rule and device."""
    rows = []
    for (rule, device), values in accuracies.items():
        for seed, value in enumerate(values):
            row = dict.fromkeys(COLUMNS, "")
            row |= {"experiment": "mnist_fc", "model": "fc", "data": "mnist", "rule": rule, "device": device}
            row |= {"readout": "off_axis" if device == "opu_sim" else "", "model.hidden": "1024 1024"}
            row |= {"encoding": ENCODING if device == "opu_sim" else ""}
            row |= {
                "status": "completed",
                "seed": str(seed),
                "test": str(value),
                "identity": f"{rule}{device}{seed}",
            }
            rows.append(row | more)
    return rows


@pytest.fixture(
    scope="module", params=sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))
)
def experiment(request: pytest.FixtureRequest) -> tuple[str, list[RunSpec]]:
    """The name of an experiment and its jobs. They are composed once, which takes up to half a minute."""
    name = request.param
    more = words_of(name)
    if name == "citation_gcn":
        more = [f"data={','.join(sorted({r['data'] for r in RESULTS} & CITED))}"]
    return name, compose_sweep([f"experiment={name}", "compute=cpu", *more])


class TestExperiments:
    @pytest.mark.slow
    def test_no_seed_serves_both_choosing_and_reporting(self, experiment: tuple[str, list[RunSpec]]) -> None:
        name, jobs = experiment
        assert len(jobs) > 1
        chooses = name.startswith("tuning")
        assert {one.config["seed"] >= 100 for one in jobs} == {chooses}
        if chooses and name not in (
            "tuning_encoding",
            "tuning_depth",
        ):  # they search other keys than conf/tuned has
            read = {one.choices.get("tuned") for one in jobs}
            assert read == {None}, "a search that starts from tuned values would only find them again"

    @pytest.mark.slow
    def test_the_committed_lines_are_the_runs_that_it_makes_today(
        self, experiment: tuple[str, list[RunSpec]]
    ) -> None:
        name, jobs = experiment
        rows = [row for row in (*RESULTS, *TUNING) if row["experiment"] == name]
        if not rows:
            pytest.skip("no results of it are on the page")
        today = {identity(resolve_auto(job.config), job.code.checksums) for job in jobs}
        different = [row for row in rows if row["identity"] not in today]
        if name in EARLIER_OPTICS:
            assert different, "it was repeated, so it is not of earlier optics any more"
            assert "opu_sim" in {row["device"] for row in different}
        else:
            assert not different
            assert (len(rows) < len(today)) == (name in INCOMPLETE)


class TestCommittedFiles:
    def test_the_page_is_made_from_the_table(self) -> None:
        assert text("docs/results.md") == results_page.page(RESULTS), "scripts/reproduce --page writes it"

    def test_the_results_of_the_readme_are_made_from_the_table(self) -> None:
        readme = text("README.md")
        assert readme == results_page.with_results(readme, RESULTS), "scripts/reproduce --page writes them"

    def test_the_table_of_tuning_is_made_from_the_searches(self) -> None:
        tuning = text("docs/tuning.md")
        assert tuning == results_page.with_tuning(tuning, TUNING), "scripts/reproduce --page writes it"

    def test_every_line_names_its_identity_commit_and_torch(self) -> None:
        assert RESULTS
        for row in (*RESULTS, *TUNING):
            assert len(row["identity"]) == 16
            assert len(row["commit"]) == 12
            assert row["dirty"] == "False"
            assert row["torch"]
            assert row["status"] in ("completed", "failed")

    def test_tuning_and_results_use_different_seeds(self) -> None:
        assert max(int(row["seed"]) for row in RESULTS) < 100 <= min(int(row["seed"]) for row in TUNING)

    def test_every_figure_exists(self) -> None:
        for line in text("docs/results.md").splitlines():
            if line.startswith("!["):
                assert (ROOT / "docs" / line.partition("(")[2].rstrip(")")).stat().st_size > 1000

    @pytest.mark.skipif(not encoding_choice.candidates(TUNING), reason="the encodings were not searched yet")
    def test_the_default_encoding_is_the_one_that_was_chosen(self) -> None:
        chosen = encoding_choice.chosen(TUNING)
        assert chosen is not None
        (job,) = compose_sweep(["device=opu_sim"])
        removes = job.config["device"]["remove_sum"]
        assert job.choices["device/encoding"] + (", sum removed" if removes else "") == chosen.name

    @pytest.mark.skipif(not depth_choices(TUNING), reason="four blocks were not searched yet")
    def test_the_experiment_at_four_blocks_has_the_values_that_were_chosen(self) -> None:
        assert DEPTH_TUNED.read_text("utf-8") == depth_tuned(TUNING)

    @pytest.mark.parametrize("key", list(choices(TUNING)), ids="_".join)
    def test_tuned_files_hold_what_the_searches_chose(self, key: tuple[str, str, str, str]) -> None:
        path = ROOT / "conf" / "tuned" / f"{'_'.join(key[1:])}.yaml"
        held: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
        chosen = choices(TUNING)[key][0]
        keys = list(choices(TUNING))
        later = [one for one in keys[keys.index(key) + 1 :] if one[1:] == key[1:]]
        searched_again = {setting for one in later for setting in searched(TUNING, *one)}
        for setting in set(searched(TUNING, *key)) - searched_again:
            node: Any = held
            for part in setting.split("."):
                node = node[part]
            got = chosen[setting]
            assert str(node) == got or float(node) == float(got), (
                f"{path.name}: {setting} {node}, chosen {got}"
            )


class TestThePage:
    """The page, made from runs whose means are known."""

    ROWS = make_rows(
        {
            ("bp", ""): [0.980, 0.984],
            ("dfa", "cpu"): [0.978, 0.980],
            ("dfa", "opu_sim"): [0.970, 0.974],
            ("shallow", ""): [0.950, 0.952],
        }
    )

    def test_gives_mean_and_deviation(self) -> None:
        page = results_page.page(self.ROWS)
        assert f"| `bp` | {mean([98.0, 98.4]):.1f} ± {stdev([98.0, 98.4]):.1f} |" in page
        assert "| `shallow` | 95.1 ± 0.1 |" in page
        assert "| quoted: optical, Launay et al. 2020 | 95.8 |" in page

    def test_names_the_claims_that_do_not_hold(self) -> None:
        lines = results_page.page(self.ROWS).splitlines()
        optics = next(line for line in lines if "good enough" in line)
        assert "-0.7 |" in optics, "two seeds make no interval"
        assert optics.endswith("| **no** |"), "0.7 points are beyond 0.5"
        (last,) = [line for line in lines if "last block only" in line]
        assert "+2.8 |" in last
        assert last.endswith("| **no** |"), "2.8 points are below 3"

    def test_counts_failures(self) -> None:
        rows = [*self.ROWS, *make_rows({("dfa", "cpu"): [0.0]}, status="failed", test="")]
        assert "| `dfa` on `cpu` | 97.9 ± 0.1 (1 of 3 failed) |" in results_page.page(rows)

    def test_a_setting_at_which_every_run_failed_is_broken(self) -> None:
        usual = {knob: value for knob, (_, value) in KNOBS.items()}
        rows = []
        for data in ("cora", "mnist"):
            for bits, status in (("8", "completed"), ("1", "failed")):
                settings = {**usual, "device.camera.bits": bits, "status": status}
                of = make_rows({("dfa", "opu_sim"): [0.9]}, experiment="noise", data=data, **settings)
                rows += [{**row, "test": row["test"] if status == "completed" else ""} for row in of]
        assert "Broken: Cora at 1; MNIST at 1." in results_page.page(rows)

    def test_has_no_section_for_an_experiment_that_was_not_run(self) -> None:
        page = results_page.page(self.ROWS)
        assert "experiment=mnist_fc" in page
        assert "experiment=noise" not in page

    def test_chooses_by_validation_alone(self) -> None:
        rows = [
            *make_rows({("dfa", "cpu"): [0.99]}, validation="0.90", epochs="5", **{"optimizer.lr": "0.1"}),
            *make_rows({("dfa", "cpu"): [0.50]}, validation="0.91", epochs="5", **{"optimizer.lr": "0.2"}),
        ]
        (chosen,) = choices(rows).values()
        assert chosen[0]["optimizer.lr"] == "0.2"
        (line,) = tried(rows)
        assert line[2:] == ("optimizer.lr 0.1, **0.2**", "2", "1", "5", "91.0")


def search_row(encoding: str, accuracies: tuple[float, float], frames: int, seed: int = 100) -> Row:
    """Make a row of the search for an encoding. `accuracies`: at the best epoch and at the last one."""
    row = dict.fromkeys(COLUMNS, "") | {"experiment": "tuning_encoding", "status": "completed"}
    row |= {"model": "gcn", "data": "cora", "rule": "dfa", "model.hidden": "64", "seed": str(seed)}
    row |= {"device": "opu_sim" if encoding else "cpu", "encoding": encoding, "last_epoch": "10"}
    row |= {"validation": str(accuracies[0]), "validation_at_last_epoch": str(accuracies[1])}
    return row | {"frames": str(frames)}


class TestTheChoiceOfTheEncoding:
    def test_counts_the_best_epoch_and_the_last_one(self) -> None:
        rows = [
            search_row("ternary", (0.80, 0.60), 1000),
            search_row("dithered", (0.79, 0.75), 1000),
            search_row("two_scales", (0.81, 0.70), 1000),
        ]
        chosen = encoding_choice.chosen(rows)
        assert chosen is not None
        assert (chosen.name, chosen.best, chosen.last) == ("dithered", pytest.approx(79), pytest.approx(75))

    def test_takes_none_that_needs_too_many_frames(self) -> None:
        rows = [search_row("ternary", (0.8, 0.6), 1000), search_row("bitplanes", (0.9, 0.9), 1251)]
        assert [one.frames for one in encoding_choice.candidates(rows)] == [1.0, pytest.approx(1.251)]
        chosen = encoding_choice.chosen(rows)
        assert chosen is not None
        assert chosen.name == "ternary"

    def test_says_how_far_it_is_from_exact_errors(self) -> None:
        rows = [
            search_row(name, (accuracy, accuracy), 1000, seed)
            for seed in (100, 101)
            for name, accuracy in (("ternary", 0.70 + 0.01 * (seed - 100)), ("", 0.75))
        ]
        (ternary,) = encoding_choice.candidates(rows)
        assert ternary.less_exact == (pytest.approx(-4.5), None), "two seeds make no interval"
        assert encoding_choice.lines(rows)[-1][:3] == ("exact errors, `cpu`", "75.0", "75.0")


class TestTheTable:
    """The table of an experiment, made from the records of its runs."""

    WORDS = ("rule=bp,dfa", "device=opu_sim", "seed=0", "epochs=1")

    def test_has_a_line_for_each_configuration_and_counts_what_is_missing(
        self, dfa: Dfa, tmp_path: Path
    ) -> None:
        run = dfa.run("experiment=quickstart", "rule=dfa", *self.WORDS[1:])
        (row,), missing = collect("quickstart", self.WORDS, dfa.outputs)
        assert missing == 1, "rule=bp was not run"
        result = run.record["result"]
        assert row["identity"] == run.record["identity"]
        assert (row["rule"], row["device"], row["readout"], row["seed"]) == (
            "dfa",
            "opu_sim",
            "statistical",
            "0",
        )
        assert float(row["test"]) == pytest.approx(result["test_accuracy_at_best_validation"])
        assert float(row["optimizer.lr"]) == run.record["config"]["optimizer"]["lr"]
        write(tmp_path / "table.csv", [row])
        assert read(tmp_path / "table.csv") == [row]

    def test_a_line_of_an_earlier_table_stands_in_for_a_run_that_is_not_there(self, dfa: Dfa) -> None:
        dfa.run("experiment=quickstart", "rule=bp", *self.WORDS[1:])
        (row,), _ = collect("quickstart", ("rule=bp", *self.WORDS[1:]), dfa.outputs)
        earlier = {**row, "experiment": "another", "test": "0.5"}
        empty = dfa.outputs / "empty"
        empty.mkdir()
        (line,), missing = collect("quickstart", ("rule=bp", *self.WORDS[1:]), empty, [earlier])
        assert (line, missing) == ({**earlier, "experiment": "quickstart"}, 0)
        (line,), _ = collect("quickstart", ("rule=bp", *self.WORDS[1:]), dfa.outputs, [earlier])
        assert line == row, "a run that is there has precedence"

    def test_a_rule_that_projects_nothing_has_no_device(self, dfa: Dfa) -> None:
        dfa.run("experiment=quickstart", "rule=bp", *self.WORDS[1:])
        (row,), _ = collect("quickstart", self.WORDS, dfa.outputs)
        assert (row["rule"], row["device"], row["readout"], row["device.camera.bits"]) == ("bp", "", "", "")


def test_the_bars_of_independent_blocks_are_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = text("docs/independent-blocks.md")
    assert all(f"| {name} |" in committed for name in results_claims.OF_BLOCKS)
    page = tmp_path / "page.md"
    page.write_text("| dfa's step / bp's best | 0.80 [0.70, 0.90] | at most 0.75 | **not met** |\n")
    monkeypatch.setattr(results_claims, "BLOCKS_PAGE", page)
    ((_, *cells),) = results_claims.claims([])
    assert cells == ["0.80 [0.70, 0.90]", "at most 0.75", "**no**"]
