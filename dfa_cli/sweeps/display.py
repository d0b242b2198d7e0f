"""What a sweep shows while it runs: a block that is redrawn on a terminal, a line for each job elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dfa_cli.console.messages import percent

if TYPE_CHECKING:
    from dfa_cli.sweeps.plan import Point
    from dfa_cli.sweeps.supervisor import Sweep

MOST_SHOWN = 8  # running jobs; the others are counted
COUNTED = (
    ("completed", "done"),
    ("running", "running"),
    ("elsewhere", "run by another sweep"),
    ("failed", "failed"),
    ("interrupted", "interrupted"),
    ("reused", "reused"),
)


class Display:
    """`with Display(total) as display: Sweep(..., display).run()`; `total`: jobs in all, if it is known."""

    def __init__(self, total: int | None):
        self.total = total
        self._live = None
        self._told: set[int] = set()

    def __enter__(self) -> Display:
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(highlight=False), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, sweep: Sweep) -> None:
        if self._live is not None:
            from rich.text import Text

            width = self._live.console.width
            self._live.update(Text("\n".join(line[: width - 1] for line in self.lines(sweep))), refresh=True)
            return
        for point in sweep.points:
            if id(point) not in self._told and point.ended and point.state not in ("stopped",):
                self._told.add(id(point))
                if not (
                    point.state == "reused" and point.seconds is None
                ):  # known before the start, and said then
                    print(self._ended(point), flush=True)

    def _ended(self, point: Point) -> str:
        number = f"[{len(self._told)}/{self.total}]" if self.total else f"[{len(self._told)}]"
        if point.state in ("completed", "reused"):
            took = (
                f" in {point.seconds:.1f} s"
                if point.state == "completed" and point.seconds is not None
                else ""
            )
            accuracy = f"test {percent(point.accuracy).strip()}" if point.accuracy is not None else ""
            return f"{number} {point.state}{took}  {point.label}  {accuracy}"
        return f"{number} {point.state}  {point.label}  {point.reason}"

    def lines(self, sweep: Sweep) -> list[str]:
        """The block on a terminal: a line of counts, and a line for each running job."""
        points = sweep.points
        total = self.total or len(points)
        count = {state: sum(point.state == state for point in points) for state, _ in COUNTED}
        ended = sum(point.ended for point in points)
        words = [
            f"{count[state]} {name}"
            for state, name in COUNTED
            if count[state] or state in ("completed", "running")
        ]
        if sweep.stopping:
            words.append("stopping; Ctrl-C again kills")
        elif (left := seconds_left(sweep, total)) is not None and ended < total:
            words.append(f"{clock(left)} left")
        filled = round(20 * ended / total) if total else 0
        lines = [f"{'#' * filled}{'.' * (20 - filled)} {ended}/{total}  " + ", ".join(words)]
        running = [point for point in points if point.state == "running"]
        for point in running[:MOST_SHOWN]:
            accuracy = f"  val {percent(point.accuracy)}" if point.accuracy is not None else ""
            lines.append(f"  epoch {point.epoch}/{point.epochs}{accuracy}  {point.label}")
        if len(running) > MOST_SHOWN:
            lines.append(f"  and {len(running) - MOST_SHOWN} more")
        return lines


def seconds_left(sweep: Sweep, total: int) -> float | None:
    """By the speed so far, the epochs of running jobs included; `None` before anything has been measured."""
    ran = [point for point in sweep.points if point.state in ("completed", "failed", "interrupted")]
    reused = sum(point.state == "reused" for point in sweep.points)
    parts = sum(
        point.epoch / point.epochs for point in sweep.points if point.state == "running" and point.epochs
    )
    done = len(ran) + parts
    if sweep.began is None or done < 0.02:
        return None
    return (time.monotonic() - sweep.began) * max(total - reused - done, 0) / done


def clock(seconds: float) -> str:
    """`0:42`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
