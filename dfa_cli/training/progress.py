"""The output of a run: a progress bar on a terminal, lines elsewhere, and the result at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.console.messages import entry, percent, shortest
from dfa_cli.console.table import wrap
from dfa_cli.console.values import duration, format_clock
from dfa_cli.records.fallback import todays_sentence
from dfa_cli.records.words import drift_in_words, heading, light_in_words, noise_in_words

if TYPE_CHECKING:
    from rich.live import Live

    from dfa_cli.training.batches import Batches
    from dfa_cli.training.loop import Epoch


LINES = 10  # about so many lines are printed in a run whose output is not a terminal
SECONDS_BETWEEN_LINES = 30.0  # when this time has passed, a slow run prints an extra line
SECONDS_BETWEEN_REDRAWS = 0.5  # a redraw takes a millisecond or two
SECONDS_BEFORE_ESTIMATE = 1.0  # the first batches are slower than the others
BAR_WIDTH = 16


class Progress:
    """Shows how far a run is: with `progress=auto` by a bar on a terminal, and by about ten lines elsewhere."""

    def __init__(self, config: Mapping[str, Any], choices: Mapping[str, str]):
        kind = config["progress"]
        self.kind = ("bar" if sys.stdout.isatty() else "lines") if kind == "auto" else kind
        self.epochs = config["epochs"]
        self.may_stop_early = config["patience"] is not None
        words = heading(config, choices)
        # The sentence about a stand-in stays on one line, as at the end of the run.
        self.title = [words] if config.get("data_fallback") else wrap(words, 80)
        self._hints = _hints(config)
        self._live: Live | None = None
        self._last_shown = 0.0
        self._last_epoch: Epoch | None = None
        self._last_printed: Epoch | None = None
        self._began = 0.0  # when the training began
        self._after = 0  # the epoch after which it began
        self._rows_done: float | None = None  # the part of the rows of this epoch that have been trained on

    def __enter__(self) -> Progress:
        if self.kind != "none":
            print("\n".join([*self.title, *self._hints]), flush=True)
        if self.kind == "bar":
            from rich.console import Console
            from rich.live import Live

            # The bar is redrawn after batches and epochs: a thread would slow down epochs that take a millisecond.
            self._live = Live(console=Console(highlight=False), auto_refresh=False)
            self._live.start()
            self._draw("reading data, building the model")
        return self

    def begin_training(self, batches: Batches, after: int) -> None:
        """Start the clock, and follow the batches. `after`: the last epoch of the run that is resumed, or 0."""
        self._began = self._last_shown = time.monotonic()
        self._after = after
        words = f"goes on after epoch {after}"
        if after and self._live is not None:
            self._live.console.print(words)
        elif after and self.kind == "lines":
            print(words, flush=True)
        if self._live is not None:
            batches.observer = self._rows
            self._draw(self._position())

    def _rows(self, done: float) -> None:
        """Show how far the current epoch is. It is called after each batch, so it has to take no time."""
        now = time.monotonic()
        if now - self._last_shown >= SECONDS_BETWEEN_REDRAWS:
            self._last_shown, self._rows_done = now, done
            self._draw(self._position(now))

    def show_epoch(self, epoch: Epoch) -> None:
        self._last_epoch = epoch
        self._rows_done = None if self._rows_done is None else 0.0
        now = time.monotonic()
        if self._live is not None:
            if now - self._last_shown >= SECONDS_BETWEEN_REDRAWS and epoch.epoch < self.epochs:
                self._last_shown = now
                self._draw(self._position(now))
        elif self.kind == "lines":
            step = max(1, self.epochs // LINES)
            if epoch.epoch % step == 0 or epoch.epoch == 1 or now - self._last_shown >= SECONDS_BETWEEN_LINES:
                self._last_shown = now
                self._print_line(epoch)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live is not None:
            if kind is None and self._last_epoch is not None:
                self._draw(self._format(self._last_epoch), with_epoch=False)
            elif self._began:
                self._draw(self._position())
            self._live.stop()
        elif (
            self.kind == "lines"
            and self._last_epoch is not None
            and self._last_epoch is not self._last_printed
        ):
            self._print_line(self._last_epoch)

    @property
    def _epochs_done(self) -> int:
        return self._last_epoch.epoch if self._last_epoch is not None else self._after

    def _position(self, now: float | None = None) -> str:
        """Say what the training is doing, as in `epoch 1/20, 12 % of the rows, 0:40 left`.

        `now`: the time that the estimate is for. Without it the estimate is left out.
        """
        words = f"epoch {min(self._epochs_done + 1, self.epochs)}/{self.epochs}"
        if self._rows_done is not None:
            words += f", {100 * self._rows_done:.0f} % of the rows"
        if now is not None and now - self._began >= SECONDS_BEFORE_ESTIMATE:
            done = self._epochs_done - self._after + (self._rows_done or 0.0)
            left = (now - self._began) / done * (self.epochs - self._after - done)
            words += f", {'at most ' if self.may_stop_early else ''}{format_clock(left)} left"
        return words

    def _draw(self, words: str, with_epoch: bool = True) -> None:
        """Draw the bar and the words beside it, and below them what the last epoch measured."""
        from rich.text import Text

        assert self._live is not None
        console = self._live.console
        width = min(BAR_WIDTH, console.width - len(words) - 2)
        filled = round(width * (self._epochs_done + (self._rows_done or 0.0)) / self.epochs)
        full, empty = "#." if console.options.ascii_only else "━─"
        text = Text.assemble((full * filled, "green"), empty * (width - filled), " " * (width > 0), words)
        if with_epoch and self._last_epoch is not None:
            text.append(f"\n{self._format(self._last_epoch)}")
        text.no_wrap, text.overflow = True, "crop"
        self._live.update(text, refresh=True)

    def _print_line(self, epoch: Epoch) -> None:
        self._last_printed = epoch
        print(self._format(epoch), flush=True)

    def _format(self, epoch: Epoch) -> str:
        count = f"{epoch.epoch:{len(str(self.epochs))}}/{self.epochs}"
        return (
            f"epoch {count}  loss {_five_cells(epoch.train_loss)}  train {percent(epoch.train_accuracy)}  "
            f"val {percent(epoch.validation_accuracy)}  test {percent(epoch.test_accuracy)}"
        )

    def summary(self, record: Mapping[str, Any], folder: Path) -> None:
        """Print the result. The record must be complete."""
        if self.kind != "none":
            print("\n".join(summary(record, folder)), flush=True)


def _five_cells(loss: float) -> str:
    """Write a loss in five cells, so that the columns stay where they are: `2.303`, `12.30`, ` 1234`, `1e+38`."""
    digits_before = len(f"{loss:.0f}")
    return f"{loss:5.{max(4 - digits_before, 0)}f}" if abs(loss) < 99999.5 else f"{loss:.0e}"


def _hints(config: Mapping[str, Any]) -> list[str]:
    """Say that the stages of a pipeline take turns, if they do. A graph cannot be divided into micro-batches."""
    parallel = config.get("parallel") or {}
    waits = parallel.get("stages", 1) > 1 and parallel.get("micro_batches") == 1
    if not waits or config["data"].get("gives") == "graph":
        return []
    return wrap(
        "note: with parallel.micro_batches=1 a stage waits for the whole batch of the stage before it. More, such as "
        "parallel.micro_batches=4, let them work at the same time.",
        80,
    )


def summary(record: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the lines that end a run. No line is longer than 80 characters, except for a long path.

    When the run used a stand-in for its data set, the first and the last line say so.
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
        *(
            entry("weights", f"of epoch {result['best_epoch']}")
            if record["config"]["weights"] == "best"
            else []
        ),
        *entry("split", f"{result['split']}:"),
        *entry("", sizes),
    ]
    if cost and cost["frames"]:
        seconds = cost["measured_seconds"]
        measured = "" if seconds is None else f", measured here {duration(seconds)}"
        lines += entry("projection", f"{cost['frames']:,} frames{measured}")
        modelled = light_in_words(cost["modelled_seconds"], cost["modelled_joules"])
        lines += entry("", f"modelled optics {modelled}")
        if ratios := noise_in_words(cost["notes"]):
            lines += entry("", ratios)
    drift = drift_in_words(record["config"], cost["notes"] if cost else {})
    for name, line in zip(("drift", "", ""), drift, strict=False):
        lines += entry(name, line)
    for sentence in record.get("warnings", ()):
        lines += entry("warning", sentence)
    in_all, training = duration(times["total_seconds"]), duration(times["train_seconds"])
    lines += entry("time", f"{in_all} in all, {training} training")
    return [*lines, f"{'record':15}{shortest(folder)}", *stand_in]
