"""Which runs make a row of a comparison, which of them count, and what the row is tested against."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from reading import Call
from run_factory import Factory
from scipy import stats

from dfa_cli.comparison.comparison import Comparison, summarise
from dfa_cli.comparison.group import Group
from dfa_cli.console.values import MISSING
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import TUNED, is_tuned
from dfa_cli.records.run import flatten


def row(result: Comparison, *words: str) -> Group:
    """Returns the only row that has all of `words` in its key."""
    found = [g for g in result.groups if set(words) <= {str(held) for held in g.key.values()}]
    assert len(found) == 1, [g.key for g in result.groups]
    return found[0]


def test_rows_are_made_by_every_key_that_differs_except_the_seed(swept: Path):
    result = summarise([swept])
    assert result.columns == ["rule", "device"]
    assert [g.label() for g in result.groups] == ["bp", "dfa, cpu", "dfa, opu_sim", "shallow"]
    assert result.constant["data"] == "cora"
    assert result.constant["model"] == "gcn"
    assert result.constant["epochs"] == 20
    assert "threads" not in result.constant
    # Tuned values differ as a consequence of the rule. They are listed below the table, and make no rows.
    assert "optimizer.lr" in result.dependent_keys
    assert "tuned" not in result.columns + result.dependent_keys


def test_statistics_of_a_row(factory: Factory):
    values = [0.81, 0.815, 0.822, 0.807]
    for seed, value in enumerate(values):
        factory.run(seed=seed, accuracy=value)
    (group,) = summarise([factory.root]).groups
    assert group.n == 4
    assert group.mean == pytest.approx(np.mean(values))
    assert group.std == pytest.approx(np.std(values, ddof=1))
    assert group.best == 0.822
    mean = float(np.mean(values))
    logit, error = np.log(mean / (1 - mean)), stats.sem(values) / (mean * (1 - mean))
    assert group.ci == pytest.approx(1 / (1 + np.exp(-np.array(stats.t.interval(0.95, 3, logit, error)))))


def test_lower_is_better_for_a_loss(factory: Factory):
    for seed, loss in enumerate((0.5, 0.4, 0.6)):
        folder = factory.run(seed=seed)
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(
            text.replace('"last_train_loss": 0.61', f'"last_train_loss": {loss}')
        )
    (group,) = summarise([factory.root], metric="loss").groups
    assert group.best == 0.4


def test_a_row_lists_its_failed_running_and_missing_seeds(factory: Factory):
    for seed in range(8):
        factory.run(rule="bp", seed=seed, sweep="sweep")
    for seed in (0, 1, 2):
        factory.run(rule="dfa", seed=seed, sweep="sweep")
    for seed, status in ((3, "failed"), (4, "interrupted"), (5, "running")):
        factory.run(rule="dfa", seed=seed, status=status, sweep="sweep")
    group = row(summarise([factory.root]), "dfa")
    assert group.n == 3
    assert group.absent == {"failed": ["3"], "interrupted": ["4"], "running": ["5"], "missing": ["6", "7"]}
    assert row(summarise([factory.root]), "bp").absent == {}


def test_a_seed_is_missing_only_if_the_same_sweep_has_it_on_the_same_data(factory: Factory):
    for seed in range(5):
        factory.run(data="cora", seed=seed, sweep="sweep")
    for seed in range(2):
        factory.run(data="mnist", model="fc", seed=seed, sweep="sweep")
    factory.run(rule="bp", seed=0)
    factory.run(rule="shallow", seed=0, sweep="other")
    assert all(group.absent == {} for group in summarise([factory.root]).groups)
    factory.run(rule="bp", seed=1, sweep="sweep")
    assert row(summarise([factory.root]), "bp").absent == {"missing": ["2", "3", "4"]}


def test_a_failed_seed_that_was_run_again_counts(factory: Factory):
    factory.run(seed=0, status="failed")
    factory.run(seed=0, accuracy=0.8)
    factory.run(seed=1, accuracy=0.9)
    factory.run(seed=1, status="failed")
    (group,) = summarise([factory.root]).groups
    assert (group.n, group.absent) == (2, {})


def test_a_repeated_run_counts_once_and_a_note_says_so(factory: Factory):
    factory.run(seed=0, accuracy=0.5)
    factory.run(seed=0, accuracy=0.8)
    factory.run(seed=1, accuracy=0.82)
    result = summarise([factory.root])
    assert sorted(result.groups[0].values) == [0.8, 0.82]
    assert any("1 completed run has a newer run" in note for note in result.notes())


def test_one_run_alone_has_no_spread(factory: Factory):
    factory.run(accuracy=0.8)
    (group,) = summarise([factory.root]).groups
    assert (group.n, group.std, group.ci) == (1, None, None)


def test_a_key_set_by_hand_is_a_column(factory: Factory):
    for lr in (0.01, 0.1):
        for seed in range(2):
            factory.run(seed=seed, config={"optimizer.lr": lr}, overrides=[f"optimizer.lr={lr}"])
    result = summarise([factory.root])
    assert result.columns == ["optimizer.lr"]
    assert [g.key["optimizer.lr"] for g in result.groups] == [0.01, 0.1]


def test_a_key_that_varies_within_a_choice_is_a_column(factory: Factory):
    for threshold in (0.05, 0.2):
        factory.run(device="opu_sim", config={"device.threshold": threshold}, overrides=[])
    factory.run(device="cpu")
    result = summarise([factory.root])
    assert result.columns == ["device", "device.threshold"]
    assert row(result, "cpu").key["device.threshold"] is MISSING


def test_a_nested_choice_is_a_column_only_if_it_varies_within_its_parent(factory: Factory):
    factory.run(device="cpu")
    factory.run(device="opu_sim", choices={"device/readout": "off_axis"}, config={"device.readout.k": 4})
    assert summarise([factory.root]).columns == ["device"]
    factory.run(device="opu_sim", choices={"device/readout": "ideal"}, config={"device.readout.k": 1})
    assert summarise([factory.root]).columns == ["device", "device/readout"]


def test_a_seed_equal_to_the_run_seed_makes_no_rows_and_another_one_does(factory: Factory):
    for matrix_seed in (3, 4):
        for seed in range(2):
            factory.run(seed=seed, config={"device.matrix_seed": matrix_seed})
    result = summarise([factory.root])
    assert result.columns == ["device.matrix_seed"]
    assert [g.n for g in result.groups] == [2, 2]
    over_both = summarise([factory.root], over=["seed", "device.matrix_seed"])
    assert [g.n for g in over_both.groups] == [4]


def test_the_device_does_not_apply_where_nothing_is_projected(factory: Factory):
    for seed in range(2):
        factory.run(rule="bp", device=("cpu", "opu_sim")[seed], seed=seed)
        factory.run(rule="dfa", device="cpu", seed=seed)
    result = summarise([factory.root])
    assert result.columns == ["rule"]
    assert row(result, "bp").n == 2


def test_irrelevant_keys_make_no_rows(factory: Factory):
    for threads in (1, 2):
        factory.run(
            seed=threads, config={"threads": threads, "run_id": f"x{threads}", "outputs": f"o{threads}"}
        )
    result = summarise([factory.root])
    assert (result.columns, len(result.groups)) == ([], 1)


def test_a_note_names_the_keys_that_by_leaves_out(swept: Path):
    result = summarise([swept], by=["rule"])
    assert [g.label() for g in result.groups] == ["bp", "dfa", "shallow"]
    assert row(result, "dfa").n == 11
    assert any("averages over keys that --by does not name: device" in note for note in result.notes())


def test_baseline_is_paired_over_common_seeds(factory: Factory):
    a = [0.81, 0.82, 0.80, 0.815, 0.825, 0.79]
    b = [0.80, 0.812, 0.806, 0.80, 0.81, 0.785, 0.1]
    for seed, value in enumerate(a):
        factory.run(rule="bp", seed=seed, accuracy=value)
    for seed, value in enumerate(b):
        factory.run(rule="dfa", seed=seed, accuracy=value)
    for test in ("t", "wilcoxon"):
        difference = row(summarise([factory.root], baseline="rule=bp", test=test), "dfa").difference
        assert difference is not None
        assert difference.n == 6
        assert difference.mean == pytest.approx(np.mean(b[:6]) - np.mean(a))
        down: Any = np.subtract(a, b[:6]).round(9)
        expected: Any = stats.ttest_1samp(down, 0) if test == "t" else stats.wilcoxon(down)
        assert difference.p == pytest.approx(expected.pvalue)


def test_every_row_gets_the_baseline_of_its_own_data_and_model(factory: Factory):
    level = {"cora": 0.8, "citeseer": 0.7}
    for data, high in level.items():
        for rule in ("bp", "dfa"):
            for seed in range(5):
                down = 0.01 if rule == "dfa" else 0.0
                factory.run(
                    data=data,
                    rule=rule,
                    seed=seed,
                    accuracy=high - down + seed * 0.001 * (1 + (rule == "dfa")),
                )
    result = summarise([factory.root], baseline="rule=bp")
    for data in level:
        difference = row(result, data, "dfa").difference
        assert difference is not None
        assert difference.mean == pytest.approx(-0.008)


def test_data_sets_are_not_compared_with_each_other(factory: Factory):
    for seed in range(5):
        factory.run(data="cora", rule="bp", seed=seed)
        factory.run(data="citeseer", rule="dfa", seed=seed)
    result = summarise([factory.root], baseline="rule=bp")
    assert row(result, "dfa").difference is None
    assert (
        "The other row is not compared with rule=bp, because data differs: citeseer, cora." in result.notes()
    )
    named = summarise([factory.root], baseline="rule=bp and data=cora")
    assert row(named, "dfa").difference is not None


def test_a_row_without_a_common_seed_has_no_difference(factory: Factory):
    for seed in range(5):
        factory.run(rule="bp", seed=seed)
        factory.run(rule="dfa", seed=seed + 10)
    result = summarise([factory.root], baseline="rule=bp")
    assert row(result, "dfa").difference is None
    assert "The other row is not compared with rule=bp, because there is no seed in common." in result.notes()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"config": {"epochs": 1}}, "epochs differ: 1, 20"),
        ({"config": {"model.widths": [64]}}, "model.widths differ: [64], [16]"),
        ({"config": {"optimizer.lr": 0.3, "model.dropout": 0.1, "schedule": "linear", "batch_size": 7}}, ""),
        ({"config": {"patience": 5}}, "patience differs: 5, null"),
        ({"config": {"data.noise": 0.5}}, "data.noise differs: 0.5, –"),
    ],
)
def test_a_difference_is_taken_only_where_nothing_but_tuned_values_differ(
    factory: Factory, changed: dict[str, Any], reason: str
):
    for seed in range(3):
        factory.run(rule="bp", seed=seed)
        factory.run(rule="dfa", seed=seed, **changed)
    group = row(summarise([factory.root], baseline="rule=bp"), "dfa")
    assert group.why_no_difference == reason
    assert (group.difference is None) == bool(reason)
    if reason:
        key = next(iter(changed["config"]))
        if key.startswith("data."):
            assert not group.remedy, "results on other data are not compared"
        else:
            assert group.remedy.startswith(f"rule=bp and {key}=")
            named = row(summarise([factory.root], baseline=group.remedy), "dfa")
            assert named.difference is not None, "a key that --baseline names may differ"


def test_another_split_of_the_data_makes_no_difference(factory: Factory):
    for seed in range(3):
        factory.run(rule="bp", seed=seed)
        run = factory.run(rule="dfa", seed=seed) / "run.json"
        run.write_text(run.read_text().replace("public Planetoid split", "random split"))
    group = row(summarise([factory.root], baseline="rule=bp"), "dfa")
    assert group.difference is None
    assert group.why_no_difference.startswith("split differs: random split (140 train")


def test_the_baseline_with_the_same_width_is_chosen(factory: Factory):
    for width, low in ((16, 0.7), (64, 0.8)):
        for seed in range(3):
            for rule, down in (("bp", 0.0), ("dfa", 0.01)):
                factory.run(
                    rule=rule,
                    seed=seed,
                    accuracy=low - down + 0.001 * seed,
                    config={"model.widths": [width]},
                    overrides=[f"model.widths=[{width}]"],
                )
    result = summarise([factory.root], baseline="rule=bp")
    differences = [group.difference for group in result.groups if group.key["rule"] == "dfa"]
    assert [difference and difference.mean for difference in differences] == pytest.approx([-0.01, -0.01])


def test_what_is_not_compared_is_a_sentence_with_what_to_type(factory: Factory, call: Call):
    for seed in range(5):
        factory.run(rule="bp", seed=seed)
        factory.run(rule="dfa", seed=seed, epochs=1, config={"model.widths": [64]})
        factory.run(rule="shallow", seed=seed)
    said = call("compare", "--baseline", "rule=bp").stdout
    typed = "rule=bp and epochs=20 and model.widths=[16]"
    assert (
        "The row dfa is not compared with rule=bp, because epochs differ: 1, 20; model.widths differ: [64], [16]. "
        f'To compare it all the same, type --baseline "{typed}".'
    ) in said
    assert "not compared" not in call("compare", "--baseline", typed).stdout


def test_rows_that_average_over_an_option_have_its_values_in_common(swept: Path, call: Call):
    rows = json.loads(call("compare", "--over", "rule", "--format", "json").stdout)["groups"]
    assert not any("rule" in one for one in rows)
    both = [one for one in rows if one["device"] is None and one["n"] == 2]
    assert [one["seed"] for one in both] == [0, 1, 2, 3, 4]
    assert both[0]["mean"] == pytest.approx(
        np.mean([one["mean"] for one in _of_seed_0(call) if one["device"] is None])
    )
    said = call("compare", "--over", "rule", "--baseline", "device=cpu").stdout
    assert "fewer than 5 rules in common" in said
    assert "missing" not in said, "no sweep trains each row with each rule"
    alone = call("compare", "--over", "rule", "--baseline", "seed=0", "--where", "rule=dfa and seed<2").stdout
    assert "seed 1 is not compared" not in alone
    lonely = call("compare", "--over", "model.dropout", "--baseline", "seed=0", "--where", "rule=bp").stdout
    assert "no seed in common" not in lonely


def _of_seed_0(call: Call) -> list[dict[str, Any]]:
    return json.loads(call("compare", "--where", "seed=0", "--format", "json").stdout)["groups"]


def test_a_row_named_device_auto_is_that_of_the_device_it_meant(factory: Factory, call: Call):
    where = {"device.where": "cpu"}
    factory.run(seed=0, device="auto", config=where, sweep="a")
    factory.run(seed=0, rule="bp", config=where, sweep="b")
    for seed in (1, 2):
        factory.run(seed=seed, config=where, sweep="b")
    said = call("compare", "--where", "rule=dfa").stdout
    assert "device cpu" in said
    assert "auto," not in said.replace("compute auto", "")
    assert "missing" not in said
    assert (
        json.loads(call("compare", "--where", "rule=dfa", "--format", "json").stdout)["groups"][0]["n"] == 3
    )


def test_two_pairs_show_both_differences_and_one_pair_is_called_so(factory: Factory, call: Call):
    for seed in range(4):
        factory.run(rule="bp", seed=seed, accuracy=0.8)
    for rule, seed, accuracy in (
        ("dfa", 0, 0.79),
        ("dfa", 1, 0.77),
        ("shallow", 0, 0.6),
        ("shallow", 9, 0.5),
    ):
        factory.run(rule=rule, seed=seed, accuracy=accuracy)
    words = ("compare", "--baseline", "rule=bp", "--columns", "n,difference")
    said = call(*words).stdout
    assert re.search(r"dfa +2 +-3\.0, -1\.0\n", said)
    assert re.search(r"shallow +2 +-20\.0 \(1 pair\)\n", said)
    assert "vs rule=bp: the difference of each pair." in said
    assert "-3.0, -1.0" in call(*words, "--format", "md").stdout
    assert "$-$3.0, $-$1.0" in call(*words[:3], "--format", "latex").stdout
    rows = json.loads(call(*words, "--format", "json").stdout)["groups"]
    assert [row["pairs"] for row in rows] == [None, 2, 1]
    factory.run(rule="dfa", seed=2, accuracy=0.78)
    assert (
        "vs rule=bp: the mean difference over common seeds, with its 95 % confidence interval."
        in call(*words).stdout
    )


def test_two_runs_have_no_heading_of_an_interval(factory: Factory, call: Call):
    for seed in range(2):
        factory.run(rule="bp", seed=seed)
        factory.run(rule="dfa", seed=seed)
    said = call("compare").stdout
    assert "both values" in said
    assert "CI" not in said
    factory.run(rule="dfa", seed=2)
    said = call("compare").stdout
    assert "95 % CI" in said
    assert "Two runs have no interval: both values are shown." in said


def test_values_set_by_hand_are_named(factory: Factory, call: Call):
    """A tuned value may differ between a row and its baseline, but one that a user has set is told."""
    for seed in range(3):
        factory.run(
            rule="bp", seed=seed, config={"optimizer.lr": 0.5}, overrides=["rule=bp", "optimizer.lr=0.5"]
        )
        factory.run(rule="dfa", seed=seed)
        config = {"device.threshold": 0.7}
        factory.run(device="opu_sim", seed=seed, config=config, overrides=["device.threshold=0.7"])
    said = call("compare", "--baseline", "rule=bp").stdout
    assert (
        "The other rows are compared with rule=bp although a value was set by hand: optimizer.lr differs: 0.02, 0.5."
    ) in said
    assert "Set by hand, and not the same in all rows: device.threshold (0.7; elsewhere –)." in said
    named = call("compare", "--baseline", "rule=bp and optimizer.lr=0.5").stdout
    assert "although" not in named
    plain = call("compare", "--baseline", "device=cpu", "--where", "rule=dfa").stdout
    assert "although" not in plain


def test_a_rule_without_tuned_values_is_not_said_to_use_some(factory: Factory, call: Call):
    for rule in ("bp", "dfa", "fa"):
        factory.run(rule=rule, choices={"tuned": "none"} if rule == "fa" else {})
    assert (
        "Each rule that has tuned values (conf/tuned, docs/tuning.md) uses its own: lr. There are none for fa.\n"
    ) in call("compare").stdout
    assert "Each rule uses its own tuned values" in call("compare", "--where", "rule!=fa").stdout


def test_an_earlier_record_that_names_a_tuned_file_that_is_not_there_has_no_tuned_values(
    factory: Factory, call: Call
):
    for rule in (
        "bp",
        "dfa",
        "usf",
    ):  # conf/tuned has gcn_pubmed_bp and gcn_pubmed_dfa, but no gcn_pubmed_usf
        factory.run(data="pubmed", rule=rule)
    assert "There are none for usf.\n" in call("compare").stdout
    mine = {"provenance": {"config_dir": "/home/mine"}}
    factory.run(data="cora", rule="bp")
    factory.run(data="cora", rule="own", record=mine)  # gcn_cora_own may lie in that folder
    assert "There are none for" not in call("compare", "--where", "data=cora").stdout


def test_only_keys_that_differ_inside_a_row_are_said_to_be_averaged_over(factory: Factory, call: Call):
    for rule, device, batch_size in (("bp", "cpu", 8), ("dfa", "cpu", 16), ("dfa", "opu_sim", 16)):
        factory.run(rule=rule, device=device, config={"batch_size": batch_size}, overrides=[f"rule={rule}"])
        factory.run(rule=rule, device=device, config={"batch_size": batch_size}, seed=1)
    factory.run(rule="shallow", config={"batch_size": 32})
    factory.run(rule="shallow", config={"batch_size": 64})
    said = call("compare", "--by", "rule", "--where", "rule!=shallow").stdout
    assert "A row also averages over keys that --by does not name: device.\n" in said
    assert "device.threshold" not in said, "it follows from a key that is averaged over"
    said = call("compare", "--by", "rule").stdout
    assert "A row also averages over keys that --by does not name: device, batch_size.\n" in said


def test_keys_that_by_leaves_out_and_that_differ_between_rows_are_named(factory: Factory, call: Call):
    for rule, epochs in (("bp", 5), ("dfa", 9)):
        factory.run(rule=rule, epochs=epochs, overrides=[])
        factory.run(rule=rule, epochs=epochs + (rule == "bp"), seed=1, overrides=[])
    said = call("compare", "--by", "rule", "--where", "seed=0").stdout
    assert "averages" not in said
    assert "These keys differ together with the columns: epochs.\n" in said


def test_frames_and_energy_of_a_row_are_those_of_the_same_runs(factory: Factory, call: Call):
    for seed in range(3):
        factory.run(device="cpu", seed=seed)
    factory.run(device="opu_sim", seed=0)
    said = call("compare", "--by", "rule", "--columns", "n,frames,energy").stdout
    assert re.search(r"dfa +4 +5600 +84\.0 J\n", said), said
    assert (
        "frames and energy (modelled): the mean over the runs that have a value, 1 of 4 in the row dfa.\n"
        in said
    )
    assert (
        "the mean over the runs" not in call("compare", "--by", "device", "--columns", "frames,energy").stdout
    )


def test_a_column_that_is_named_twice_is_there_once(swept: Path, call: Call):
    words = "n,n,frames,frames,snr_db,notes.snr_db,time,steady_seconds"
    head = call("compare", str(swept), "--columns", words).stdout.splitlines()[4]
    assert (
        re.sub(" {2,}", "|", head)
        == "rule|device|n|frames|SNR, calibration pattern, dB|training time|not counted"
    )


def test_options_set_by_hand_are_named_beside_the_column_that_they_belong_to(factory: Factory, call: Call):
    for optimizer, lr in (("adam", 0.01), ("sgd", 0.3)):
        words = {"choices": {"optimizer": optimizer}, "config": {"optimizer.lr": lr}}
        factory.run(**words, overrides=[f"optimizer={optimizer}", f"optimizer.lr={lr}"])
    assert "Set by hand, and not the same in all rows: optimizer.lr (0.01, 0.3)." in call("compare").stdout


def test_values_that_an_experiment_set_are_not_said_to_be_typed(factory: Factory, call: Call):
    """The words of a grid are in the record like typed ones, and a value of another row may follow from its model."""
    words = {"config": {"model.widths": [8, 8]}, "overrides": ["model=gcn", "model.widths=[8,8]"]}
    factory.run(**words, choices={"experiment": "depth"})
    factory.run(model="fc")
    said = call("compare").stdout
    assert (
        "Set by hand or by the experiment, and not the same in all rows: model.widths ([8, 8]; elsewhere [16])."
        in said
    )


def test_values_that_an_experiment_fixes_are_not_called_tuned(factory: Factory, call: Call):
    factory.run(rule="bp", config={"optimizer.lr": 0.003}, choices={"experiment": "quickstart"})
    factory.run(rule="dfa", config={"optimizer.lr": 0.003, "epochs": 7}, choices={"experiment": "quickstart"})
    factory.run(rule="dfa")
    said = call("compare").stdout
    assert "tuned" not in said
    assert "These keys differ together with the columns: optimizer.lr." in said


def test_a_device_that_one_rule_does_not_use_is_not_said_to_be_the_same_in_all_rows(
    factory: Factory, call: Call
):
    for rule in ("bp", "dfa", "shallow"):
        factory.run(rule=rule, config={"device.noise": 0.5}, overrides=[f"rule={rule}", "device.noise=0.5"])
    said = call("compare").stdout
    assert "device cpu (not used by bp and shallow)" in said
    factory.run(rule="fa", config={"rule.needs": "nothing"})
    assert "device cpu (not used by bp, fa and shallow)" in call("compare").stdout
    said = call("compare", "--where", "rule!=fa").stdout
    assert "device.noise 0.5 (not used by bp and shallow)" in said
    assert "not used" not in call("compare", "--where", "rule=dfa").stdout
    assert "device" not in call("compare", "--where", "rule!=dfa").stdout
    (bp,) = [line for line in call("runs").stdout.splitlines() if " bp " in line]
    assert "cpu" not in bp


def test_several_equally_good_baselines_are_named(factory: Factory):
    for seed in range(3):
        for rule in ("bp", "shallow", "dfa"):
            factory.run(rule=rule, seed=seed)
    group = row(summarise([factory.root], baseline="rule=bp or rule=shallow"), "dfa")
    assert group.why_no_difference == "several baselines fit equally well: bp; shallow"
    assert group.remedy == "(rule=bp or rule=shallow) and rule=bp"
    assert row(summarise([factory.root], baseline=group.remedy), "dfa").difference is not None


@pytest.mark.parametrize("rates", [(0.2,), (0.3,), (0.1, 0.2, 0.3)])
def test_what_to_type_is_told_also_where_a_further_key_makes_rows(
    factory: Factory, call: Call, rates: tuple[float, ...]
):
    for seed in range(3):
        for rule, epochs, each in (("bp", 1, (0.1, 0.2)), ("dfa", 5, rates)):
            for lr in each:
                words = {"overrides": [f"optimizer.lr={lr}"], "config": {"optimizer.lr": lr}}
                factory.run(rule=rule, seed=seed, epochs=epochs, **words)
    said = call("compare", "--baseline", "rule=bp").stdout
    assert "because epochs differ: 5, 1. To compare" in said
    (typed,) = set(re.findall(r'type --baseline "([^"]+)"', said))
    assert typed.startswith("rule=bp and epochs=1")
    compared = json.loads(call("compare", "--baseline", typed, "--format", "json").stdout)["groups"]
    assert any(one["difference"] is not None for one in compared if one["rule"] == "dfa")


def test_the_tuned_keys_are_those_that_conf_tuned_sets():
    folder = Path(__file__).parents[2] / "conf" / "tuned"
    found: set[str] = set()
    for file in folder.glob("*.yaml"):
        tree = yaml.safe_load(file.read_text()) or {}
        found |= set(flatten(tree))
    assert {key for key in found if not is_tuned(key)} == {"epochs"}
    assert set(TUNED) <= found


def test_no_test_is_made_with_too_few_seeds(factory: Factory):
    for seed in range(4):
        factory.run(rule="bp", seed=seed, accuracy=0.9 + seed * 0.001)
        factory.run(rule="dfa", seed=seed, accuracy=0.1 + seed * 0.003)
    result = summarise([factory.root], baseline="rule=bp")
    difference = row(result, "dfa").difference
    assert difference is not None
    assert (difference.p, difference.significant) == (None, None)
    assert any("fewer than 5 seeds in common" in note for note in result.notes())


def test_a_baseline_that_matches_nothing_is_answered_with_what_there_is_under_its_keys(factory: Factory):
    for epochs in range(1, 21):
        overrides = [f"model.names={'x' * 100}"]
        factory.run(rule="bp", epochs=epochs, config={"model.names": "x" * 100}, overrides=overrides)
    with pytest.raises(DfaError) as refused:
        summarise([factory.root], baseline="rule=fa and epochs>20")
    assert str(refused.value) == (
        '--baseline "rule=fa and epochs>20" matches no row; '
        "the rows have rule bp; epochs 1, 10, 11, 12, 13, 14, 15, 16 and 12 more values"
    )
    with pytest.raises(DfaError, match=r"the rows have model\.names x{29}…$"):
        summarise([factory.root], only="model.names=y")


def test_a_baseline_cannot_split_a_row(swept: Path):
    with pytest.raises(DfaError, match=r"true for some runs of the row"):
        summarise([swept], baseline="seed<3")


def test_a_baseline_that_is_an_option_alone_is_answered_with_its_key(swept: Path, call: Call):
    with pytest.raises(DfaError, match=r"'bp' is an option of rule.*; type --baseline \"rule=bp\""):
        call("compare", "--baseline", "bp")


def test_rows_hidden_by_only_still_serve_as_the_baseline(swept: Path):
    result = summarise([swept], only="device=opu_sim and rule=dfa", baseline="rule=bp")
    assert len(result.groups) == 1
    assert result.groups[0].difference is not None
    assert result.constant["rule"] == "dfa"
    with pytest.raises(DfaError, match=r'no row fulfils --only "rule=none"'):
        summarise([swept], only="rule=none")


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("mean", "bp", "shallow"),
        ("-mean", "shallow", "bp"),
        ("rule", "bp", "shallow"),
        ("-rule", "shallow", "bp"),
        ("n", "bp", "shallow"),
        ("accuracy", "bp", "shallow"),
        ("best", "bp", "shallow"),
    ],
)
def test_rows_are_sorted_by_a_column(swept: Path, sort: str, first: str, last: str):
    result = summarise([swept], sort=sort, only="device=cpu and not rule=dfa")
    assert (result.groups[0].key["rule"], result.groups[-1].key["rule"]) == (first, last)


def test_rows_without_a_value_are_sorted_last(swept: Path):
    for sort in ("frames", "-frames"):
        labels = [g.label() for g in summarise([swept], sort=sort).groups]
        assert set(labels[-2:]) == {"bp", "shallow"}


def test_a_metric_of_the_curves_is_its_last_value(swept: Path):
    result = summarise([swept], metric="alignment_1")
    expected = 0.3 * (1 - 0.85 * 2.718 ** (-20 / 2.5))
    assert result.groups[0].mean == pytest.approx(expected, abs=1e-4)
    assert result.metric.words == "alignment 1 at the last epoch"


def test_an_unknown_name_is_answered_with_the_nearest_ones(swept: Path):
    with pytest.raises(
        DfaError, match=r"unknown metric 'acuracy' \(did you mean accuracy\?\); metrics are accuracy, "
    ):
        summarise([swept], metric="acuracy")
    with pytest.raises(DfaError, match=r"no run has a key 'optimizer.lrr'; the nearest are optimizer.lr"):
        summarise([swept], by=["optimizer.lrr"])
    with pytest.raises(DfaError, match=r"--sort meen: .*columns are rule, device, mean"):
        summarise([swept], sort="meen")
    with pytest.raises(DfaError, match=r"'anova' is not one of t, wilcoxon"):
        summarise([swept], test="anova")
    with pytest.raises(DfaError, match=r'no run fulfils --where "seed>99"'):
        summarise([swept], where="seed>99")


def test_a_note_says_which_data_took_the_place_of_others(factory: Factory):
    factory.run(
        data="digits", record={"data_fallback": "mnist could not be had (no network); digits took its place"}
    )
    assert any("digits took its place" in note for note in summarise([factory.root]).notes())


def test_a_row_without_completed_runs_lists_the_failed_seeds(factory: Factory):
    factory.run(status="failed", seed=0)
    factory.run(status="failed", seed=1)
    (group,) = summarise([factory.root]).groups
    assert (group.n, group.mean, group.best, group.absent) == (0, None, None, {"failed": ["0", "1"]})
