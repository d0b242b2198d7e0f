"""Runs compiled code in as many threads as torch uses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

import torch


def in_threads(work: Callable[[int, int], None], length: int, width: int | None = None) -> None:
    """Call `work(first, last)` for all of `length` items, `width` at a time; by default each thread gets one share.

    `work` must release Python's lock. The calling thread takes part, and the others are kept for the next call, because
    to start one takes as long as many a piece of work.
    """
    threads = torch.get_num_threads()
    width = width or max(1, -(-length // threads))
    pieces = [(first, min(first + width, length)) for first in range(0, length, width)]
    left = iter(pieces)
    helpers = [_pool().submit(_take, work, left) for _ in range(min(threads, len(pieces)) - 1)]
    try:
        _take(work, left)
    finally:
        wait(helpers)
    for helper in helpers:
        helper.result()  # which raises what was raised there


def _take(work: Callable[[int, int], None], pieces: Iterable[tuple[int, int]]) -> None:
    for first, last in pieces:  # Python's lock makes sure that each piece is taken once
        work(first, last)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, torch.get_num_threads()), "dfa")
