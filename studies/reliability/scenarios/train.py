"""Kills `dfa train` and `dfa resume`, and compares each run with an undisturbed one of the same configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studies.reliability.folders import resumes_of
from studies.reliability.trial import ALWAYS, KillTest, Trial, complete, kill_training, note_what_is_left

NAME = "train"
TRIES = 6  # A kill may come too late, so that there is nothing to resume.

# The lengths of the lists have few common factors, so that counting through all of them at once mixes them well.
READOUTS = ("statistical", "off_axis", "phase_shifting", "intensity", "ideal")
ENCODINGS = ("ternary", "sign", "bitplanes", "float")
MEDIA = ("dense", "structured")
RARE_MEDIUM, RARELY = "procedural", 20  # It is compiled anew in each process, which takes seconds.
OPTICAL = ("rule=dfa", "rule=drtp", "rule=dfa rule.share_columns=true")
DIGITAL = (
    "rule=bp",
    "rule=dfa device=cpu",
    "rule=shallow",
    "rule=fa",
    "rule=drtp device=cpu",
    "rule=usf",
    "rule=brsf",
    "rule=frsf",
)
# Each with a number of epochs that takes about 0.7 seconds.
MODELS = (
    ("model=fc data=digits model.hidden=[16,12] optimizer.lr=0.003", 100),
    ("model=gcn data=digits_graph model.hidden=[8]", 240),
    (
        "model=fc data=digits model.hidden=[12] model.dropout=0.2 model.input_dropout=0.1 optimizer.lr=0.003",
        120,
    ),
    ("model=gcn data=digits_graph model.hidden=[8,8] optimizer.lr=0.01", 160),
    ("model=sage data=digits_graph model.hidden=[8] optimizer.lr=0.01", 100),
    ("model=fc data=digits_graph model.hidden=[8] optimizer.lr=0.01", 240),
    ("model=gat data=digits_graph model.hidden=[4] optimizer.lr=0.01", 36),
)
OPTIMIZERS = ("optimizer=adam", "optimizer=sgd optimizer.lr=0.01", "optimizer=adamw")
COURSES = ("schedule=constant", "schedule=cosine", "schedule=linear", "alignment_every=7", "patience=60")


@dataclass(frozen=True)
class Configuration:
    """The words of a configuration, and whether the simulated optics project its errors."""

    words: tuple[str, ...]
    optics: bool

    def __str__(self) -> str:
        return " ".join(self.words)


def configuration(number: int) -> Configuration:
    """Make the configuration of this number. Every second one uses the simulated optics."""
    k = number // 2
    optics = number % 2 == 0
    model, epochs = MODELS[k % (4 if optics else len(MODELS))]
    words = [model, OPTIMIZERS[k % len(OPTIMIZERS)], COURSES[k % len(COURSES)], f"seed={number}"]
    if optics:
        medium = RARE_MEDIUM if k % RARELY == RARELY // 2 else MEDIA[(k // 4) % len(MEDIA)]
        readout = READOUTS[k % len(READOUTS)]
        words += [
            OPTICAL[k % len(OPTICAL)],
            "device=opu_sim",
            f"device/readout={readout}",
            f"device/encoding={ENCODINGS[k // 2 % len(ENCODINGS)]}",
            f"device/medium={medium}",
        ]
        epochs = epochs // 8 if medium == RARE_MEDIUM else epochs // 2
    else:
        words.append(DIGITAL[k % len(DIGITAL)])
    words += [f"epochs={epochs}", f"checkpoint_every={3 + k % 4}"]
    return Configuration((*" ".join(words).split(), *ALWAYS), optics)


def round_of(test: KillTest, number: int) -> None:
    """Kill the run of one configuration until it was resumed from a checkpoint at least once, and compare it."""
    chosen = configuration(number)
    with test.trial(NAME) as trial:
        undisturbed = trial.folder / "undisturbed"
        undisturbed.mkdir()
        reference = trial.start("train", *chosen.words, f"hydra.run.dir={undisturbed}")
        for attempt in range(TRIES):
            # After a kill that came too late the next one comes earlier.
            folder = disturb(trial, chosen.words, f"run{attempt}", window=0.8 / 2**attempt)
            if trial.end(reference) != 0:
                return
            trial.compare(undisturbed, folder)
            if resumes_of(folder):
                test.report.resumed[str(chosen)] = chosen.optics
            if resumes_of(folder) or not test.may_kill:
                return
        trial.report.notes.append(f"never killed between two checkpoints: {chosen}")


def disturb(trial: Trial, words: tuple[str, ...], name: str, window: float = 0.8) -> Path:
    """Train, kill the command at a random moment, go on until the run is completed, and return its folder."""
    folder = trial.outputs / name
    command = trial.start("train", *words, f"hydra.run.dir={folder}")
    if kill_training(trial, command, "train", folder, window):
        note_what_is_left(trial, folder)
    trial.end(command)
    trial.check_runs()
    return complete(trial, words, folder, killed_again=0.3)
