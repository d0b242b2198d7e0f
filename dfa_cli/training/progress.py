"""The output of a run: a progress bar on a terminal, lines elsewhere, and the result at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.console.messages import entry, percent, shortest
from dfa_cli.records.fallback import todays_sentence
from dfa_cli.records.words import heading

if TYPE_CHECKING:
    from dfa_cli.training.loop import Epoch


LINES = 10  # about so many lines are printed in a run whose output is not a terminal
SECONDS_BETWEEN_LINES = 30.0  # when this time has passed, a slow run prints an extra line
SECONDS_BETWEEN_REDRAWS = 0.1  # the bar is not redrawn before this time has passed


class Progress:
    """Shows how far a run is: with `progress=auto` by a bar on a terminal, and by about ten lines elsewhere."""

    def __init__(self, config: Mapping[str, Any], choices: Mapping[str, str]):
        kind = config["progress"]
        self.kind = ("bar" if sys.stdout.isatty() else "lines") if kind == "auto" else kind
        self.epochs = config["epochs"]
        self.title = heading(config, choices)
        self._bar = None
        self._last_shown = 0.0
        self._last_epoch: Epoch | None = None
        self._last_printed: Epoch | None = None

    def __enter__(self) -> Progress:
        if self.kind != "none":
            print(self.title, flush=True)
        if self.kind == "bar":
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            # The bar is redrawn after epochs: rich's own thread would slow down epochs that take a millisecond.
            self._bar = Progress(
                BarColumn(bar_width=16),
                TextColumn("{task.description}"),
                TimeRemainingColumn(compact=True),
                auto_refresh=False,
                transient=False,
            )
            self._task = self._bar.add_task("reading data", total=self.epochs)
            self._bar.start()
            self._bar.refresh()
        return self

    def epoch(self, epoch: Epoch) -> None:
        self._last_epoch = epoch
        now = time.monotonic()
        if self._bar is not None:
            if now - self._last_shown >= SECONDS_BETWEEN_REDRAWS or epoch.epoch == self.epochs:
                self._last_shown = now
                self._bar.update(self._task, completed=epoch.epoch, description=self._format(epoch))
                self._bar.refresh()
        elif self.kind == "lines":
            step = max(1, self.epochs // LINES)
            if epoch.epoch % step == 0 or epoch.epoch == 1 or now - self._last_shown >= SECONDS_BETWEEN_LINES:
                self._last_shown = now
                self._print_line(epoch)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            if self._last_epoch is not None:
                self._bar.update(
                    self._task, completed=self._last_epoch.epoch, description=self._format(self._last_epoch)
                )
            self._bar.stop()
        elif (
            self.kind == "lines"
            and self._last_epoch is not None
            and self._last_epoch is not self._last_printed
        ):
            self._print_line(self._last_epoch)

    def _print_line(self, epoch: Epoch) -> None:
        self._last_printed = epoch
        print(self._format(epoch), flush=True)

    def _format(self, epoch: Epoch) -> str:
        count = f"{epoch.epoch:{len(str(self.epochs))}}/{self.epochs}"
        return (
            f"epoch {count}  loss {epoch.train_loss:.3f}  train {percent(epoch.train_accuracy)}  "
            f"val {percent(epoch.validation_accuracy)}  test {percent(epoch.test_accuracy)}"
        )

    def summary(self, record: Mapping[str, Any], folder: Path) -> None:
        """Print the result. The record must be complete."""
        if self.kind != "none":
            print("\n".join(summary(record, folder)), flush=True)


def summary(record: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the lines that end a run. No line is longer than 80 characters, except for a long path.

    For a stand-in the first and the last line are the sentence about it.
    """
    result, cost, times = record["result"], record["projection"], record["time"]
    sizes = ", ".join(f"{count:,} {name}" for name, count in result["sizes"].items())
    best, last = result["test_accuracy_at_best_validation"], result["test_accuracy_at_last_epoch"]
    fallback = record.get("data_fallback")
    stand_in = [todays_sentence(record["choices"], fallback)] if fallback else []
    lines = [
        "",
        *stand_in,
        *entry("test accuracy", f"{percent(best)}  at the best validation epoch ({result['best_epoch']})"),
        *entry("", f"{percent(last)}  at the last epoch ({result['last_epoch']})"),
        *entry("split", f"{result['split']}:"),
        *entry("", sizes),
    ]
    if cost and cost["frames"]:
        seconds, joules = cost["modelled_seconds"], cost["modelled_joules"]
        lines += entry(
            "projection", f"{cost['frames']:,} frames, measured here {cost['measured_seconds']:.2f} s"
        )
        lines += entry("", f"modelled optics {seconds:,.1f} s, {joules:,.0f} J")
    lines += entry("time", f"{times['train_seconds']:.1f} s training, {times['total_seconds']:.1f} s in all")
    return [*lines, f"{'record':15}{shortest(folder)}", *stand_in]
