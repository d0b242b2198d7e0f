"""What a kill test counts: kills, commands, configurations that were compared, and everything that went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

LOST, DOUBLED, FAILED, DIFFERENT = "lost", "doubled", "wrongly failed", "different"
KINDS = {
    LOST: "a completed run, a measured epoch, a checkpoint or an exported file is gone or no longer whole",
    DOUBLED: "a configuration completed twice in one output folder, or two processes trained in one folder",
    FAILED: "a record says failed, or a command ended with a traceback or an exit code without a reason",
    DIFFERENT: "a result is not bit for bit that of an undisturbed run",
}


@dataclass(frozen=True)
class Wrong:
    """Something that must not happen. `folder`: where it can be inspected."""

    kind: str
    what: str
    scenario: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.kind}: {self.scenario}: {self.what} ({self.folder})"


@dataclass
class Report:
    """Counts of what happened.

    `kills`: by scenario and detail. `left`: what a killed `train`, `resume` or `clean` left. `resumed`: the
    configurations that were continued from a checkpoint and then compared, each with whether the simulated optics
    projected its errors. `resumes`: how often the compared runs were continued from a checkpoint. `sweeps`: the number
    of sweeps whose outcome was compared with that of an undisturbed one.
    """

    seed: int = 0
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    resumed: dict[str, bool] = field(default_factory=dict)
    resumes: int = 0
    compared: int = 0
    sweeps: int = 0
    notes: list[str] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    seconds: float = 0.0

    def killed(self, scenario: str | None = None) -> int:
        return sum(count for (name, _), count in self.kills.items() if scenario in (None, name))

    def __str__(self) -> str:
        optics = sum(self.resumed.values())
        lines = [f"{self.killed()} kills with SIGKILL in {self.seconds / 60:.1f} minutes, seed {self.seed}"]
        for name in dict.fromkeys(scenario for scenario, _ in self.kills):
            details = {detail: count for (scenario, detail), count in self.kills.items() if scenario == name}
            lines.append(f"  {name:<9}{self.killed(name):>4}  ({_listed(details)})")
        lines += [
            f"commands: {sum(self.commands.values())} ({_listed(self.commands)})",
            f"left by killed commands: {_listed(self.left) or 'nothing'}",
            f"continued from a checkpoint: {self.resumes} times",
            f"configurations resumed and compared with an undisturbed run: {len(self.resumed)}, "
            f"{optics} of them with simulated optics",
            f"all comparisons of runs: {self.compared}; sweeps compared: {self.sweeps}",
            *(f"note: {note}" for note in self.notes),
        ]
        count = Counter(wrong.kind for wrong in self.wrong)
        lines += [f"{kind}: {count[kind]}" for kind in KINDS]
        lines += [f"  {wrong}" for wrong in self.wrong]
        return "\n".join(lines)


def _listed(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
