"""Tests the CUDA code on a machine with a GPU, and measures how near it comes to the card's limits.

    scripts/gpu_check                        all parts, at most six minutes
    scripts/gpu_check --only limits mnist    only these parts
    scripts/gpu_check --dry                  every part, small and on the CPU, to try the program

The figures are printed, and written to figures.json and figures.md in a folder, each as soon as it is there. What the
tests print goes to tests.log there. A part that fails is reported at the end, and the others still run, in a new
process, since a card may be of no more use to the old one. Then the exit code is 1. When the time is over, the check
ends wherever it is.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import json
import logging
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from dfa_cli.data import loading
from dfa_cli.data.base import Data
from dfa_cli.devices.opu.media.procedural import Procedural
from dfa_cli.kernels.cuda import has_triton
from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency
from dfa_cli.machine.files import write_atomically
from dfa_cli.training.evaluation import Evaluation
from dfa_cli.training.graph import WARM_UP, with_graphs
from dfa_cli.training.loop import LoopSettings, TrainingStep, train, train_epoch
from dfa_cli.training.setup import Experiment, build_experiment
from studies.performance.page import ROOT, conditions
from studies.performance.rounds import dfa, resolved_config
from studies.performance.training import shapes

CUDA_TESTS = ("tests/training/test_cuda.py", "tests/kernels/test_sparse_cuda.py", "tests/devices")
RULES = {
    "bp": ("rule=bp", "device=auto"),
    "dfa": ("rule=dfa", "device=auto"),
    "dfa, tf32": ("rule=dfa", "device=auto", "precision=tf32"),
    "dfa, bf16": ("rule=dfa", "device=auto", "precision=bf16"),
    "opu_sim, statistical": ("rule=dfa", "device=opu_sim"),
    "opu_sim, off_axis": ("rule=dfa", "device=opu_sim", "device/readout=off_axis"),
}
GRAPHS = ("off", "auto")  # the values of the key `graph`, which are measured beside each other
MODELS = ("gcn", "gat", "cheb", "sage")
TRILLION = 10**12
MINUTES = 6.0  # the whole check
TESTS_SECONDS = 150
# A figure is measured in fewer rounds, but at least in three, where all would take longer than this.
FIGURE_SECONDS = 4.0


@dataclass(frozen=True)
class Figure:
    """A measured figure: the median, with the fastest and the slowest round. `limit`: what the card allows."""

    name: str
    unit: str
    median: float
    fastest: float
    slowest: float
    limit: float | None = None
    goal: str = ""


@dataclass
class Check:
    """The settings of a check, and what it has found so far.

    `compute`: `cuda` or `cpu`. `dry`: everything is small. `rates`: operations a second of a matrix product, by
    precision; `bandwidth`: bytes a second that a copy reads and writes. Both are empty until `limits` has run. `at`:
    what is measured now. `into`: the folder of the results. `ends`: when the check ends, as `time.time()` counts.
    """

    compute: str
    dry: bool
    rounds: int
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    bandwidth: float | None = None
    at: str = ""
    failed: list[str] = field(default_factory=list)
    into: Path | None = None
    ends: float = math.inf

    def rules(self) -> dict[str, tuple[str, ...]]:
        """Return the rules that can be measured here: a CPU has no tf32."""
        return {name: words for name, words in RULES.items() if self.compute == "cuda" or "tf32" not in name}

    def seconds(self, operation: Callable[[], object]) -> list[float]:
        """Time the operation once for each round, after one call that does not count. Slow ones get fewer rounds."""
        times: list[float] = []
        for number in range(1 + self.rounds):
            if number > 3 and sum(times) > FIGURE_SECONDS:
                break
            self.wait()
            began = time.perf_counter()
            operation()
            self.wait()
            times.append(time.perf_counter() - began)
        return times[1:]

    def wait(self) -> None:
        if self.compute == "cuda":
            torch.cuda.synchronize()

    def add(
        self,
        name: str,
        unit: str,
        values: Sequence[float],
        limit: float | None = None,
        goal: str = "",
    ) -> float:
        """Add a figure, and print it. `goal` begins with `<=` or `>=`, and tells which round is the fastest."""
        fastest, slowest = min(values), max(values)
        goal = "" if self.dry else goal
        if goal.startswith(">=") or unit.endswith("/s"):
            fastest, slowest = slowest, fastest
        one = Figure(name, unit, statistics.median(values), fastest, slowest, limit, goal)
        self.figures.append(one)
        print("  " + "  ".join(cells(one)), flush=True)
        self.write()
        return one.median

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
        print("  " + sentence, flush=True)
        self.write()

    def write(self) -> None:
        """Write what was found so far. The process may be ended at any moment."""
        if self.into is None:
            return
        found = {"card": card(self), "dry": self.dry, "failed": self.failed, "notes": self.notes}
        found |= {"rates": self.rates, "bandwidth": self.bandwidth}
        found["figures"] = [asdict(one) for one in self.figures]
        write_atomically(self.into / "figures.json", json.dumps(found, indent=2) + "\n")
        write_atomically(self.into / "figures.md", markdown(self))

    def read(self) -> None:
        """Go on from what an earlier process has written."""
        assert self.into is not None
        found = json.loads((self.into / "figures.json").read_text("utf-8"))
        self.figures = [Figure(**one) for one in found["figures"]]
        self.notes, self.failed = found["notes"], found["failed"]
        self.rates, self.bandwidth = found["rates"], found["bandwidth"]


def tests(check: Check) -> None:
    """Run the tests of the CUDA code. Without CUDA they are skipped."""
    assert check.into is not None
    seconds = min(TESTS_SECONDS, check.ends - time.time() - 5)
    log = check.into / "tests.log"
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-o", "faulthandler_timeout=60"]
    with log.open("w") as out:
        try:
            code = subprocess.run(
                [*command, "-k", "cuda or Cuda or CUDA", *CUDA_TESTS],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            ).returncode
            ended = ""
        except subprocess.TimeoutExpired:
            code, ended = 0, f" The tests were ended after {seconds:.0f} s."
    lines = log.read_text(errors="replace").strip().splitlines() or ["pytest printed nothing"]
    counts = [
        f"{sum(word in line for line in lines)} {word.strip()}" for word in (" PASSED", " FAILED", " ERROR")
    ]
    closing = lines[-1].strip("= ")
    has_ended = not ended and " in " in closing  # pytest may also have refused to begin
    check.note(f"CUDA tests: {closing if has_ended else ', '.join(counts)}.{ended} The log is {log}.")
    if code:
        raise RuntimeError("\n".join(lines[-30:]))


def limits(check: Check) -> None:
    """Measure what the card itself can do: a copy, and matrix products in each precision."""
    count = 2**20 if check.dry else 2**28
    source = torch.zeros(count, device=check.compute)
    target = torch.empty_like(source)
    copied = [2 * source.nbytes / s for s in check.seconds(functools.partial(target.copy_, source))]
    check.bandwidth = check.add("copy, read and written", "GB/s", [b / 1e9 for b in copied]) * 1e9
    del source, target
    n = 256 if check.dry else 8192
    was = torch.get_float32_matmul_precision()
    for name, precision, dtype in (
        ("fp32", "highest", torch.float32),
        ("tf32", "high", torch.float32),
        ("bf16", "highest", torch.bfloat16),
    ):
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(n, n, device=check.compute).to(dtype) for _ in range(2))
        rates = [2 * n**3 / s for s in check.seconds(functools.partial(torch.mm, a, b))]
        check.rates[name] = check.add(f"product in {name}", "TFLOP/s", [r / 1e12 for r in rates]) * 1e12
    torch.set_float32_matmul_precision(was)


def mnist(check: Check) -> None:
    """Time an epoch of MNIST, `fc` 2 x 1024 in batches of 256: with its evaluation, and training alone."""
    name, hidden = ("digits", "[64,64]") if check.dry else ("mnist", "[1024,1024]")
    words = (
        "model=fc",
        f"data={name}",
        f"model.hidden={hidden}",
        "batch_size=256",
        f"compute={check.compute}",
    )
    data = _data(*words)
    whole: dict[str, float] = {}
    for label, rule in check.rules().items():
        rate = check.rates.get(next((one for one in check.rates if one in label), "fp32"))
        limit = None
        if rate and not check.dry:
            steps = -(-len(data.train) // 256)
            products = shapes(data, "bp" if label == "bp" else "dfa")
            limit = sum(2 * a[0] * a[1] * b[1] for a, b in products) * steps / rate
        for how in GRAPHS:
            check.at = f"{label}, graph={how}"
            goals = {"dfa, graph=auto": "<= 0.10 s"}
            if "dfa, graph=auto" in whole:
                goals["opu_sim, statistical, graph=auto"] = f"<= {1.5 * whole['dfa, graph=auto']:.3f} s"
            loop = train(_experiment(data, *words, *rule), LoopSettings(10**6, graph=how))
            for _ in range(WARM_UP):
                next(loop)
            times = check.seconds(lambda loop=loop: next(loop))
            whole[check.at] = check.add(
                f"{name}, an epoch with its evaluation, {check.at}",
                "s",
                times,
                limit,
                goals.get(check.at, ""),
            )
            epoch = _epoch_alone(_experiment(data, *words, *rule), how)
            goals = {"dfa, graph=auto": "<= 0.09 s", "dfa, tf32, graph=auto": "<= 0.08 s"}
            check.add(
                f"{name}, an epoch of training alone, {check.at}",
                "s",
                check.seconds(epoch),
                limit,
                goals.get(check.at, ""),
            )


def _epoch_alone(made: Experiment, how: str) -> Callable[[], object]:
    """Return a function that trains for an epoch, without an evaluation."""
    step = TrainingStep(made.model, made.rule, made.optimizer, made.batches)
    take: Callable[..., int] = step
    if how == "auto":
        evaluate = Evaluation(made.model, made.batches, made.validation, made.test)
        take, _ = with_graphs(made, step, step.sums, evaluate)
    return lambda: train_epoch(take, made.batches, step.sums)


def cora(check: Check) -> None:
    """Time 200 epochs of Cora, `gcn` 64 wide, with an evaluation in each."""
    epochs = 3 if check.dry else 200
    name = "digits_graph" if check.dry else "cora"
    words = ("model=gcn", f"data={name}", f"compute={check.compute}")
    data = _data(*words)
    for label, rule in check.rules().items():
        if "bf16" in label or "tf32" in label:
            continue
        for how in GRAPHS:
            check.at = f"{label}, graph={how}"
            loop = train(_experiment(data, *words, *rule), LoopSettings(10**6, graph=how))
            times = check.seconds(lambda loop=loop: [next(loop) for _ in range(epochs)])
            goal = "<= 0.12 s" if label in ("bp", "dfa") and how == "auto" else ""
            check.add(f"{name}, {epochs} epochs, {check.at}", "s", times, goal=goal)


def medium(check: Check) -> None:
    """Count the coefficients a second of the procedural medium: for one vector, for 256, and 10^12 of them."""
    check.note(
        f"The medium is compiled by {'Triton' if has_triton() else 'numba' if check.dry else 'nobody'}."
    )
    n_in, n_out = (100, 10_000) if check.dry else (1_000, 1_000_000)
    made = Procedural()
    made.prepare(n_in, n_out, 0, torch.device(check.compute))
    # A stored matrix is read once for each product, with 4 bytes for each real coefficient.
    stored = check.bandwidth / 4 / 1e9 if check.bandwidth else None
    found = 0.0
    for rows, imaginary, goal in ((1, False, ">= 400 G/s"), (1, True, ""), (256, False, ">= 250 G/s")):
        vectors = torch.randn(rows, n_in, device=check.compute)
        times = check.seconds(lambda v=vectors, i=imaginary: made.fields(v, imaginary=i))
        rates = [n_in * n_out / s / 1e9 for s in times]
        kind = "complex" if imaginary else "real"
        name = f"procedural medium, {kind} coefficients, {rows} vector{'s' if rows > 1 else ''}"
        rate = check.add(name, "G/s", rates, stored and stored / (2 if imaginary else 1), goal)
        found = found or rate
    if not check.dry and TRILLION / found / 1e9 > 60:
        check.note(f"10^12 coefficients would take {TRILLION / found / 1e9:.0f} s. They were not computed.")
        return
    side = 1_000 if check.dry else 10**6
    made = Procedural()
    made.prepare(side, side, 0, torch.device(check.compute))
    vector = torch.randn(1, side, device=check.compute)
    times = check.seconds(lambda: made.fields(vector, imaginary=False))
    check.add(f"procedural medium, {side:,} x {side:,} real coefficients", "s", times, goal="<= 3 s")


def sparse(check: Check) -> None:
    """Time a hundred of each sparse product of `gcn`, beside torch's own, which on CUDA adds in no fixed order."""
    name = "digits_graph" if check.dry else "cora"
    data = _data("model=gcn", f"data={name}", f"compute={check.compute}").to(torch.device(check.compute))
    assert data.edge_index is not None
    matrices = {"adjacency": normalised_adjacency(data.edge_index, len(data.y))}
    if data.x.layout == torch.sparse_csr:
        matrices["features"] = SparseMatrix.from_tensor(data.x)
    for what, matrix in matrices.items():
        h = torch.randn(matrix.shape[1], 64, device=check.compute)
        signal = torch.randn(matrix.shape[0], 64, device=check.compute)
        ways: dict[str, Callable[[], object]] = {
            "S H": lambda m=matrix, h=h: m.matmul(h),
            "S H by torch": lambda m=matrix, h=h: m.csr @ h,
            "S^T G": lambda m=matrix, g=signal: m.transpose_matmul(g),
            "S^T G by torch": lambda m=matrix, g=signal: m.transposed @ g,
        }
        for label, product in ways.items():
            times = check.seconds(lambda product=product: [product() for _ in range(100)])
            check.add(f"{name}, {what}, 100 times {label}, 64 wide", "ms", [1e3 * s for s in times])


def seeds(check: Check) -> None:
    """Train each model twice with the same seed. The weights must have the same bits."""
    differ = []
    for model in ("fc", *MODELS):
        words = (
            f"model={model}",
            f"data={'digits' if model == 'fc' else 'digits_graph'}",
            f"compute={check.compute}",
        )
        data = _data(*words)
        ends = []
        for _ in range(2):
            made = _experiment(data, *words, "rule=dfa", "device=auto")
            for _ in train(made, LoopSettings(3 if check.dry else 20)):
                pass
            ends.append([p.detach().clone() for p in made.model.parameters()])
        if not all(map(torch.equal, *ends)):
            differ.append(model)
    if differ:
        raise RuntimeError(f"equal seeds gave other weights: {', '.join(differ)}")
    check.note(f"Two runs with equal seeds give the same bits: fc, {', '.join(MODELS)}.")


def sweep(check: Check) -> None:
    """Time a sweep of 16 Cora jobs in one process, less the time of a run of one epoch."""
    jobs, epochs = (2, 2) if check.dry else (16, 200)
    words = ("model=gcn", f"data={'digits_graph' if check.dry else 'cora'}", f"compute={check.compute}")
    with tempfile.TemporaryDirectory() as outputs:
        start = dfa("train", *words, "epochs=1", f"outputs={outputs}/one").seconds
        for how in GRAPHS:
            seeds = f"seed=range({jobs})"
            into = f"outputs={outputs}/{how}"
            many = dfa("sweep", *words, f"epochs={epochs}", seeds, f"graph={how}", into).seconds
            name = f"sweep of {jobs} jobs of {epochs} epochs, after the start, graph={how}"
            check.add(name, "s", [many - start], goal="<= 8 s" if how == "auto" else "")


PARTS = {one.__name__: one for one in (tests, limits, mnist, cora, medium, sparse, seeds, sweep)}


def _data(*words: str) -> Data:
    return loading.load_data(resolved_config(*words))


def _experiment(data: Data, *words: str) -> Experiment:
    return build_experiment(resolved_config(*words), data)


def cells(one: Figure) -> list[str]:
    limit = "" if one.limit is None else f"{one.limit:.3g} {one.unit}"
    low, high = f"{one.fastest:.3g}", f"{one.slowest:.3g}"
    return [one.name, f"{one.median:.3g} {one.unit}", f"[{low}, {high}]", limit, one.goal + _verdict(one)]


def _verdict(one: Figure) -> str:
    found = re.match(r"([<>])= ([\d.]+)", one.goal)
    if found is None:
        return ""
    bound = float(found[2])
    return ": met" if (one.median <= bound if found[1] == "<" else one.median >= bound) else ": **not met**"


def card(check: Check) -> str:
    return torch.cuda.get_device_name() if check.compute == "cuda" else "CPU, not a GPU"


def markdown(check: Check) -> str:
    head = ("figure", "median", "[fastest, slowest]", "the card's limit", "goal")
    rows = [head, ("---", "---:", "---:", "---:", "---"), *map(cells, check.figures)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    dry = ["Sizes of a dry run: the figures say nothing about speed.", ""] if check.dry else []
    failures = [f"Failed: {', '.join(check.failed)}.", ""] if check.failed else []
    notes = [line for note in check.notes for line in (note, "")]
    return "\n".join([f"### {card(check)}", "", *dry, *lines, "", *notes, *failures, _conditions(), ""])


_conditions = functools.cache(conditions)  # asks git


def run(check: Check, parts: Sequence[str]) -> Sequence[str]:
    """Run the parts up to the first that fails. Returns those that are left."""
    for number, name in enumerate(parts, 1):
        print(f"{name}: {(PARTS[name].__doc__ or '').strip()}", flush=True)
        try:
            PARTS[name](check)
        except Exception:  # noqa: BLE001  (whatever happens in one part, the others run)
            traceback.print_exc()
            check.failed.append(name)
            return parts[number:]
        finally:
            check.write()
    return []


def _note_what_is_replayed(check: Check) -> None:
    """Add the lines of `graph=auto` to the notes."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            check.note(f"{check.at}: {record.getMessage()}")

    log = logging.getLogger("dfa_cli.training.graph")
    log.setLevel(logging.INFO)
    log.addHandler(Notes())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=PARTS, default=list(PARTS), help=", ".join(PARTS)
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often each figure is measured (7)")
    parser.add_argument("--dry", action="store_true", help="every part small and on the CPU")
    parser.add_argument("--into", type=Path, default=ROOT / "outputs" / "gpu_check", metavar="FOLDER")
    parser.add_argument(
        "--ends", type=float, help=argparse.SUPPRESS
    )  # go on for an earlier process, until then
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    if not options.dry and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; add --dry to try every part on the CPU")
    try:
        options.into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--into is '{options.into}', which cannot be made ({error.strerror})")
    options.into = (
        options.into.resolve()
    )  # The process that goes on after a failed part has another current folder.
    check = Check(
        "cpu" if options.dry else "cuda",
        options.dry,
        min(options.rounds, 2) if options.dry else options.rounds,
        into=options.into,
        ends=options.ends or time.time() + 60 * MINUTES,
    )
    if not options.dry:  # It prints where the program is, and ends it.
        faulthandler.dump_traceback_later(max(1.0, check.ends - time.time()), exit=True)
    if options.ends:
        check.read()
    _note_what_is_replayed(check)
    left = run(check, options.only)
    if left:
        more = ["--only", *left, "--rounds", str(options.rounds), "--into", str(options.into)]
        more += ["--ends", str(check.ends), *(["--dry"] if options.dry else [])]
        return subprocess.run(
            [sys.executable, "-m", "studies.performance.gpu_check", *more], cwd=ROOT, check=False
        ).returncode
    print(f"written to {options.into}")
    if check.failed:
        print(f"failed: {', '.join(check.failed)}", file=sys.stderr)
    return 1 if check.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; the figures so far are in figures.md of the folder", file=sys.stderr)
        sys.exit(130)
