"""The metrics of a run: their names, their words in tables, their units, and whether more is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dfa_cli.console.values import duration, grouped, number, quantity
from dfa_cli.records.curves import steady_seconds
from dfa_cli.records.run import Run


@dataclass(frozen=True)
class Metric:
    """A number that a run has measured, or that was computed from the run.

    `name`: its full name. `words`: its name in tables. `unit`: `%` (a fraction in files, percent in tables), `s`,
    `J`, `MB`, or none. `up`: whether more is better. `place`: the section of the record that holds the
    number. It is empty for the top level, and `curve` for a column of `metrics.csv`.
    """

    name: str
    words: str
    unit: str = ""
    up: bool = False
    place: str = "result"

    @property
    def title(self) -> str:
        """The words and the unit, as in `test accuracy at best validation epoch, %`."""
        return f"{self.words}, {self.unit}" if self.unit else self.words

    @property
    def scale(self) -> float:
        """The factor from the unit of files to the unit of tables."""
        return 100.0 if self.unit == "%" else 1.0

    def value_of(self, run: Run) -> float | None:
        """Returns the value of one run in the unit of files, or `None` where it was not measured."""
        if self.place == "curve":
            measured = [value for value in run.curves.get(self.name, []) if value is not None]
            return number(measured[-1]) if measured else None
        sections = {"": run.record, "result": run.result}
        value: Any = sections.get(self.place, run.record.get(self.place))
        for part in self.name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None and self.name == "steady_seconds":  # as in records that are older than this metric
            value = steady_seconds(run.curves.get("seconds", []))
        return number(value)

    def show(self, value: float | None, precision: int | None = None) -> str:
        """Formats `value`, which is in the unit of files, for a table; a percentage gets one decimal by default."""
        if value is None:
            return "–"
        if self.unit == "%":
            return f"{100 * value:.{1 if precision is None else precision}f}"
        if precision is not None:
            return f"{value:.{precision}f}"
        if self.unit == "s":
            return duration(value)
        return quantity(value, "J") if self.unit == "J" else grouped(value)


METRICS = (
    Metric("test_accuracy_at_best_validation", "test accuracy at best validation epoch", "%", True),
    Metric("test_accuracy_at_last_epoch", "test accuracy at last epoch", "%", True),
    Metric("best_validation_accuracy", "best validation accuracy", "%", True),
    Metric("best_epoch", "best epoch"),
    Metric("last_epoch", "last epoch"),
    Metric("last_train_loss", "training loss at last epoch"),
    Metric("total_seconds", "total time", "s", place="time"),
    Metric("train_seconds", "training time (sum of the epochs)", "s", place="time"),
    Metric("steady_seconds", "training time (median epoch x epochs)", "s", place="time"),
    Metric("startup_seconds", "time to start the process", "s", place="time"),
    Metric("data_seconds", "time to read the data", "s", place="time"),
    Metric("peak_memory_mb", "peak memory", "MB", place=""),
    Metric("steps", "training steps", place="projection"),
    Metric("rows", "rows projected", place="projection"),
    Metric("frames", "frames", place="projection"),
    Metric("coefficients", "coefficients", place="projection"),
    Metric("measured_seconds", "measured projection time", "s", place="projection"),
    Metric("modelled_seconds", "modelled optical time", "s", place="projection"),
    Metric("modelled_joules", "modelled energy", "J", place="projection"),
)
ALIASES = {
    "accuracy": "test_accuracy_at_best_validation",
    "test_accuracy": "test_accuracy_at_best_validation",
    "test": "test_accuracy_at_best_validation",
    "validation": "best_validation_accuracy",
    "loss": "last_train_loss",
    "time": "steady_seconds",
    "memory": "peak_memory_mb",
    "energy": "modelled_joules",
    "optical_time": "modelled_seconds",
}
BY_NAME = {metric.name: metric for metric in METRICS}
DEFAULT = METRICS[0]


def note_in_words(name: str) -> str:
    """Returns what a note of the projection device is called in tables: `saturated fraction` for saturated_fraction."""
    return _NOTES.get(name) or name.replace("_", " ")


_NOTES = {
    "snr_db": "SNR, calibration pattern, dB",
    "snr_db_one_lit": "SNR, one component lit, dB",
    "coherence_time_steps": "coherence time, steps",
    "coherence_time_seconds": "coherence time, s",
}


def find_metric(name: str) -> Metric | None:
    """Returns the metric of `METRICS` that has this name, alias or words, or `None`."""
    name = ALIASES.get(name, name)
    return BY_NAME.get(name) or next((metric for metric in METRICS if metric.words == name), None)


def curve_metric(name: str) -> Metric:
    """Makes a metric of a column of `metrics.csv`; its value is the last one that was measured."""
    percent = name.endswith("accuracy")
    words = f"{name.replace('_', ' ')} at the last epoch"
    # More is better, except for losses and seconds.
    return Metric(name, words, "%" if percent else "", "loss" not in name and name != "seconds", "curve")
