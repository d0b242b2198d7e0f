"""The expressions of --where: which runs they select, and the errors when they cannot be parsed."""

from __future__ import annotations

import pytest
from run_factory import Factory

from dfa_cli.errors import DfaError
from dfa_cli.records.find import find
from dfa_cli.records.keys import Keys
from dfa_cli.records.query import Query
from dfa_cli.records.run import Run


@pytest.fixture
def runs(factory: Factory) -> list[Run]:
    factory.run(rule="bp", seed=0, epochs=100, accuracy=0.8)
    factory.run(rule="dfa", seed=1, epochs=200, accuracy=0.7, config={"model.widths": [64, 64]})
    factory.run(rule="dfa", device="opu_sim", seed=2, epochs=300, accuracy=0.6, config={"spread": True})
    factory.run(rule="shallow", seed=3, epochs=50, status="failed", config={"note": "it's a 'test', really"})
    return find([factory.root]).runs


@pytest.mark.parametrize(
    ("expression", "seeds"),
    [
        ("rule=dfa", {1, 2}),
        ("rule==dfa", {1, 2}),
        ("rule=bp,shallow", {0, 3}),
        ("rule=bp,dfa and epochs>100", {1, 2}),
        ("rule=dfa,device=cpu", {1}),
        ("rule=dfa and not device=opu_sim", {1}),
        ("(rule=bp or rule=dfa) and epochs<=200", {0, 1}),
        ("rule=bp or rule=dfa and epochs>200", {0, 2}),
        ("epochs >= 200", {1, 2}),
        ("epochs=2e2", {1}),
        ("rule != dfa", {0, 3}),
        ("status=failed", {3}),
        ("accuracy>0.65", {0, 1}),
        ("model.widths=[64,64]", {1}),
        ("widths=[64, 64]", {1}),
        ("device.threshold<0.5", {2}),
        ("threshold=0.1", {2}),
        ("spread=true", {2}),
        ("patience=null", {0, 1, 2, 3}),
        ("patience=none", {0, 1, 2, 3}),
        ("parallel=none", {0, 1, 2, 3}),
        ("parallel!=none", set()),
        ("rule~SHALL", {3}),
        ("note=\"it's a 'test', really\"", {3}),
        ("created>=2026-11-01T08:03", {2, 3}),
        ("frames>0", {2}),
        ("rule<z and seed<2", {0, 1}),
        ("NOT rule=dfa AND seed=0", {0}),
    ],
)
def test_an_expression_selects_runs(runs: list[Run], expression: str, seeds: set[int]):
    query = Query(expression, Keys(runs))
    assert {run.config["seed"] for run in runs if query(run)} == seeds


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("rule=", "expected a value at character 6"),
        ("rule", "expected one of = != .* at character 5"),
        ("=dfa", "expected a key .* at character 1"),
        ("rule=dfa epochs>3", "expected 'and', 'or' or the end at character 10"),
        ("(rule=dfa", r"expected '\)' at character 10"),
        ("rule=dfa and", "expected a key .* at character 13"),
        ("rule=dfa)", "at character 9"),
        ("rule='open", "cannot read ''open' at character 6"),
        ("", "--where is empty"),
        ("   ", "--where is empty"),
        ("rul=dfa", "no run has a key 'rul'; the nearest are rule"),
        ("model.widht=3", "the nearest are model.widths"),
        ("_target_=x", "'_target_' could be .*model._target_"),
        ("__import__('os').system('true')", "at character 11"),
    ],
)
def test_an_error_names_the_place_in_the_expression(runs: list[Run], expression: str, words: str):
    with pytest.raises(DfaError, match=words):
        Query(expression, Keys(runs))
