"""One seed in, separate streams out."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch

from dfa_cli.seeding import generator, stream_seed


def test_the_seed_of_a_stream_is_63_bits_of_a_hash() -> None:
    digest = hashlib.sha256(b"7/dropout").hexdigest()
    assert stream_seed(7, "dropout") == int(digest[:16], 16) // 2


def test_streams_are_the_same_in_every_process() -> None:
    # PYTHONHASHSEED differs from process to process, which Python's own hash would follow
    code = "from dfa_cli.seeding import stream_seed; print(stream_seed(3, 'weights'))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{stream_seed(3, 'weights')}\n"}


def test_no_two_streams_of_near_seeds_are_equal() -> None:
    names = ("weights", "order", "dropout", "feedback", "noise", "layers")
    seeds = {stream_seed(seed, name) for seed in range(1000) for name in names}
    assert len(seeds) == 1000 * len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_a_generator_stands_at_the_start_of_its_stream(seed: int) -> None:
    first, second = generator(seed, "weights"), generator(seed, "weights")
    other = generator(seed, "order")
    numbers = torch.rand(5, generator=first)
    assert torch.equal(numbers, torch.rand(5, generator=second))
    assert not torch.equal(numbers, torch.rand(5, generator=other))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(5, generator=generator(0, "weights"))
    assert torch.equal(before, torch.get_rng_state())
