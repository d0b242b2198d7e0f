"""One round of a scenario of the kill test, and what all rounds share."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from studies.reliability import commands
from studies.reliability.commands import Command, wait_until
from studies.reliability.folders import CHECKPOINT, Finding, Ledger, differences, read_state, resumes_of
from studies.reliability.report import FAILED, Report, Wrong

ALWAYS = ("threads=1", "progress=none")
IN_USE = "in use"
# An early kill comes within so many seconds after the start of a process. Training begins after about two.
EARLY_KILL_SECONDS = 3.0


class KillTest:
    """What all rounds share: the random moments, the report, the number of kills, and what is made only once.

    `extra`: further overrides of the sweeps. `durations`: the seconds of undisturbed commands, by name.
    """

    def __init__(self, root: Path, kills: int, seed: int, extra: tuple[str, ...] = ()):
        self.root = root
        self.kills = kills
        self.rng = random.Random(seed)
        self.report = Report(seed)
        self.extra = extra
        self.durations: dict[str, float] = {}
        self._made: dict[str, Path] = {}
        self._rounds = 0

    @property
    def may_kill(self) -> bool:
        return self.report.killed() < self.kills

    @contextmanager
    def trial(self, scenario: str) -> Iterator[Trial]:
        """Make the folder of a round. It is deleted at the end unless something went wrong in it."""
        self._rounds += 1
        folder = self.root / f"{self._rounds:03d}_{scenario}"
        folder.mkdir()
        before = len(self.report.wrong)
        trial = Trial(self, scenario, folder)
        try:
            yield trial
        finally:
            trial.end_processes()
        if len(self.report.wrong) == before:
            shutil.rmtree(folder)

    def run_undisturbed_once(self, name: str, words_for: Callable[[Path], Sequence[str | Path]]) -> Path:
        """Return a folder that an undisturbed command has filled.

        The command is run at the first call with this name. `words_for`: takes the folder and returns its words.
        """

        def make(folder: Path) -> None:
            with self.trial(f"undisturbed_{name}") as trial:
                command = trial.start(*words_for(folder))
                if trial.end(command) != 0:
                    raise RuntimeError(f"An undisturbed command failed: {command.output[-3000:]}")

        return self.make_once(name, make)

    def make_once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return a folder that `make` fills at the first call with this name. The seconds are kept in `durations`."""
        if name not in self._made:
            folder = self.root / f"made_{name}"
            folder.mkdir()
            began = time.monotonic()
            make(folder)
            self.durations[name] = time.monotonic() - began
            self._made[name] = folder
        return self._made[name]


class Trial:
    """One round of a scenario in a folder of its own: its commands, its kills, and what is found wrong.

    `outputs`: the output folder of its runs. `ledger`: remembers the runs there from one command to the next.
    """

    def __init__(self, test: KillTest, scenario: str, folder: Path):
        self.test = test
        self.rng = test.rng
        self.report = test.report
        self.scenario = scenario
        self.folder = folder
        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        self.ledger = Ledger(self.outputs)
        self._commands: list[Command] = []

    def start(self, *words: str | Path) -> Command:
        """Start `dfa` with these words."""
        typed = tuple(map(str, words))
        return self._started(commands.start(typed, self.folder, self._log(typed[0])))

    def start_program(self, program: tuple[str, ...], name: str, environment: Mapping[str, str]) -> Command:
        """Start another program than `dfa`."""
        return self._started(
            commands.start_program(program, (name,), self.folder, self._log(name), environment)
        )

    def _log(self, name: str) -> Path:
        return self.folder / f"{len(self._commands):02d}_{name.replace(' ', '_')}.log"

    def _started(self, command: Command) -> Command:
        self._commands.append(command)
        self.report.commands[command.words[0]] += 1
        return command

    def kill(
        self,
        command: Command | Sequence[Command],
        detail: str,
        seconds: float,
        after: Callable[[], object] = lambda: True,
        target: str = "alone",
    ) -> bool:
        """Kill a command some seconds after a condition holds, and tell whether it was killed.

        Of several commands it is a random one of those that are running then. A command that ends before is not killed.
        """
        started = [command] if isinstance(command, Command) else list(command)

        def all_ended() -> bool:
            return not any(command.running for command in started)

        wait_until(lambda: after() or all_ended(), commands.TIMEOUT)
        wait_until(all_ended, seconds)
        running = [command for command in started if command.running]
        if not running or not self.rng.choice(running).kill(target):
            return False
        self.count_kill(detail)
        return True

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def count_kill(self, detail: str) -> None:
        self.report.kills[self.scenario, detail] += 1

    def end(self, command: Command, refusals: Collection[str] = (), code_of_refusal: int = 2) -> int:
        """Wait for a command, check how it ended, and return its exit code.

        `refusals`: regular expressions. The command may also end with `code_of_refusal` when its output fits one of
        them.
        """
        code = command.wait()
        output = command.output
        shown = f"dfa {command.words[0]} ended with code {code}, {command.log.name}"
        if code == -9 and not command.killed:
            self.add_finding(FAILED, f"{shown}: it hung and was killed")
        elif "Traceback (most recent call last)" in output:
            self.add_finding(FAILED, f"{shown}: a traceback")
        elif code == code_of_refusal and any(re.search(refusal, output) for refusal in refusals):
            return code
        elif code not in (0, -9):
            self.add_finding(FAILED, f"{shown}: {' '.join(output.split())[-300:]}")
        return code

    def expect_refusal(self, command: Command, sentence: str) -> None:
        """Wait for a command, and note a finding unless it is refused with this sentence."""
        if self.end(command, [sentence]) == 0:
            self.add_finding(FAILED, f"dfa {command.words[0]} was not refused with: {sentence}")

    def check_runs(self, restarted: Collection[Path] = (), removable: bool = False) -> None:
        """Note what has gone wrong in the runs of this round since the last call. See `Ledger.look`."""
        self.add_findings(self.ledger.look(restarted, removable))

    def compare(self, undisturbed: Path, disturbed: Path) -> None:
        self.report.compared += 1
        self.report.resumes += resumes_of(disturbed)
        self.add_findings(differences(undisturbed, disturbed))

    def add_finding(self, kind: str, what: str) -> None:
        self.report.wrong.append(Wrong(kind, what, self.scenario, self.folder))

    def add_findings(self, findings: Collection[Finding]) -> None:
        for kind, what in findings:
            self.add_finding(kind, what)

    def end_processes(self) -> None:
        """End all processes that this round has started."""
        for command in self._commands:
            if command.running:
                command.kill("all")
            command.end_processes(patience=20.0)
            command.process.wait()


def complete(trial: Trial, words: tuple[str, ...], folder: Path, killed_again: float = 0.0) -> Path:
    """Go on with a run until it is completed, as a user would, and return its folder.

    A run without a record is begun again in another folder. A run without a checkpoint is begun again in the same
    folder. Any other goes on from its checkpoint. `killed_again`: the probability that such a command is killed, too.
    """
    for attempt in range(1, 30):
        state = read_state(folder)
        if state is not None and state.completed:
            return folder
        restarted: list[Path] = []
        if state is None:
            folder = folder.with_name(f"{folder.name}_{attempt}")
            command = trial.start("train", *words, f"hydra.run.dir={folder}")
        elif state.checkpoint is None:
            trial.expect_refusal(trial.start("resume", folder), "has no checkpoint")
            command = trial.start("resume", folder, "--from-start")
            restarted.append(folder)
        else:
            command = trial.start("resume", folder)
        again = trial.test.may_kill and trial.rng.random() < killed_again
        if again and kill_training(trial, command, command.words[0], folder):
            note_what_is_left(trial, folder)
        trial.end(command)
        trial.check_runs(restarted)
    trial.add_finding(FAILED, f"{folder.name}: the run was not completed after {attempt} commands")
    return folder


def kill_training(
    trial: Trial,
    command: Command | Sequence[Command],
    detail: str,
    folder: Path,
    window: float = 0.8,
    early: float = 0.3,
) -> bool:
    """Kill a command that trains in `folder`, or one of several, at a random moment.

    `early`: the probability that the moment may be any one from the start of the process on. Otherwise it lies in the
    `window` seconds after its first checkpoint.
    """
    if trial.rng.random() < early:
        return trial.kill(command, detail, trial.rng.uniform(0.0, EARLY_KILL_SECONDS))
    began = time.time()

    def trains() -> bool:
        """Tell whether a checkpoint was saved after the start."""
        try:
            return (folder / CHECKPOINT).stat().st_mtime > began
        except OSError:
            return False

    return trial.kill(command, detail, trial.rng.uniform(0.0, window), after=trains)


def note_what_is_left(trial: Trial, folder: Path) -> None:
    """Count what a killed command left in the folder of its run."""
    state = read_state(folder)
    if state is None:
        left = "no record"
    elif state.completed:
        left = "a completed run"
    else:
        left = "a record without a checkpoint" if state.checkpoint is None else "a checkpoint"
    trial.report.left[left] += 1
