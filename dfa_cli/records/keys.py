"""Names of what can be asked of a run: its choices, its configuration, its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dfa_cli.config.identity import OUTSIDE_IDENTITY, ending_no_longer, no_longer
from dfa_cli.config.schema import FACTS
from dfa_cli.console.values import MISSING, number
from dfa_cli.errors import DfaError, nearest
from dfa_cli.records.measures import ALIASES, METRICS, Metric, curve_metric, known
from dfa_cli.records.run import Run

DERIVED_CHOICES = frozenset({"tuned", "experiment"})  # they only set other keys
IRRELEVANT = frozenset(OUTSIDE_IDENTITY)  # top-level keys that change nothing in what comes out of a run
FIRST_CHOICES = ("data", "model", "rule", "device")

_OWN: dict[str, Callable[[Run], Any]] = {
    "id": lambda run: run.id,
    "identity": lambda run: run.identity,
    "status": lambda run: run.status,
    "created": lambda run: run.created,
    "folder": lambda run: run.folder,
    "host": lambda run: run.provenance.get("host", MISSING),
    "error": lambda run: (run.record.get("error") or {}).get("message"),
}


def affects_result(key: str) -> bool:
    """Whether a dotted configuration key can change a result."""
    return key.partition(".")[0] not in IRRELEVANT and key.rpartition(".")[2] not in FACTS


def choice_names(runs: Iterable[Run]) -> list[str]:
    """The groups of `conf/` that the runs chose from: data, model, rule, device, then the others by name."""
    names = {name for run in runs for name in run.choices if not name.startswith("hydra/")}
    rank = {name: i for i, name in enumerate(FIRST_CHOICES)}
    return sorted(names, key=lambda name: (rank.get(name.partition("/")[0], len(rank)), name))


def config_names(runs: Iterable[Run]) -> list[str]:
    """All dotted keys of the runs' configurations, in the order of the files, a part's keys together."""
    names: dict[str, None] = {}
    for run in runs:
        names.update(dict.fromkeys(run.flat))
    parts = {part: i for i, part in enumerate(dict.fromkeys(name.partition(".")[0] for name in names))}
    return sorted(names, key=lambda name: parts[name.partition(".")[0]])


def value_of(run: Run, key: str) -> Any:
    """What `run` has under a full name, as `Keys.resolve` returns it; `MISSING` when it has nothing."""
    if key in _OWN:
        return _OWN[key](run)
    if key in run.choices:
        return run.choices[key]
    if key in run.flat:
        return run.flat[key]
    metric = known(key)
    if metric is not None:
        got = metric.of(run)
        return MISSING if got is None else got
    if key.startswith("notes."):
        return ((run.record.get("projection") or {}).get("notes") or {}).get(key[6:], MISSING)
    return run.result.get(key, MISSING)


class Keys:
    """The names that a set of runs knows, and what a word typed by the user means among them."""

    def __init__(self, runs: Sequence[Run]):
        self.runs = runs
        self.choices = choice_names(runs)
        self.config = config_names(runs)

    def resolve(self, word: str) -> str:
        """The full name of `word`: itself, or the one key that ends in it (`lr` for `optimizer.lr`).

        Raises `DfaError` for a word that names nothing, or several keys.
        """
        if word in _OWN or word in self.choices or word in self.config:
            return word
        if (metric := known(word)) is not None:
            return metric.name
        ends = [key for key in self.config if key.endswith(f".{word}")]
        ends += [key for key in self.choices if key.endswith(f"/{word}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise DfaError(f"'{word}' could be {', '.join(ends[:-1])} or {ends[-1]}; write one of them out")
        if gone := no_longer(word) or ending_no_longer(word):
            raise DfaError(gone)
        raise DfaError(f"no run has a key '{word}'; {self._hint(word)}")

    def metric(self, word: str) -> Metric:
        """The metric called `word`: a catalogued one, a column of metrics.csv or a note of the projection.

        Raises `DfaError` for an unknown one, with the known ones, nearest first.
        """
        if (metric := known(word)) is not None:
            return metric
        notes = {
            f"notes.{name}"
            for run in self.runs
            for name in (run.record.get("projection") or {}).get("notes") or ()
        }
        for name in (word, f"notes.{word}"):
            if name in notes:
                return Metric(name, name.partition(".")[2].replace("_", " "), place="projection")
        if any(word in run.result for run in self.runs if number(run.result.get(word)) is not None):
            return Metric(
                word, word.replace("_", " "), "%" if word.endswith("accuracy") else "", "loss" not in word
            )
        columns: dict[str, None] = {}
        for run in self.runs:
            if word in run.curves:
                return curve_metric(word)
            columns.update(dict.fromkeys(run.curves))
        names = [*(metric.name for metric in METRICS), *sorted(notes), *(c for c in columns if c != "epoch")]
        close = nearest(word, [*names, *ALIASES])
        first = [ALIASES.get(name, name) for name in close]
        listed = dict.fromkeys([*first, *names])
        raise DfaError(
            f"unknown metric '{word}'; known ones{' (nearest first)' if first else ''}: {', '.join(listed)}"
        )

    def _hint(self, word: str) -> str:
        names = [*_OWN, *self.choices, *self.config, *(metric.name for metric in METRICS), *ALIASES]
        by_word = {name.rpartition(".")[2]: name for name in reversed(names)}  # `lr` stands for optimizer.lr
        by_word.update((name, name) for name in names)
        close = list(dict.fromkeys(by_word[one] for one in nearest(word, by_word, most=4)))
        if close:
            return f"the nearest are {', '.join(close)}"
        short = [*self.choices, *(key for key in self.config if "." not in key and key not in IRRELEVANT)]
        return f"some that are known: {', '.join(short[:12])}"
