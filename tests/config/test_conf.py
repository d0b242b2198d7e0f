"""Every file of conf/ composes and trains, its numbers have bounds, and its name follows the rules."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from program import Dfa

from dfa_cli.config.bounds import BOUNDS
from dfa_cli.config.compose import compose_run, compose_sweep, conf_dir
from dfa_cli.config.extras import require_extras
from dfa_cli.config.paths import ONLY_PLANNED
from dfa_cli.config.schema import FACTS
from dfa_cli.config.spec import RunSpec
from dfa_cli.data.catalogue import CATALOGUE
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError

CONF = conf_dir()
GROUPS = ("model", "rule", "device", "data", "optimizer")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def content(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def embedded_data_for(model: str) -> str:
    """Return the name of an embedded data set that the model can read."""
    return "digits_graph" if content(CONF / "model" / f"{model}.yaml")["needs"] == "graph" else "digits"


def job(*words: str) -> RunSpec:
    return compose_run(words)


SMALL = ("epochs=1", "progress=none")


class TestShippedOptions:
    @pytest.mark.parametrize(
        ("group", "expected"),
        [
            ("model", {"fc", "gcn", "gat", "cheb", "sage"}),
            ("rule", {"bp", "dfa", "shallow"}),
            ("device", {"auto", "cpu", "gpu", "opu_sim"}),
            ("data", {"mnist", "digits", "cora", "citeseer", "pubmed", "digits_graph"}),
            ("optimizer", {"adam", "adamw", "sgd"}),
        ],
    )
    def test_include(self, group: str, expected: set[str]) -> None:
        assert expected <= set(options(group))

    def test_defaults_are_a_fully_connected_network_and_dfa(self) -> None:
        choices = job().choices
        assert (choices["model"], choices["rule"], choices["device"]) == ("fc", "dfa", "auto")

    def test_of_graph_models_take_their_convolution_from_torch_geometric(self) -> None:
        for name in ("gat", "cheb", "sage"):
            node = content(CONF / "model" / f"{name}.yaml")
            assert node["conv"]["_target_"].startswith("torch_geometric.nn.")


class TestEachFile:
    @pytest.mark.parametrize(
        "path",
        sorted(path for path in CONF.rglob("*.yaml") if path.parent.name not in ONLY_PLANNED),
        ids=lambda p: str(p.relative_to(CONF)),
    )
    def test_composes(self, path: Path) -> None:
        *folders, name = path.relative_to(CONF).with_suffix("").parts
        group = "/".join(folders)
        if group == "tuned" and name != "none":
            model, data, rule = split_tuned(name)
            assert job(f"model={model}", f"data={data}", f"rule={rule}").choices["tuned"] == name
        elif group == "model":
            assert job(f"model={name}", f"data={embedded_data_for(name)}").choices["model"] == name
        elif group == "data":
            model = "gcn" if content(path)["gives"] == "graph" else "fc"
            assert job(f"data={name}", f"model={model}").choices["data"] == name
        elif group in ("launcher", "sweeper"):
            try:
                require_extras([f"{group}={name}"])
                assert job("data=digits", f"{group}={name}").choices["model"] == "fc"
            except DfaError as missing:
                if "Could not find 'hydra/" not in str(missing) and "not installed" not in str(missing):
                    raise
                pytest.skip(" ".join(str(missing).split()))
        elif group.startswith("device/"):
            assert job("device=opu_sim", f"{group}={name}").choices[group] == name
        elif group:
            assert job(f"{group}={name}").choices[group] == name
        else:
            job()

    @pytest.mark.parametrize("name", options("model"))
    def test_of_model_trains_an_epoch(self, name: str, dfa: Dfa) -> None:
        run = dfa.run(f"model={name}", f"data={embedded_data_for(name)}", *SMALL)
        assert run.record["status"] == "completed"
        assert len(run.metrics) == 1

    @pytest.mark.parametrize("model", ["fc", "gcn"])
    @pytest.mark.parametrize("name", options("rule"))
    def test_of_rule_trains_an_epoch(self, name: str, model: str, dfa: Dfa) -> None:
        run = dfa.run(
            f"rule={name}", f"model={model}", f"data={embedded_data_for(model)}", "model.hidden=[8,6]", *SMALL
        )
        assert run.record["status"] == "completed"
        needs = content(CONF / "rule" / f"{name}.yaml")["needs"]
        assert (run.record["projection"] is not None) == (needs == "projection")

    @pytest.mark.parametrize("name", options("device"))
    def test_of_device_trains_an_epoch(self, name: str, dfa: Dfa) -> None:
        if name == "gpu" and not torch.cuda.is_available():
            pytest.skip("device=gpu needs CUDA, and this machine has none")
        run = dfa.run(f"device={name}", "model=gcn", "data=digits_graph", *SMALL)
        projection = run.record["projection"]
        assert projection["rows"] == 200, "of 1,797 nodes, 200 have labels"
        assert (projection["frames"] > 0) == name.startswith("opu_")

    @pytest.mark.parametrize("name", options("data"))
    def test_of_data_trains_an_epoch(self, name: str, dfa: Dfa) -> None:
        model = "gcn" if content(CONF / "data" / f"{name}.yaml")["gives"] == "graph" else "fc"
        here = Source.default()
        if (missing := Source(here.cache, here.mirrors, network=False).available(name)) is not None:
            pytest.skip(f"no copy of {name} on this machine: {missing}")
        run = dfa.run(f"data={name}", f"model={model}", "model.hidden=[8]", "rule=bp", *SMALL)
        sizes = run.record["result"]["sizes"]
        assert all(count > 0 for count in sizes.values())
        if name in ("cora", "citeseer", "pubmed"):
            classes = CATALOGUE[name].classes
            assert sizes == {"train": 20 * classes, "validation": 500, "test": 1000}
        if name == "mnist":
            assert sizes["train"] + sizes["validation"] == 60_000
            assert sizes["test"] == 10_000

    @pytest.mark.parametrize("name", options("optimizer"))
    def test_of_optimizer_trains_an_epoch(self, name: str, dfa: Dfa) -> None:
        run = dfa.run(f"optimizer={name}", "data=digits", "model.hidden=[8]", *SMALL)
        assert run.record["status"] == "completed"

    def test_a_fully_connected_network_reads_node_features(self, dfa: Dfa) -> None:
        assert (
            dfa.run("model=fc", "data=digits_graph", "model.hidden=[8]", *SMALL).record["status"]
            == "completed"
        )

    @pytest.mark.parametrize("name", options("data"))
    def test_of_data_says_what_it_gives(self, name: str) -> None:
        assert content(CONF / "data" / f"{name}.yaml")["gives"] == CATALOGUE[name].kind


class TestDefaultDataSet:
    """Each model has a default data set. A data set that the user names replaces it."""

    @pytest.mark.parametrize("model", options("model"))
    def test_is_mnist_for_fc_and_cora_for_graph_models(self, model: str) -> None:
        chosen = job(f"model={model}").choices
        assert chosen["data"] == ("mnist" if model == "fc" else "cora")
        assert chosen["tuned"] == f"{model}_{chosen['data']}_dfa"

    @pytest.mark.parametrize(
        "words", [("model=gcn", "data=citeseer"), ("data=citeseer", "model=gcn")], ids=str
    )
    def test_is_replaced_by_the_command_line_and_the_tuned_values_follow(
        self, words: tuple[str, ...]
    ) -> None:
        chosen = job(*words, "rule=bp").choices
        assert chosen["data"] == "citeseer"
        assert chosen["tuned"] == "gcn_citeseer_bp"

    def test_has_no_tuned_values_where_no_file_has_them(self) -> None:
        assert job("data=digits").choices["tuned"] == "none"
        assert [
            one.choices["tuned"] for one in compose_sweep(["model=gcn", "rule=bp,fa", "data=pubmed"])
        ] == [
            "gcn_pubmed_bp",
            "none",
        ]

    def test_differs_between_the_models_of_a_sweep(self) -> None:
        jobs = compose_sweep(["model=fc,gcn", "rule=bp,dfa"])
        assert [(j.choices["model"], j.choices["data"], j.choices["tuned"]) for j in jobs] == [
            ("fc", "mnist", "fc_mnist_bp"),
            ("fc", "mnist", "fc_mnist_dfa"),
            ("gcn", "cora", "gcn_cora_bp"),
            ("gcn", "cora", "gcn_cora_dfa"),
        ]

    def test_can_be_set_by_a_users_model_which_can_have_tuned_values_too(
        self, tmp_path: Path, dfa: Dfa
    ) -> None:
        """Values of tuned/ override the main file, and the command line overrides tuned/. No shipped file is edited."""
        (tmp_path / "conf/tuned").mkdir(parents=True)
        (tmp_path / "conf/model").mkdir()
        gcn = (CONF / "model" / "gcn.yaml").read_text()
        (tmp_path / "conf/model/mine.yaml").write_text(gcn.replace("data: cora", "data: digits_graph"))
        (tmp_path / "conf/tuned/mine_digits_graph_shallow.yaml").write_text(
            "# @package _global_\nepochs: 3\nmodel:\n  hidden: [5]\noptimizer:\n  lr: 0.02\n"
        )
        words = ["--config-dir", str(tmp_path / "conf"), "model=mine", "rule=shallow"]
        record = dfa.run(*words).record
        config = record["config"]
        assert (record["choices"]["model"], record["choices"]["data"]) == ("mine", "digits_graph")
        assert (config["epochs"], config["model"]["hidden"], config["optimizer"]["lr"]) == (3, [5], 0.02)
        config = dfa.run(*words, "epochs=2", "model.hidden=[4]").record["config"]
        assert (config["epochs"], config["model"]["hidden"], config["optimizer"]["lr"]) == (2, [4], 0.02)


def split_tuned(name: str) -> tuple[str, str, str]:
    """Split the name of a file under tuned/ into model, data set and rule, or raise `AssertionError`."""
    for combination in itertools.product(options("model"), options("data"), options("rule")):
        if "_".join(combination) == name:
            return combination
    raise AssertionError(f"tuned/{name}.yaml: no model, data set and rule have these names")


class TestTuned:
    @pytest.mark.parametrize("name", [name for name in options("tuned") if name != "none"])
    def test_a_file_name_is_a_model_a_data_set_and_a_rule(self, name: str) -> None:
        split_tuned(name)

    @pytest.mark.parametrize("name", options("tuned"))
    def test_a_file_is_global_and_chooses_neither_seed_nor_device(self, name: str) -> None:
        path = CONF / "tuned" / f"{name}.yaml"
        assert "@package _global_" in path.read_text()
        tuned = content(path)
        assert not {"seed", "device", "outputs", "run_id", "threads", "compute", "defaults"} & set(tuned)
        assert "_target_" not in tuned.get("data", {}), "another data set than the file's name says"

    @pytest.mark.parametrize("name", ["gcn_kora_dfa", "gcn_cora_bpp", "gcn_cora", "cora_gcn_dfa"])
    def test_a_misspelt_name_is_noticed(self, name: str) -> None:
        with pytest.raises(AssertionError, match=name):
            split_tuned(name)


def numbers(node: Mapping[str, Any], prefix: str, target: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted key of each number and list of numbers, with the `_target_` of the class that it belongs to."""
    target = str(node.get("_target_", target))
    for key, value in node.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{key}.", target)
        elif (isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value)) or (
            isinstance(value, (int, float)) and not isinstance(value, bool) and key not in FACTS
        ):
            yield f"{prefix}{key}", target


# numbers of torch_geometric's classes, which check them in their constructors
THIRD_PARTY = {
    "model.conv.K": "torch_geometric.nn.ChebConv",
    "model.conv.heads": "torch_geometric.nn.GATConv",
}
THIRD_PARTY["model.last.heads"] = "torch_geometric.nn.GATConv"


def all_numbers() -> list[tuple[str, str]]:
    found = set(numbers({k: v for k, v in content(CONF / "config.yaml").items() if k != "hydra"}, "", ""))
    for group in ("model", "rule", "device", "optimizer"):
        for path in (CONF / group).rglob("*.yaml"):
            prefix = ".".join(path.relative_to(CONF).parent.parts) + "."
            node = {k: v for k, v in content(path).items() if k != "defaults"}
            found |= set(numbers(node, prefix, ""))
    return sorted(found)


class TestEveryNumber:
    def test_has_a_bound_that_is_checked_before_anything_heavy_is_imported(self) -> None:
        unbounded = [
            f"{key} of {target}" for key, target in all_numbers() if key not in {*BOUNDS, *THIRD_PARTY}
        ]
        assert not unbounded, "no bound in dfa_cli/config/bounds.py"

    def test_of_our_own_classes_has_a_bound_here(self) -> None:
        ours = {key for key, target in all_numbers() if target.startswith("dfa_cli.")}
        assert not ours & (set(THIRD_PARTY) - {"model.last.heads"})

    @pytest.mark.parametrize("key", sorted({key for key, _ in all_numbers()} - set(THIRD_PARTY)))
    def test_has_a_bound_that_refuses_wrong_values(self, key: str) -> None:
        if key not in BOUNDS:
            pytest.fail(f"{key} has no bound in dfa_cli/config/bounds.py")
        for wrong in (float("nan"), "abc", [], {}, -1.0e30):
            assert not BOUNDS[key].holds(wrong), wrong


class TestExperiments:
    def test_grids_follow_one_another_and_typed_values_win_in_each(self, tmp_path: Path) -> None:
        (tmp_path / "experiment").mkdir()
        (tmp_path / "experiment/two.yaml").write_text(
            "# @package _global_\n"
            "grids:\n"
            "  - {rule: 'bp,shallow'}\n"
            "  - {rule: dfa, device: opu_sim, device/readout: 'ideal,off_axis'}\n"
            "hydra: {sweeper: {params: {seed: 'range(2)', data: digits}}}\n"
        )

        def points(*words: str) -> list[tuple[str, str | None, int]]:
            jobs = compose_sweep(["--config-dir", str(tmp_path), "experiment=two", *words])
            assert all("grids" not in one.config for one in jobs)
            return [
                (one.choices["rule"], one.choices.get("device/readout"), one.config["seed"]) for one in jobs
            ]

        assert sorted(points(), key=str) == sorted(
            [(rule, None, seed) for rule in ("bp", "shallow") for seed in (0, 1)]
            + [("dfa", readout, seed) for readout in ("ideal", "off_axis") for seed in (0, 1)],
            key=str,
        )
        assert {seed for _, _, seed in points("seed=7")} == {7}
        assert {rule for rule, _, _ in points("rule=drtp")} == {"drtp"}

    def test_a_single_run_names_the_command_that_runs_all(self, dfa: Dfa) -> None:
        answer = dfa.train("experiment=noise", "data=digits_graph", "model=gcn", "epochs=1")
        assert answer.code == 0
        assert "this is one run; dfa sweep experiment=noise makes all" in answer.sentence
