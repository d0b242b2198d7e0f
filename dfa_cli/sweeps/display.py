"""Shows a running sweep: in a terminal as a block that is redrawn, otherwise as a line for each ended job."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dfa_cli.console.messages import percent
from dfa_cli.console.table import truncate, wrap
from dfa_cli.console.values import duration, format_clock

if TYPE_CHECKING:
    from dfa_cli.sweeps.plan import SweepRun
    from dfa_cli.sweeps.supervisor import Supervisor

REASON = 60  # letters of the reason of a failure in the line of its job
MAX_SHOWN = 8  # running jobs with a line of their own; the others are counted
# states that the line of counts shows, each with the words for it
COUNTED = (
    ("completed", "done"),
    ("running", "running"),
    ("elsewhere", "run by another sweep"),
    ("failed", "failed"),
    ("interrupted", "interrupted"),
    ("reused", "reused"),
)


class SweepDisplay:
    """Shows the progress of a sweep. `total`: the number of jobs, if it is known.

    with SweepDisplay(total) as display:
        Grid(..., display).run()
    """

    def __init__(self, total: int | None):
        self.total = total
        self._live = None
        self._printed: set[int] = set()

    def __enter__(self) -> SweepDisplay:
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(highlight=False), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, sweep: Supervisor) -> None:
        if self._live is not None:
            from rich.text import Text

            lines = self.lines(sweep, self._live.console.width - 1)
            self._live.update(Text("\n".join(lines)), refresh=True)
            return
        for run in sweep.runs:
            # After a signal the last line of the sweep counts the jobs that it has stopped.
            hidden = ("stopped", "interrupted") if sweep.stopping else ("stopped",)
            if id(run) not in self._printed and run.ended and run.state not in hidden:
                self._printed.add(id(run))
                # A run that was reused from the start has no seconds, and the opening line has counted it.
                if not (run.state == "reused" and run.seconds is None):
                    print(self._ended(run), flush=True)

    def _ended(self, run: SweepRun) -> str:
        number = f"[{len(self._printed)}/{self.total}]" if self.total else f"[{len(self._printed)}]"
        if run.state in ("completed", "reused"):
            took = (
                f" in {duration(run.seconds)}" if run.state == "completed" and run.seconds is not None else ""
            )
            accuracy = f"test {percent(run.accuracy).strip()}" if run.accuracy is not None else ""
            return f"{number} {run.state}{took}  {run.label}  {accuracy}"
        # The end of the sweep has the whole reason of a failure, with its log.
        reason = truncate(run.reason, REASON) if run.state == "failed" else run.reason
        return f"{number} {run.state}  {run.label}  {reason}"

    def lines(self, sweep: Supervisor, room: int) -> list[str]:
        """Return the block shown in a terminal: the counts, and a line for each running job.

        The counts are folded, since none of them may be missing. The other lines are cut.
        """
        runs = sweep.runs
        total = self.total or len(runs)
        count = {state: sum(run.state == state for run in runs) for state, _ in COUNTED}
        ended = sum(run.ended for run in runs)
        words = [
            f"{count[state]} {name}"
            for state, name in COUNTED
            if count[state] or state in ("completed", "running")
        ]
        if sweep.stopping:
            words.append("stopping; Ctrl-C again kills")
        elif (left := estimate_seconds_left(sweep, total)) is not None and ended < total:
            words.append(f"{format_clock(left)} left")
        filled = round(20 * ended / total) if total else 0
        lines = wrap(f"{'#' * filled}{'.' * (20 - filled)} {ended}/{total}  " + ", ".join(words), room)
        running = [run for run in runs if run.state == "running"]
        for run in running[:MAX_SHOWN]:
            accuracy = f"  val {percent(run.accuracy)}" if run.accuracy is not None else ""
            lines.append(truncate(f"  epoch {run.epoch}/{run.epochs}{accuracy}  {run.label}", room))
        if len(running) > MAX_SHOWN:
            lines.append(f"  and {len(running) - MAX_SHOWN} more")
        return lines


def estimate_seconds_left(sweep: Supervisor, total: int) -> float | None:
    """Estimate the remaining time from the speed so far, counting the epochs of running jobs.

    Returns `None` until two hundredths of a job are done.
    """
    ran = [run for run in sweep.runs if run.state in ("completed", "failed", "interrupted")]
    reused = sum(run.state == "reused" for run in sweep.runs)
    parts = sum(run.epoch / run.epochs for run in sweep.runs if run.state == "running" and run.epochs)
    done = len(ran) + parts
    if sweep.began is None or done < 0.02:
        return None
    return (time.monotonic() - sweep.began) * max(total - reused - done, 0) / done
