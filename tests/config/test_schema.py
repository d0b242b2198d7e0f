"""The bounds of the configuration, and the identity of a run."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from program import as_first

from dfa_cli.comparison.grouping import overridden
from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.bounds import BOUNDS, lookup
from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, conf_dir
from dfa_cli.config.identity import (
    DROPPED,
    LATER,
    OUTSIDE_IDENTITY,
    RENAMED,
    Dropped,
    identity,
    modernised,
    todays_name,
)
from dfa_cli.config.schema import FACTS
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import Keys, value_of
from dfa_cli.records.run import Run

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


Compose = Callable[..., RunSpec]


@pytest.fixture(scope="module")
def job() -> Iterator[Compose]:
    """`job("epochs=3")` composes and checks a run. All tests share one search path, which saves a minute."""
    with Composer(parse_command([], "dfa train")) as composer:
        yield lambda *words: composer.run(words).spec


@pytest.fixture
def resolved(job: Compose) -> Callable[..., dict[str, Any]]:
    return lambda *words: resolve_auto(job(*words).config)


@pytest.fixture
def identity_of(resolved: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    return lambda *words: identity(resolved(*words))


BAD = {
    "seed": ["-1", "1.5", "null", "abc"],
    "epochs": ["0", "-3", "2.5", "null", "abc", "[1]"],
    "batch_size": ["0", "-1", "abc"],
    "patience": ["0", "-1"],
    "threads": ["0", "-2"],
    "compute": ["tpu", "CPU"],
    "progress": ["loud"],
    "model.hidden": ["[]", "[0]", "[16,-3]", "[1.5]", "16", "[abc]", "null"],
    "model.activation": ["gelu", "Tanh", "null"],
    "model.dropout": ["1", "1.5", "-0.1", "abc", "null", "true", "nan"],
    "model.input_dropout": ["1", "-0.1"],
    "rule.scale": ["0", "-1", "abc", "nan", "inf"],
    "rule.share_columns": ["1", "maybe"],
    "rule.spread_over_edges": ["2"],
    "device.matrix_seed": ["-1", "abc"],
    "device.distribution": ["gausian"],
    "optimizer.lr": ["0", "-0.1", "abc", "nan", "inf", "null"],
    "optimizer.weight_decay": ["-1", "nan", "inf"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_a_value_out_of_bounds_is_a_sentence_with_the_key_the_value_and_what_was_expected(
    key: str, value: str, job: Compose
) -> None:
    with pytest.raises(DfaError) as caught:
        job("data=digits", f"{key}={value}")
    words = str(caught.value)
    assert key.rpartition(".")[2] in words
    words = words.replace('"', "").replace(", ", ",")
    assert value in words or {"null": "None"}.get(value, value) in words


@pytest.mark.parametrize("key", ["rule.scale", "optimizer.lr", "device.frame_seconds"])
def test_a_whole_number_is_the_same_value_as_a_real_one(key: str, job: Compose) -> None:
    names = [
        identity(job("data=digits", "device=opu_sim", f"{key}={value}").config) for value in ("1", "1.0", "2")
    ]
    assert names[0] == names[1] != names[2]


GOOD = {
    "epochs": ["1", "1000000"],
    "seed": ["0", "4294967296"],
    "batch_size": ["null", "1"],
    "patience": ["null", "1"],
    "model.hidden": ["[1]", "[3,4,5,6]"],
    "model.activation": ["tanh", "relu"],
    "model.dropout": ["0", "0.0", "0.999"],
    "rule.scale": ["2", "1e-6"],
    "rule.share_columns": ["true", "false"],
    "optimizer.lr": ["1", "1e30"],
    "optimizer.weight_decay": ["0", "0.1"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_a_value_within_bounds_is_taken_as_it_is(key: str, value: str, job: Compose) -> None:
    found, present = lookup(job("data=digits", f"{key}={value}").config, key)
    assert present
    try:
        assert found == json.loads(value)
    except json.JSONDecodeError:
        assert found == value


def test_every_bound_belongs_to_an_existing_key(job: Compose) -> None:
    configs = []
    for group in ("model", "rule", "device", "optimizer", "parallel"):
        for path in sorted((conf_dir() / group).rglob("*.yaml")):
            stage = path.parent.relative_to(conf_dir()).as_posix()
            device = ["device=opu_sim"] if "/" in stage else []
            configs.append(job("data=digits_graph", *device, f"{stage}={path.stem}").config)
    configs += [job(f"data={data}").config for data in ("mnist", "cora")]
    configs.append({"grids": None})  # of a sweep, so no run has it
    unknown = [key for key in BOUNDS if not any(lookup(config, key)[1] for config in configs)]
    assert not unknown


@pytest.mark.parametrize("data", ["mnist", "digits"])
@pytest.mark.parametrize("model", ["gcn", "gat", "cheb", "sage"])
def test_a_graph_model_on_data_without_edges_is_a_sentence(model: str, data: str, job: Compose) -> None:
    with pytest.raises(DfaError, match=rf"model={model} .*data={data}.*cora.*digits_graph"):
        job(f"model={model}", f"data={data}")


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value, 1]
    return "another"


def changed(config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    result = copy.deepcopy(config)
    node = result
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = other(node[path[-1]])
    return result


# Limits and costs of the modelled hardware. No accuracy depends on them, so the identity may include them or not.
EITHER_WAY = (
    "frame_seconds",
    "power_watts",
    "mirrors",
    "pixels",
    "lift",
    "fused",
)

CONFIGS = [
    ("data=digits",),
    ("model=gcn", "data=digits_graph", "device=opu_sim"),
    ("model=gat", "data=digits_graph", "optimizer=sgd"),
]


class TestIdentity:
    def test_is_16_hexadecimal_digits(self, identity_of: Callable[..., str]) -> None:
        assert len(identity_of("data=digits")) == 16
        int(identity_of("data=digits"), 16)

    @pytest.mark.parametrize(
        "word",
        [
            "threads=2",
            "outputs=elsewhere",
            "progress=none",
            "data_dir=elsewhere",
            "mirrors=[]",
            "hydra.job_logging.root.level=DEBUG",
            "hydra.run.dir=elsewhere",
            "run_id=deadbeef",
        ],
    )
    def test_does_not_change_with_what_cannot_change_the_result(
        self, word: str, identity_of: Callable[..., str]
    ) -> None:
        assert identity_of("data=digits", word) == identity_of("data=digits")

    def test_does_not_change_when_a_default_is_spelt_out(self, identity_of: Callable[..., str]) -> None:
        assert identity_of("data=digits", "seed=0", "rule=dfa", "model.dropout=0.0") == identity_of(
            "data=digits"
        )

    @pytest.mark.parametrize("words", CONFIGS, ids=" ".join)
    def test_changes_with_each_key_that_can_change_the_result(
        self, words: tuple[str, ...], resolved: Callable[..., dict[str, Any]]
    ) -> None:
        config = resolved(*words)
        first = identity(config)
        outside = [path for path in leaves(config) if path[0] in OUTSIDE_IDENTITY or path[-1] in FACTS]
        inside = [path for path in leaves(config) if path not in outside and path[-1] not in EITHER_WAY]
        assert {path[0] for path in inside} >= {"seed", "epochs", "batch_size", "patience", "compute"}
        assert {path[0] for path in inside} >= {"model", "rule", "device", "data", "optimizer"}
        same = [".".join(path) for path in inside if identity(changed(config, path)) == first]
        assert not same
        different = [".".join(path) for path in outside if identity(changed(config, path)) != first]
        assert not different

    def test_includes_every_key_that_changes_a_result(self) -> None:
        groups = {"model", "rule", "device", "data", "optimizer"}
        assert not set(OUTSIDE_IDENTITY) & {
            *groups,
            "seed",
            "epochs",
            "batch_size",
            "patience",
            "weight_decay_on",
            "compute",
        }

    @pytest.mark.parametrize("rule", ["bp", "shallow"])
    def test_leaves_out_the_device_if_the_rule_projects_nothing(
        self, rule: str, identity_of: Callable[..., str]
    ) -> None:
        words = ("data=digits", "compute=cpu", f"rule={rule}")
        assert identity_of(*words, "device=opu_sim") == identity_of(*words, "device=cpu")
        assert identity_of(*words, "device.distribution=uniform") == identity_of(*words)

    def test_includes_the_device_if_the_rule_projects(self, identity_of: Callable[..., str]) -> None:
        words = ("data=digits", "compute=cpu", "rule=dfa")
        assert identity_of(*words, "device=opu_sim") != identity_of(*words, "device=cpu")

    @NO_CUDA
    def test_of_auto_is_that_of_the_device_it_means(self, identity_of: Callable[..., str]) -> None:
        assert identity_of("data=digits", "device=auto") == identity_of("data=digits", "device=cpu")
        assert identity_of("data=digits", "compute=auto") == identity_of("data=digits", "compute=cpu")

    def test_of_a_stand_in_data_set_is_that_of_the_same_data_set_by_name(
        self, identity_of: Callable[..., str]
    ) -> None:
        assert identity_of("data=digits", "data_fallback='mnist could not be had'") == identity_of(
            "data=digits"
        )

    def test_of_a_record_without_a_later_key_is_that_of_today(
        self, resolved: Callable[..., dict[str, Any]]
    ) -> None:
        today = resolved("data=digits")
        before = {key: value for key, value in today.items() if key not in LATER}
        assert before.keys() != today.keys()
        assert identity(before) == identity(today)
        assert modernised(before) == today
        assert identity({**today, "precision": "bf16"}) != identity(today)

    def test_handles_a_later_key_inside_a_group(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = resolved("data=digits")
        monkeypatch.setitem(LATER, "rule.later", 1)
        monkeypatch.setitem(LATER, "nowhere.later", 1)
        today = modernised(before)
        assert today == {**before, "rule": {**before["rule"], "later": 1}}
        assert identity(today) == identity(before)
        assert identity({**before, "rule": {**before["rule"], "later": 2}}) != identity(before)

    def test_handles_a_later_key_of_one_class(self, resolved: Callable[..., dict[str, Any]]) -> None:
        for words, has_it in ((["device=opu_sim"], True), (["device=cpu"], False)):
            today = resolved("data=digits", *words)
            assert ("remove_sum" in today["device"]) == has_it
            before = {**today, "device": {k: v for k, v in today["device"].items() if k != "remove_sum"}}
            assert modernised(before) == today
            assert identity(before) == identity(today)
        removed = resolved("data=digits", "device=opu_sim", "device.remove_sum=true")
        assert identity(removed) != identity(
            {**removed, "device": {**removed["device"], "remove_sum": False}}
        )

    def test_does_not_depend_on_the_order_of_the_words(self, identity_of: Callable[..., str]) -> None:
        words = ("model=gcn", "data=digits_graph", "rule=bp", "epochs=7")
        assert identity_of(*words) == identity_of(*reversed(words))

    def test_is_the_same_in_every_process(self, job: Compose) -> None:
        code = (
            "import sys; from dfa_cli.config.compose import compose_run;"
            "job = compose_run(['data=digits']);"
            "print(job.identity, 'torch' in sys.modules)"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert said.split() == [identity(job("data=digits").config), "False"]


def put(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of the configuration with a value at a dotted key."""
    result = copy.deepcopy(config)
    node = result
    *path, name = key.split(".")
    for part in path:
        node = node[part]
    node[name] = value
    return result


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of the configuration without some dotted keys."""
    result = copy.deepcopy(config)
    for key in keys:
        node = result
        *path, name = key.split(".")
        for part in path:
            node = node.get(part, {})
        node.pop(name, None)
    return result


def test_the_tables_of_old_names_are_reversible() -> None:
    assert len(set(RENAMED.values())) == len(RENAMED)
    of_today = [*LATER, *DROPPED, *(gone.of for gone in DROPPED.values() if gone.of), *BOUNDS]
    assert [name for name in of_today if todays_name(name) != name] == []
    assert [key for key in DROPPED if key in BOUNDS] == []


class TestRenamed:
    def test_keys_and_classes_get_new_names_and_keep_the_identity(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = resolved("data=digits", "rule.scale=2.0", "device=opu_sim", "device/encoding=ternary")
        first = identity(before)
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        monkeypatch.setitem(RENAMED, "schedule", "rate_over_time")
        monkeypatch.setitem(RENAMED, "device.encoding", "device.mirrors")
        monkeypatch.setitem(RENAMED, "dfa_cli.devices.opu.Ternary", "dfa_cli.devices.opu.Signs")
        today = modernised(before)
        expected = put(without(before, "rule.scale", "schedule", "device.encoding"), "rule.factor", 2.0)
        expected["rate_over_time"] = "constant"
        expected["device"]["mirrors"] = before["device"]["encoding"] | {
            "_target_": "dfa_cli.devices.opu.Signs"
        }
        assert today == expected
        assert modernised(today) == today
        assert identity(today) == identity(before) == first
        assert identity(put(today, "rule.factor", 3.0)) != first

    def test_a_name_that_changed_twice_is_followed(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        oldest = resolved("data=digits")
        first, target = identity(oldest), oldest["rule"]["_target_"]
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.once")
        monkeypatch.setitem(RENAMED, target, "dfa_cli.rules.Once")
        older = modernised(oldest)
        monkeypatch.setitem(RENAMED, "rule.once", "rule.twice")
        monkeypatch.setitem(RENAMED, "dfa_cli.rules.Once", "dfa_cli.rules.Twice")
        today = modernised(oldest)
        assert today["rule"]["_target_"] == "dfa_cli.rules.Twice"
        assert today["rule"]["twice"] == 1.0
        assert modernised(older) == today
        assert identity(oldest) == identity(older) == identity(today) == first
        assert todays_name("rule.scale") == "rule.twice"

    def test_the_keys_of_a_class_from_outside_are_its_own(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = put(resolved("data=digits"), "rule._target_", "mine.Rule")
        first = identity(config)
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        assert modernised(config) == config
        assert identity(config) == first

    def test_the_old_configuration_itself_is_not_changed(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = resolved("data=digits")
        before = copy.deepcopy(config)
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        monkeypatch.setitem(RENAMED, config["rule"]["_target_"], "dfa_cli.rules.Other")
        modernised(config)
        assert config == before

    def test_a_typed_old_key_counts_under_its_name_of_today(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run("", {"id": "a", "overrides": ["rule.scale=2", "~schedule", "+seed=1"]})
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        assert overridden([run]) == {"rule.factor", "schedule", "seed"}

    def test_a_comparison_by_an_old_name_is_a_sentence_with_the_new_one(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run("", {"id": "a", "config": resolved("data=digits")})
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        keys = Keys([run])
        assert value_of(run, keys.resolve("factor")) == 1.0
        with pytest.raises(DfaError, match=r"^rule\.scale is called rule\.factor now\.$"):
            keys.resolve("rule.scale")

    @pytest.mark.parametrize("word", ["rule.scale=2", "+rule.scale=2", "~rule.scale"])
    def test_an_old_name_on_the_command_line_is_a_sentence_with_the_new_one(
        self, word: str, job: Compose, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # `rule=bp` has no key `scale`, just as no rule has it after the renaming
        monkeypatch.setitem(RENAMED, "rule.scale", "rule.factor")
        with pytest.raises(DfaError, match=r"^rule\.scale is called rule\.factor now\.$"):
            job("data=digits", "rule=bp", word)

    def test_an_old_class_on_the_command_line_is_a_sentence_with_the_new_one(
        self, job: Compose, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(RENAMED, "dfa_cli.rules.Older", "dfa_cli.rules.Newer")
        with pytest.raises(DfaError, match=r"^dfa_cli\.rules\.Older is called dfa_cli\.rules\.Newer now\.$"):
            job("data=digits", "rule._target_=dfa_cli.rules.Older")


class TestDropped:
    """Options that the optical device had in version 0.1.0. The identities are those that its code computed."""

    @pytest.mark.parametrize(
        ("medium", "options", "before"),
        [
            ("auto", {"dense": 33554432, "procedural": 68719476736}, "607ecdeb660509c2"),
            ("dense", {"most": 268435456}, "725561946835865c"),
            ("procedural", {}, "3b0d946db06dce20"),
        ],
    )
    def test_an_option_at_its_value_is_removed_and_the_identity_stays(
        self, medium: str, options: dict[str, int], before: str, resolved: Callable[..., dict[str, Any]]
    ) -> None:
        words = ("data=digits", "device=opu_sim", f"device/medium={medium}", "compute=cpu")
        today = resolved(*as_first(words))
        old = put(today, "device.saturation_warning", 0.01)
        for name, most in options.items():
            old = put(old, f"device.medium.{name}", most)
        assert modernised(old) == today
        assert identity(old) == identity(today) == before

    @pytest.mark.parametrize(
        ("key", "value", "before"),
        [
            ("device.saturation_warning", 0.5, "42294c7be67c443b"),
            ("device.saturation_warning", 1, "a9d2e084aa5fb561"),
            ("device.medium.dense", 100, "1adb6ff78c3ad5ec"),
        ],
    )
    def test_an_option_at_another_value_stays_and_so_does_its_identity(
        self, key: str, value: float, before: str, resolved: Callable[..., dict[str, Any]]
    ) -> None:
        old = resolved(*as_first(["data=digits", "device=opu_sim", "compute=cpu"]))
        old = put(put(old, "device.medium.dense", 33554432), "device.medium.procedural", 68719476736)
        old = put(put(old, "device.saturation_warning", 0.01), key, value)
        assert lookup(modernised(old), key) == (value, True)
        assert identity(modernised(old)) == identity(old) == before

    def test_another_class_never_had_the_option(self, resolved: Callable[..., dict[str, Any]]) -> None:
        config = resolved("data=digits")
        other = put(config, "device.saturation_warning", 0.01)
        assert modernised(other) == other
        assert identity(other) != identity(config)

    def test_an_option_of_the_top_level(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = resolved("data=digits")
        first = identity(before)
        monkeypatch.setitem(DROPPED, "schedule", Dropped(None, "constant"))
        assert modernised(before) == without(before, "schedule")
        assert identity(without(before, "schedule")) == first
        assert identity({**before, "schedule": "linear"}) != first

    def test_a_dropped_option_in_a_class_that_was_renamed_since(
        self, resolved: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = as_first(["data=digits", "device=opu_sim"])
        before = put(resolved(*words), "device.saturation_warning", 0.01)
        first = identity(before)
        monkeypatch.setitem(RENAMED, "dfa_cli.devices.opu.OPU", "dfa_cli.devices.opu.Simulated")
        monkeypatch.setitem(
            DROPPED, "device.frame_seconds", Dropped("dfa_cli.devices.opu.Simulated", 500.0e-6)
        )
        today = modernised(before)
        assert "frame_seconds" not in today["device"]
        assert identity(today) == identity(before) == first

    @pytest.mark.parametrize(
        ("word", "value"),
        [
            ("device.saturation_warning=0.1", "0.01"),
            ("~device.saturation_warning", "0.01"),
            ("+device.saturation_warning=0.1", "0.01"),
            ("device.medium.dense=5", "33554432"),
            ("device.medium.procedural=5", "68719476736"),
            ("device.medium.most=5", "268435456"),  # an option of `dense`, which is not the chosen medium
        ],
    )
    def test_on_the_command_line_is_a_sentence_with_the_value_that_holds_now(
        self, word: str, value: str, job: Compose
    ) -> None:
        key = word.lstrip("+~").partition("=")[0]
        with pytest.raises(DfaError, match=rf"^{key} is no longer an option: .* {value}, so leave it out\.$"):
            job("data=digits", "device=opu_sim", word)
