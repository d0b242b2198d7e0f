"""Runs the measurements of `dfa bench`, and writes the table, the conclusions and the files."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from dfa_cli.console.output import terminal_width, write_stdout
from dfa_cli.console.table import csv_text, lay_out, wrap
from dfa_cli.console.values import duration
from dfa_cli.devices.optics import PIXELS, PIXELS_PER_MODE, POWER_WATTS, seconds_of_a_vector
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import write_atomically

FRAMES = 2  # a ternary vector needs one frame for the +1 and one for the -1
BATCH = 64  # vectors
MAX_STORED = 2 * 10**8  # coefficients of 8 bytes that a benchmark may store
QUOTED_FIGURES = (
    "Quoted, not measured here: 1500 TeraOPS at 30 W for LightOn's OPU (arXiv 2107.11814); random projections with "
    "trillions of parameters (arXiv 2012.06373); training of more than 10^9 parameters (arXiv 2409.12965)."
)
DESCRIPTIONS = {
    "numpy": "draw a complex matrix with NumPy, store it, multiply",
    "cpu": "multiply with a real matrix that is stored already",
    "procedural": "compute complex coefficients while multiplying",
    "structured": "six fast Hadamard transforms (an approximation)",
}


@dataclass(frozen=True)
class Measurement:
    """The measurement of one device at one size: `vectors` vectors in `seconds`.

    `memory_mb` is the peak memory minus the memory after the imports.
    """

    device: str
    n_in: int
    n_out: int
    vectors: int
    coefficients: int
    seconds: float
    coefficients_per_second: float
    memory_mb: float
    modelled_seconds: float
    modelled_joules: float

    @property
    def name(self) -> str:
        return self.device if self.vectors == 1 else f"{self.device} x{self.vectors}"


def plan(sizes: list[tuple[int, int]] | None, full: bool) -> list[tuple[str, list[tuple[int, int]], int]]:
    """List what is measured: `(device, sizes, vectors)` for each process.

    Devices that store the matrix skip the sizes above `MAX_STORED`.
    """
    square = [(n, n) for n in (300, 1000, 3162, 10_000)]
    computed = sizes or [
        *square,
        (31_623, 31_623),
        *([(100_000, 100_000), (316_228, 316_228)] if full else []),
    ]
    extreme = sizes or [*square, (100_000, 100_000), (10**6, 10**6)]
    batch = sizes or [(n, n) for n in ((3162, 10_000, 31_623) if full else (3162,))]
    stored = [size for size in sizes or square if math.prod(size) <= MAX_STORED]
    cases = [
        ("numpy", stored, 1),
        ("cpu", stored, 1),
        ("cpu", stored, BATCH),
        ("procedural", computed, 1),
        ("procedural", batch, BATCH),
    ]
    # A case without sizes is left out.
    return [case for case in [*cases, ("structured", extreme, 1)] if case[1]]


def run_table(sizes: list[tuple[int, int]] | None, full: bool, folder: Path) -> None:
    lines: list[Measurement] = []
    for device, device_sizes, vectors in plan(sizes, full):
        batch = f", {vectors} vectors" if vectors > 1 else ""
        write_sentence(f"{device}{batch}: {DESCRIPTIONS[device]}")
        lines += run_case(device, device_sizes, vectors)
    print_table(lines)
    save_files(lines, folder)
    write_stdout(f"Written to {folder}: bench.csv, bench.png\n")


def run_case(device: str, sizes: list[tuple[int, int]], vectors: int) -> list[Measurement]:
    """Measure one device in a process of its own. Raises `DfaError` when that process fails."""
    import json
    import subprocess
    import sys

    case = json.dumps({"device": device, "sizes": sizes, "vectors": vectors})
    command = [sys.executable, "-m", "dfa_cli.benchmark.measure", case]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = [_measurement(device, vectors, **json.loads(row)) for row in process.stdout.splitlines()]
    if process.returncode:
        # The process prints a line for each finished size, so it failed at the size after those.
        size = sizes[min(len(lines), len(sizes) - 1)]
        raise DfaError(
            f"The measurement of {device} at {size[0]} x {size[1]} ended with code {process.returncode}. "
            "If no error stands above, memory ran out: give smaller --sizes."
        )
    return lines


def _measurement(
    device: str, vectors: int, n_in: int, n_out: int, seconds: float, memory_mb: float
) -> Measurement:
    optical = vectors * seconds_of_a_vector(n_out, FRAMES)
    size = n_in * n_out * vectors
    rate = size / seconds
    return Measurement(
        device, n_in, n_out, vectors, size, seconds, rate, memory_mb, optical, optical * POWER_WATTS
    )  # fmt: skip


def break_even(lines: list[Measurement]) -> float | None:
    """Find the number of coefficients per vector at which a device takes as long as the modelled optics.

    Between two measured sizes the ratio of the two times is interpolated as a power of the size. Returns `None` when
    the device is faster than the optics at every measured size.
    """
    before: tuple[float, float] | None = None
    for line in sorted(lines, key=lambda line: line.coefficients):
        size, ratio = line.coefficients / line.vectors, line.seconds / line.modelled_seconds
        if ratio >= 1:
            if before is None:
                return size
            slope = math.log(ratio / before[1]) / math.log(size / before[0])
            return before[0] * before[1] ** (-1 / slope)
        before = size, ratio
    return None


def conclusions(lines: list[Measurement]) -> list[str]:
    """Say in sentences what the table shows."""
    sentences = []
    cases = dict.fromkeys((line.device, line.vectors) for line in lines if line.device != "numpy")
    for device, vectors in cases:
        measured = [line for line in lines if (line.device, line.vectors) == (device, vectors)]
        crossover = break_even(measured)
        smallest = min(line.coefficients / vectors for line in measured)
        against = f"{device} for {'one vector' if vectors == 1 else f'{vectors} vectors'}"
        if crossover is None:
            sentences.append(f"Modelled optics: slower than {against} at every size measured.")
        elif crossover == smallest:
            sentences.append(
                f"Modelled optics: faster than {against} at every size measured, from {crossover:.2g} coefficients "
                "a vector."
            )
        else:
            sentences.append(
                f"Modelled optics: faster than {against} above {crossover:.2g} coefficients a vector "
                f"(about {math.sqrt(crossover):.0f} x {math.sqrt(crossover):.0f})."
            )
    # The largest matrix does not fit a cache, as one with many outputs does not.
    largest = {
        line.vectors: line for line in sorted(lines, key=lambda line: line.n_out) if line.device == "cpu"
    }
    if largest:
        least = [
            f"{line.coefficients_per_second * camera_seconds_of_an_output():.0f} ({line.vectors} at once)"
            for line in largest.values()
        ]
        sentences.append(
            f"With fewer inputs (classes) than {', '.join(least)} the camera alone takes longer than cpu, however many "
            "outputs there are."
        )
    ratio = speedup_over_numpy(lines)
    if ratio is not None:
        size, factor = ratio
        sentences.append(
            f"procedural makes {factor:.1f} times the coefficients a second of numpy, at {size:.2g}."
        )
    for batch in (line for line in lines if line.device == "procedural" and line.vectors > 1):
        single_vector = [line for line in lines if line.device == "procedural" and line.vectors == 1]
        for line in single_vector:
            if (line.n_in, line.n_out) == (batch.n_in, batch.n_out):
                cost_ratio = batch.seconds / line.seconds
                size = f"{batch.n_in} x {batch.n_out}"
                sentences.append(
                    f"procedural: {batch.vectors} vectors cost {cost_ratio:.1f} times one, at {size}."
                )
    return sentences


def camera_seconds_of_an_output() -> float:
    """Return the time that one more output of a vector costs the camera, where reading it takes all the time."""
    return seconds_of_a_vector(PIXELS // PIXELS_PER_MODE, FRAMES) / (PIXELS // PIXELS_PER_MODE)


def speedup_over_numpy(lines: list[Measurement]) -> tuple[int, float] | None:
    """Compare `procedural` with `numpy` at the largest size that both computed.

    Returns that size and the ratio of their coefficients a second, or `None` when they have no size in common.
    """
    rates = {
        device: {line.coefficients: line.coefficients_per_second for line in lines if line.name == device}
        for device in ("numpy", "procedural")
    }
    common = rates["numpy"].keys() & rates["procedural"].keys()
    return (max(common), rates["procedural"][max(common)] / rates["numpy"][max(common)]) if common else None


def write_sentence(sentence: str) -> None:
    """Write a sentence, wrapped to the width of the terminal, or to 80 columns when there is none."""
    write_stdout("\n".join(wrap(sentence, terminal_width() or 80)) + "\n")


def print_table(lines: list[Measurement]) -> None:
    heads = ["device", "in x out", "time", "coef./s", "memory", "optics*", "energy*"]
    rows = [
        [
            line.name,
            f"{line.n_in} x {line.n_out}",
            duration(line.seconds, fine=True),
            f"{line.coefficients_per_second:.2g}",
            f"{line.memory_mb:.0f} MB",
            duration(line.modelled_seconds, fine=True),
            f"{line.modelled_joules:.2g} J",
        ]
        for line in lines
    ]
    write_stdout("\n".join(lay_out(heads, rows, [True] + 6 * [False], header_line=False)) + "\n")
    write_sentence(
        f"* modelled, not measured: {FRAMES} frames a vector, in the time that their mirrors and the camera take "
        f"(docs/opu.md), {POWER_WATTS:.0f} W. Memory is above the import baseline."
    )
    for sentence in [*conclusions(lines), QUOTED_FIGURES]:
        write_sentence(sentence)


def save_files(lines: list[Measurement], folder: Path) -> None:
    """Write `bench.csv` and `bench.png`."""
    import io

    from matplotlib.figure import Figure

    write_atomically(folder / "bench.csv", csv_text([asdict(line) for line in lines]))

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    # Other markers and dashes for each device, to tell the lines apart without colour.
    looks = ("o-", "s--", "^:", "D-.")
    for i, device in enumerate(dict.fromkeys(line.device for line in lines)):
        single = [line for line in lines if line.device == device and line.vectors == 1]
        axes.plot(
            [line.coefficients for line in single],
            [line.seconds for line in single],
            looks[i % len(looks)],
            label=device,
        )
    optics = sorted({(line.coefficients, line.modelled_seconds) for line in lines if line.vectors == 1})
    axes.plot(*zip(*optics, strict=True), color="black", linestyle="--", label="optics (modelled)")
    axes.set(xscale="log", yscale="log", xlabel="coefficients of the matrix", ylabel="seconds for one vector")
    axes.set_title("One random projection on this machine")
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_atomically(folder / "bench.png", picture.getvalue())


def run_trillion(sizes: list[tuple[int, int]] | None, folder: Path) -> None:
    import json

    from dfa_cli.benchmark.trillion import SIZE, project

    n_in, n_out = (sizes or [(SIZE, SIZE)])[-1]
    figures = project(n_in, n_out, write_sentence)
    write_atomically(folder / "trillion.json", json.dumps(figures, indent=1) + "\n")
    for key, value in figures.items():
        write_stdout(f"{key:>25}  {value:.6g}\n")
    write_sentence(QUOTED_FIGURES)
    write_stdout(f"Written to {folder / 'trillion.json'}\n")
