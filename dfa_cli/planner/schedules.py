"""The order in which the stages of a pipeline do their work, for each schedule of the literature.

`S` stages hold consecutive blocks, and a batch is divided into `M` micro-batches. A stage has three kinds of work for
each micro-batch: the forward pass F, the gradient with respect to its input B, and the gradients of its weights W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FORWARD, BACKWARD, WEIGHT = range(3)
KINDS = ("forward", "backward", "weight")


@dataclass(frozen=True)
class Order:
    """The operations of each stage, in the order in which it does them.

    The model is divided into `S * chunks` consecutive parts, the virtual stages. Each stage holds `chunks` of them.
    `codes` `[stages, operations of a stage]`: `(kind * S * chunks + virtual stage) * M + micro-batch`.
    `folded`: the virtual stages go from the first stage to the last, then back to the first. Otherwise they go from the
    first stage to the last, `chunks` times.
    `in_flight` `[stages]`: the largest number of forward passes, one for each micro-batch and chunk, of which a stage
    keeps the activations at one time.
    `fused`: B and W are one operation, of the kind `BACKWARD`.
    """

    codes: np.ndarray
    micro_batches: int
    in_flight: np.ndarray
    chunks: int = 1
    fused: bool = False
    folded: bool = False

    @property
    def stages(self) -> int:
        return len(self.codes)

    @property
    def owners(self) -> np.ndarray:
        """The stage of each virtual stage."""
        up = np.arange(self.stages)
        return np.concatenate([up, up[::-1]]) if self.folded else np.tile(up, self.chunks)

    @property
    def virtual(self) -> int:
        return self.stages * self.chunks


def gpipe(stages: int, micro_batches: int) -> Order:
    """All forward passes, then all backward passes (Huang et al. 2019, arXiv 1811.06965)."""
    return _in_turn(np.full(stages, micro_batches), micro_batches, fused=True)


def one_forward_one_backward(stages: int, micro_batches: int) -> Order:
    """1F1B: stage `s` begins with `S - s` forward passes, then does a backward pass for each forward pass.

    Narayanan et al. 2019 (PipeDream), as it is used with a flush at the end of the batch in Narayanan et al. 2021
    (arXiv 2104.04473).
    """
    return _in_turn(stages - np.arange(stages), micro_batches, fused=True)


def zero_bubble(stages: int, micro_batches: int) -> Order:
    """ZB-H1 (`zero-bubble`): 1F1B with B and W apart. Stage `s` does W of a micro-batch `s` micro-batches late.

    Every stage keeps `S` micro-batches, as the first stage of 1F1B does (Qi et al. 2023, arXiv 2401.10241).
    """
    s = np.arange(stages)
    return _in_turn(stages - s, micro_batches, delay=s)


def zero_bubble_h2(stages: int, micro_batches: int) -> Order:
    """ZB-H2: as ZB-H1, with `2 (S - s) - 1` forward passes at the start and W `2 s` micro-batches late.

    No stage waits if F, B and W take equally long and `M >= 2 S - 1`. Every stage keeps `2 S - 1` micro-batches
    (Qi et al. 2023, arXiv 2401.10241). The stages begin and end one after another. So the next batch has to begin on
    the first stage while the last one is still at work, without a barrier between them.
    """
    s = np.arange(stages)
    return _in_turn(2 * (stages - s) - 1, micro_batches, delay=2 * s)


def zero_bubble_v(stages: int, micro_batches: int) -> Order:
    """ZB-V (`zbv`): each stage holds two chunks, and the way through the stages is a V, forth and back.

    So the first stage has the first chunk and the last one. No stage waits if F, B and W take equally long and
    `M >= 2 S - 1`, with the activations of `S` micro-batches, as in 1F1B (Qi et al. 2023, arXiv 2401.10241, section 6).
    Smaller batches leave out the operations of the micro-batches that they do not have.
    """
    codes = np.array([_zero_bubble_v_codes(s, stages, micro_batches) for s in range(stages)])
    return Order(codes, micro_batches, _in_flight(codes, 2 * stages * micro_batches), chunks=2, folded=True)


def _zero_bubble_v_codes(s: int, stages: int, micro_batches: int) -> np.ndarray:
    """List the operations of stage `s` under ZB-V, in order: one row of `Order.codes`.

    Chunk 0 of the stage is on the way from the first stage to the last, chunk 1 on the way back.
    """
    virtual = (s, 2 * stages - 1 - s)
    full = max(2 * stages - 1, micro_batches)
    done = np.zeros((3, 2), np.int64)  # how many operations of each kind and chunk are already listed
    parts: list[np.ndarray] = []

    def add(times: int, *together: tuple[int, int]) -> None:
        """Append a sequence of operations, `times` times. Each is a (kind, chunk), done for its next micro-batch."""
        m = np.arange(times)[:, None] + [done[one] for one in together]
        first = [(kind * 2 * stages + virtual[chunk]) * micro_batches for kind, chunk in together]
        parts.append((m + first)[m < micro_batches])
        for one in together:
            done[one] += times

    forward_0, forward_1 = (FORWARD, 0), (FORWARD, 1)
    backward_0, backward_1 = ((BACKWARD, 0), (WEIGHT, 0)), ((BACKWARD, 1), (WEIGHT, 1))
    add(2 * (stages - s) - 1, forward_0)
    add(s, forward_1, forward_0)
    add(stages - s, forward_1, *backward_1)
    add(full - int(done[forward_0]), forward_0, *backward_0, forward_1, *backward_1)
    add(full - int(done[forward_1]), *backward_0, forward_1, *backward_1)
    add(s, backward_0[0], backward_1[0])
    add(stages - s, *backward_0)
    add(s, backward_1[1])
    add(s, backward_0[1])
    return np.concatenate(parts)


def direct_feedback(warm: np.ndarray, micro_batches: int) -> Order:
    """DFA: a stage does forward passes until its first error comes, then one W for each further forward pass.

    `warm` `[stages]`: the forward passes before the first W. There is no B: the gradients inside a block belong to W.
    """
    return _in_turn(warm, micro_batches, kind=WEIGHT)


def _in_flight(codes: np.ndarray, operations: int) -> np.ndarray:
    """Count the largest number of forward passes of each stage whose W has not come. `operations`: of one kind."""
    kind = codes // operations
    return ((kind == FORWARD).astype(np.int64) - (kind == WEIGHT)).cumsum(axis=1).max(axis=1)


def _in_turn(
    warm: np.ndarray,
    micro_batches: int,
    *,
    delay: np.ndarray | None = None,
    fused: bool = False,
    kind: int = BACKWARD,
) -> Order:
    """Build an order in which stage `s` begins with `warm[s]` forward passes.

    Then it does, for `j = 0, 1, ...`: B of `j`, W of `j - delay[s]` (if `delay` is given), F of `j + warm[s]`.
    `kind`: the kind that stands in the place of B.
    """
    m = np.arange(micro_batches)
    n = np.minimum(warm, micro_batches)[:, None]
    d = None if delay is None else delay[:, None]
    stages = len(warm)
    # The place of an operation is the number of operations of each kind before it.
    places = {
        FORWARD: m + np.clip(m - n + 1, 0, None) + (0 if d is None else np.clip(m - n - d + 1, 0, None)),
        kind: m + np.minimum(micro_batches, n + m) + (0 if d is None else np.clip(m - d, 0, None)),
    }
    in_flight = n[:, 0]
    if d is not None:
        places[WEIGHT] = m + np.minimum(micro_batches, m + d + 1) + np.minimum(micro_batches, n + m + d)
        in_flight = np.minimum(micro_batches, (n + d)[:, 0])
    codes = np.empty((stages, len(places) * micro_batches), np.int64)
    s = np.arange(stages)[:, None]
    for one, place in places.items():
        codes[s, place] = (one * stages + s) * micro_batches + m
    return Order(codes, micro_batches, in_flight, fused=fused)


def interleaved(stages: int, micro_batches: int, chunks: int) -> Order:
    """Interleaved 1F1B: each stage holds `chunks` parts of the model. The bubble is then `chunks` times shorter.

    `M` must be a multiple of `S`. Micro-batches are taken in groups of `S`. A stage computes its first part for the
    whole group, then its next part. Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.
    """
    total = micro_batches * chunks
    k = np.arange(total)
    group, place = np.divmod(k, stages * chunks)
    chunk, member = np.divmod(place, stages)
    m = group * stages + member
    codes = np.empty((stages, 2 * total), np.int64)
    in_flight = np.empty(stages, np.int64)
    for s in range(stages):
        warm = min(total, 2 * (stages - s - 1) + (chunks - 1) * stages)
        v = chunk * stages + s
        back = (chunks - 1 - chunk) * stages + s
        codes[s, np.where(k < warm, k, 2 * k - warm)] = v * micro_batches + m
        codes[s, np.minimum(warm + 2 * k + 1, total + k)] = (stages * chunks + back) * micro_batches + m
        in_flight[s] = min(total, warm + 1)
    return Order(codes, micro_batches, in_flight, chunks, fused=True)
