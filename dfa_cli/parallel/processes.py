"""Starts the processes of a parallel run, connects them, and ends all of them when one has ended.

The process in which a run begins has the rank 0. It owns the record and the display, and it is the first stage. It
starts one process more for each further stage. Under `torchrun` all processes are there already.
Every process runs the same program on the same data: it goes through the same batches, and calls the others at the
same places.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, ProcessGroup, Store, TCPStore
from torch.distributed import distributed_c10d

from dfa_cli.errors import DfaError
from dfa_cli.machine import signals
from dfa_cli.machine.locks import Holder, this_process

STARTING_SECONDS = 300.0  # a process that is not there by then counts as lost
ENDING_SECONDS = 5.0  # how long a process may take to end by itself
PAUSE_SECONDS = 0.05
WAITING = timedelta(hours=1)  # how long a message may take, while its sender is alive
CONNECTING = timedelta(seconds=6)  # how long two processes may take to connect that are both there
LOCAL = "127.0.0.1"
ENDED = "another process has ended"
log = logging.getLogger("dfa")
Result = TypeVar("Result")


class StageError(DfaError):
    """Another process of the run has ended."""

    refuses = False


class Team:
    """The processes of a run. `rank`: the number of this one, from 0. `size`: how many there are.

    `local`: the number of this process on its machine. `part`: what a message calls the part of a process. `others`:
    the processes that this one has started, if any.
    """

    def __init__(
        self, rank: int, size: int, local: int, store: Store, part: str, others: _Others | None = None
    ):
        self.rank, self.size, self.local = rank, size, local
        self.store = store
        self.part = part
        self.others = others
        self._met = 0
        self._told = 0

    def tell(self, value: Any) -> Any:
        """Return the value of the process with rank 0, which has to be plain data, in every process."""
        key = f"told/{self._told}"
        self._told += 1
        if self.rank == 0:
            self.store.set(key, json.dumps(value))
        self._await([key])
        return json.loads(self.store.get(key))

    def meet(self) -> None:
        """Wait until every process has called this as often."""
        self._met += 1
        self.store.set(f"met/{self._met}/{self.rank}", "")
        self._await([f"met/{self._met}/{rank}" for rank in range(self.size)])

    def connect(self, make: Callable[[timedelta], Result]) -> Result:
        """Return the groups of torch that `make` makes with the timeout it is given. Every process calls this.

        In there torch waits for the other processes without a connection that would break if one ended, and heeds no
        signal. So all meet here before, and the timeout is short.
        """
        self.meet()
        try:
            return make(CONNECTING)
        except RuntimeError as error:
            raise RuntimeError(ENDED) from error

    def _await(self, keys: list[str]) -> None:
        """Wait until all keys are set. Raises `RuntimeError` when another process has ended."""
        until = time.monotonic() + STARTING_SECONDS
        while not self.store.check(keys):
            if self.missing() if self.others is None else self.others.first_exits:
                raise RuntimeError(ENDED)
            if time.monotonic() > until:
                raise StageError(
                    f"Not all {self.size} processes were there after {STARTING_SECONDS:.0f} s. One stands still, or "
                    "the machine is too busy: start the run again."
                )
            time.sleep(PAUSE_SECONDS)

    def enter(self) -> None:
        """Name this process to the others."""
        self.store.set(f"process/{self.rank}", json.dumps(this_process()))

    def leave(self) -> None:
        """Tell the others that this process ends, and after which signal, if any. A killed process never tells."""
        with signals.held_back(), contextlib.suppress(Exception):  # The store may be gone.
            self.store.set(f"left/{self.rank}", signals.received() or "")

    def pid(self, rank: int) -> int | None:
        """Return the pid of a process; `None` if it has not entered."""
        key = f"process/{rank}"
        return Holder(**json.loads(self.store.get(key))).pid if self.store.check([key]) else None

    def missing(self) -> list[int]:
        """Return the ranks of the processes that have ended and did not tell. It sees those of this machine only."""
        found = []
        for rank in range(self.size):
            if not self.store.check([f"process/{rank}"]) or self.store.check([f"left/{rank}"]):
                continue
            named = Holder(**json.loads(self.store.get(f"process/{rank}")))
            # It may have told between the two questions.
            if named.has_ended() and not self.store.check([f"left/{rank}"]):
                found.append(rank)
        return found

    def another_was_signalled(self) -> bool:
        """Tell whether another process ends because of a signal that it could heed."""
        keys = [f"left/{rank}" for rank in range(self.size) if rank != self.rank]
        return any(self.store.check([key]) and self.store.get(key) for key in keys)

    def gather(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return in the process with rank 0 what each of the others has passed, by rank. The others get `[]`."""
        if self.rank:
            content = save(
                {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
            )
            for part in (
                torch.tensor([len(content)]),
                torch.frombuffer(bytearray(content), dtype=torch.uint8),
            ):
                wait_for(distributed.isend(part, 0))
            return []
        gathered = []
        for rank in range(1, self.size):
            length = torch.zeros(1, dtype=torch.int64)
            wait_for(distributed.irecv(length, rank))
            content = torch.empty(int(length), dtype=torch.uint8)
            wait_for(distributed.irecv(content, rank))
            gathered.append(load(content.numpy().tobytes()))
        return gathered

    def gather_json(self, value: Any) -> list[Any]:
        """Return in the process with rank 0 the plain data of all processes, by rank. The others get `[]`."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        gathered = self.gather({"json": text})
        return [] if self.rank else [value, *(json.loads(g["json"].numpy().tobytes()) for g in gathered)]


@contextlib.contextmanager
def joined(size: int, arguments: list[str], compute: str, part: str = "Stage") -> Iterator[Team]:
    """Be one of `size` connected processes for the block.

    The environment says which one, in the variables of torch's launchers. Without them this process has the rank 0,
    and starts the others with `python ARGUMENTS`.

    Raises `StageError` in place of the exception of the block when another process has ended, and says which and why.
    """
    if "RANK" not in os.environ:
        if size == 1:
            alone = TCPStore(LOCAL, 0, is_master=True, wait_for_workers=False)
            with _connected(Team(0, 1, 0, alone, part), compute) as team:
                yield team
            return
        with (
            _started(size, arguments) as (store, others),
            _connected(Team(0, size, 0, store, part, others), compute) as team,
        ):
            yield team
        return
    _require_launcher()
    rank, there = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if there != size:
        raise DfaError(
            f"The run asks for {size} processes, and {there} were started; set parallel.stages={there} "
            "(parallel.replicas with parallel=data), or start as many."
        )
    local = int(os.environ.get("LOCAL_RANK", rank))
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        wait_for_workers=False,
        timeout=timedelta(seconds=STARTING_SECONDS),
    )
    if (attempt := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))) > 0:
        # The store of torchrun outlives the processes, which --max-restarts starts again.
        store = PrefixStore(f"attempt {attempt}", store)
    with _connected(Team(rank, size, local, store, part), compute) as team:
        yield team


def _require_launcher() -> None:
    """Raise `DfaError` where RANK is set, and the other variables of a launcher are not."""
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR"):
        value = os.environ.get(name, "")
        if not (value.isdecimal() or (value and name == "MASTER_ADDR")):
            raise DfaError(
                f"RANK is set in the environment, so a launcher such as torchrun should have started this process, but "
                f"{name} is {value or 'not set'}. Start it with torchrun, or unset RANK."
            )


class _Others:
    """The processes that this one has started. A thread watches them."""

    def __init__(self, size: int):
        self.size = size
        self.first_exits: dict[int, int] = {}  # rank -> exit code, of those that ended first
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self, arguments: list[str], port: int) -> None:
        """Start the processes. `close` must be called afterwards, whatever comes of it."""
        environment = {
            **os.environ,
            "MASTER_ADDR": LOCAL,
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(self.size),
            "OMP_NUM_THREADS": "1",
            # When the first process is killed, the others would print the stack of torch's C++ code.
            "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
            "DFA_PARENT": str(os.getpid()),
        }
        with signals.held_back():  # `close` has to know all processes that were started.
            self._watcher.start()
            for rank in range(1, self.size):
                try:
                    self._processes[rank] = subprocess.Popen(
                        [sys.executable, *arguments],
                        env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,  # A Ctrl-C comes to this process alone.
                    )
                except OSError as error:
                    raise DfaError(
                        f"Process {rank + 1} of {self.size} could not be started: {error.strerror}."
                    ) from error
        signals.raise_if_received()

    def pid(self, rank: int) -> int | None:
        """Return the pid of a process; `None` if it was not started."""
        process = self._processes.get(rank)
        return None if process is None else process.pid

    def _watch(self) -> None:
        """End the rest once one has ended with an error."""
        while not self._closing.wait(PAUSE_SECONDS):
            exits = {rank: process.poll() for rank, process in list(self._processes.items())}
            if failed := {rank: code for rank, code in exits.items() if code}:
                self.first_exits = failed
                self._closing.wait(1.0)  # The others notice it by themselves, and may have something to say.
                self._kill()
                return

    def _kill(self) -> None:
        for process in list(self._processes.values()):
            process.kill()  # This does nothing to a process that has ended.

    def close(self, seconds: float) -> None:
        """Wait for the processes to end by themselves, for this many seconds, and then kill them."""
        until = time.monotonic() + seconds
        with signals.held_back():
            while time.monotonic() < until and not self.first_exits:
                if all(process.poll() is not None for process in self._processes.values()):
                    break
                time.sleep(PAUSE_SECONDS)
            self._closing.set()
            self._watcher.join()
            self._kill()
            for process in self._processes.values():
                # A disk that does not answer can hold even a killed process.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDING_SECONDS)


@contextlib.contextmanager
def _started(size: int, arguments: list[str]) -> Iterator[tuple[Store, _Others]]:
    """Start the other processes. They are gone when the block has ended, however it ends."""
    # The processes are on one machine, and nobody else shall connect to them.
    interface = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    if before is None and interface is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = interface
    store = TCPStore(LOCAL, 0, is_master=True, wait_for_workers=False)
    others = _Others(size)
    seconds = 0.0
    try:
        others.start(arguments, store.port)
        yield store, others
        seconds = ENDING_SECONDS
    finally:
        others.close(seconds)
        if before is None:
            os.environ.pop("GLOO_SOCKET_IFNAME", None)


@contextlib.contextmanager
def own_core(local: int, size: int) -> Iterator[None]:
    """Keep one of `size` processes with one thread each to a core of its own, if they take all cores there are.

    The threads with which gloo sends then run where their process does. On another core one can be held up by the
    computing of another process, while it has the lock that its own process needs for the next message. On two cores
    this made a step of `zbv` or `interleaved` 5 % longer.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) != size or torch.get_num_threads() > 1:
        yield
        return
    os.sched_setaffinity(0, {sorted(cores)[local % size]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _connected(team: Team, compute: str) -> Iterator[Team]:
    with own_core(team.local, team.size), _grouped(team, compute):
        yield team


@contextlib.contextmanager
def _grouped(team: Team, compute: str) -> Iterator[None]:
    """Connect the processes for the block. In place of a broken connection it raises an error that says who ended."""
    try:
        try:
            team.enter()
            if compute == "cuda":
                torch.cuda.set_device(team.local % torch.cuda.device_count())
            distributed_c10d._world.group_count = (
                0  # Torch numbers its groups, and counts one that an earlier run failed to make.
            )
            team.connect(
                lambda timeout: distributed.init_process_group(
                    "cpu:gloo,cuda:nccl" if compute == "cuda" else "gloo",
                    store=PrefixStore("group", team.store),
                    rank=team.rank,
                    world_size=team.size,
                    timeout=timeout,
                )
            )
            allow_waiting(None)
            yield
        except (Exception, KeyboardInterrupt) as error:
            with signals.held_back():
                sentence = _cause_of_end(error, team)
            if sentence is not None:
                raise StageError(sentence) from error
            raise
    finally:
        team.leave()
        if distributed.is_initialized():
            with contextlib.suppress(Exception):  # the others may be gone
                distributed.destroy_process_group()


def _cause_of_end(error: BaseException, team: Team) -> str | None:
    """Say which other process is the cause that this one ends; `None` when none is.

    When a process has ended, a launcher such as torchrun ends the others with SIGTERM. It also passes on a SIGTERM of
    the user.
    """
    if signals.received() and (signals.received() != "SIGTERM" or team.others is not None):
        return None
    sentence = None
    with contextlib.suppress(Exception):  # The store may be gone.
        if not isinstance(error, DfaError):
            sentence = _cause(error, team)
        if sentence is None:
            _report(error, team)
    team.leave()
    if team.others is None and (sentence is not None or not signals.received()):
        signals.ignore_launcher()
    return sentence


def allow_waiting(group: ProcessGroup | None) -> None:
    """Let sums of a group take as long as their senders compute. `None`: the group of all processes."""
    # Torch has a public name for it from 2.14 on, and there warns of the private one.
    public = getattr(distributed_c10d, "set_timeout", None)
    (public or distributed_c10d._set_pg_timeout)(WAITING, group)


def wait_for(work: Any) -> None:
    """Wait for a message of gloo, as long as the other process computes.

    Without a timeout of its own a message would take that with which its group was made, whatever the group allows now.
    """
    work.wait(WAITING)


def _is_of_connection(error: BaseException) -> bool:
    """Tell whether an exception says that the connection to another process has failed."""
    return isinstance(error, RuntimeError) and any(
        word in str(error) for word in ("gloo", "Connection", "NCCL", ENDED, "Broken pipe")
    )


def _report(error: BaseException, team: Team) -> None:
    """Leave the reason why this process ends, unless it only follows another one or a signal."""
    if _is_of_connection(error) or signals.received():
        return
    kind = "" if isinstance(error, DfaError) else f"{type(error).__name__}: "
    said = {
        "rank": team.rank,
        "sentence": kind + (" ".join(str(error).split()) or "no reason given"),
        "traceback": "".join(traceback.format_exception(error)),
    }
    team.store.compare_set("error", "", json.dumps(said))


def _cause(error: BaseException, team: Team) -> str | None:
    """Say which process has ended and why; `None` when all others are fine, so that the error is our own."""
    follows = _is_of_connection(error)
    until = time.monotonic() + (ENDING_SECONDS if follows else 0.0)
    if team.rank and not follows and not signals.received():
        return None
    while True:
        if team.store.check(["error"]):
            said = json.loads(team.store.get("error"))
            if team.rank == 0:
                log.error("%s %s failed:\n%s", team.part.lower(), said["rank"] + 1, said["traceback"])
            return f"{_name(said['rank'], team)} failed: {said['sentence']}"
        exits = dict(team.others.first_exits) if team.others is not None else {}
        # One that was killed is the cause. One with another exit code may have ended because of it.
        for rank, code in sorted(exits.items(), key=lambda item: item[1]):
            if code < 0:
                return f"{_name(rank, team)} was killed by {signal.Signals(-code).name}."
        if team.others is None and (missing := team.missing()):
            return f"{_name(missing[0], team)} has ended and left no error, as a process does that is killed."
        if signals.received() and team.another_was_signalled():
            return None
        if time.monotonic() >= until:
            for rank, code in exits.items():
                return f"{_name(rank, team)} has ended with exit code {code}."
            if follows and not signals.received():
                return f"Another {team.part.lower()} has ended: {' '.join(str(error).split())}"
            return None
        time.sleep(PAUSE_SECONDS)


def _name(rank: int, team: Team) -> str:
    pid = team.others.pid(rank) if team.others is not None else team.pid(rank)
    process = "" if pid is None else f" (process {pid})"
    return f"{team.part} {rank + 1} of {team.size}{process}"
