"""The names by which a user asks for a part of a run: its choices, its configuration, its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dfa_cli.config.identity import OUTSIDE_IDENTITY, ending_no_longer, no_longer
from dfa_cli.config.schema import FACTS
from dfa_cli.console.values import MISSING, number
from dfa_cli.errors import DfaError, nearest
from dfa_cli.records.measures import ALIASES, METRICS, Metric, curve_metric, find_metric, note_in_words
from dfa_cli.records.run import Run

# Configuration groups whose options only set other keys.
DERIVED_CHOICES = frozenset({"tuned", "experiment"})
IRRELEVANT = frozenset(OUTSIDE_IDENTITY)  # top-level keys that do not change a run's results
FIRST_CHOICES = ("data", "model", "rule", "device")
# The keys whose values conf/tuned chooses for each rule, beside those below `optimizer`. It also fixes the length of
# training, but not rule by rule: every rule trains as long as the others.
TUNED = (
    "model.activation",
    "model.dropout",
    "model.input_dropout",
    "rule.spread_over_edges",
    "data.normalize",
    "schedule",
    "batch_size",
)

_RUN_FIELDS: dict[str, Callable[[Run], Any]] = {
    "id": lambda run: run.id,
    "identity": lambda run: run.identity,
    "status": lambda run: run.status,
    "created": lambda run: run.created,
    "folder": lambda run: run.folder,
    "host": lambda run: run.provenance.get("host", MISSING),
    "error": lambda run: (run.record.get("error") or {}).get("message"),
}


def affects_result(key: str) -> bool:
    """Tells whether a dotted configuration key can change a result."""
    return key.partition(".")[0] not in IRRELEVANT and key.rpartition(".")[2] not in FACTS


def is_tuned(key: str) -> bool:
    """Tells whether the value of a key is tuned for each rule, so that rules are compared fairly though they differ."""
    return (key.startswith("optimizer.") and not key.endswith("_target_")) or key in TUNED


def choice_names(runs: Iterable[Run]) -> list[str]:
    """Lists the configuration groups that the runs chose from: data, model, rule, device, then the others by name."""
    names = {name for run in runs for name in run.choices if not name.startswith("hydra/")}
    rank = {name: i for i, name in enumerate(FIRST_CHOICES)}
    return sorted(names, key=lambda name: (rank.get(name.partition("/")[0], len(rank)), name))


def config_names(runs: Iterable[Run]) -> list[str]:
    """Lists all dotted keys of the runs' configurations, in the order of the files.

    The keys of one top-level section stay together.
    """
    names: dict[str, None] = {}
    for run in runs:
        names.update(dict.fromkeys(run.flat))
    parts = {part: i for i, part in enumerate(dict.fromkeys(name.partition(".")[0] for name in names))}
    return sorted(names, key=lambda name: parts[name.partition(".")[0]])


def value_of(run: Run, key: str) -> Any:
    """Returns the value of `run` under a full name, as `Keys.resolve` returns it, or `MISSING` when there is none."""
    if key in _RUN_FIELDS:
        return _RUN_FIELDS[key](run)
    if key in run.choices:
        return run.choices[key]
    if key in run.flat:
        return run.flat[key]
    metric = find_metric(key)
    if metric is not None:
        value = metric.value_of(run)
        return MISSING if value is None else value
    if key.startswith("notes."):
        return ((run.record.get("projection") or {}).get("notes") or {}).get(key[6:], MISSING)
    return run.result.get(key, MISSING)


class Keys:
    """Finds the full name of a key from the word that a user typed, among all keys of a set of runs."""

    def __init__(self, runs: Sequence[Run]):
        self.runs = runs
        self.choices = choice_names(runs)
        self.config = config_names(runs)

    def resolve(self, word: str) -> str:
        """Returns the full name of `word`: `word` itself, or the only key that ends in it (`optimizer.lr` for `lr`).

        Raises `DfaError` for a word that fits no key, and for one that fits several.
        """
        if word in _RUN_FIELDS or word in self.choices or word in self.config:
            return word
        if (metric := find_metric(word)) is not None:
            return metric.name
        ends = [key for key in self.config if key.endswith(f".{word}")]
        ends += [key for key in self.choices if key.endswith(f"/{word}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise DfaError(
                f"'{word}' could be {', '.join(ends[:-1])} or {ends[-1]}; type the whole name of one"
            )
        if gone := no_longer(word) or ending_no_longer(word):
            raise DfaError(gone)
        raise DfaError(f"no run has a key '{word}'; {self._hint(word)}")

    def metric(self, word: str) -> Metric:
        """Returns the metric called `word`.

        The metric is one of `METRICS`, a note of the projection device, another number in the result, or a column of
        `metrics.csv`. Raises `DfaError` for an unknown name; the message suggests the nearest one.
        """
        if (metric := find_metric(word)) is not None:
            return metric
        notes = {
            f"notes.{name}"
            for run in self.runs
            for name in (run.record.get("projection") or {}).get("notes") or ()
        }
        for name in (word, f"notes.{word}"):
            if name in notes:
                return Metric(name, note_in_words(name.partition(".")[2]), place="projection")
        if any(word in run.result for run in self.runs if number(run.result.get(word)) is not None):
            # More is better for every number but a loss.
            return Metric(
                word, word.replace("_", " "), "%" if word.endswith("accuracy") else "", "loss" not in word
            )
        columns: dict[str, None] = {}
        for run in self.runs:
            if word in run.curves:
                return curve_metric(word)
            columns.update(dict.fromkeys(run.curves))
        names = [*(metric.name for metric in METRICS), *sorted(notes), *(c for c in columns if c != "epoch")]
        close = nearest(word, [*ALIASES, *names], most=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DfaError(f"unknown metric '{word}'{hint}; metrics are {', '.join([*ALIASES, *names])}")

    def _hint(self, word: str) -> str:
        names = [*_RUN_FIELDS, *self.choices, *self.config, *(metric.name for metric in METRICS), *ALIASES]
        by_word = {name.rpartition(".")[2]: name for name in reversed(names)}  # `lr` stands for optimizer.lr
        by_word.update((name, name) for name in names)
        close = list(dict.fromkeys(by_word[near] for near in nearest(word, by_word, most=4)))
        if close:
            return f"the nearest are {', '.join(close)}"
        short = [*self.choices, *(key for key in self.config if "." not in key and key not in IRRELEVANT)]
        return f"some that are known: {', '.join(short[:12])}"
