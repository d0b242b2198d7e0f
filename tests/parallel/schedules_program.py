"""One of two processes that compare every schedule of torch with backpropagation in one process.

Both do the same. The one with rank 0 prints the largest deviations of each schedule as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise

import torch
from torch import Tensor

from dfa_cli.models import Batch, FullyConnected, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.parallel.divided import Placement, StagedModel
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.pipeline import chunk_owners
from dfa_cli.parallel.processes import joined
from dfa_cli.parallel.schedules import SCHEDULES, ScheduledBackpropagation
from dfa_cli.rules import Backpropagation, Step
from dfa_cli.seeding import generator

FEATURES, CLASSES, HIDDEN, BLOCKS = 12, 5, [16, 24, 8, 16, 12], 6


def model() -> Model:
    shape = ModelShape(FEATURES, CLASSES, generator(1, "weights"), generator(1, "dropout"))
    return FullyConnected(shape, HIDDEN, "tanh", 0.2, 0.1).train()


def batches() -> list[Batch]:
    draws = torch.Generator().manual_seed(3)
    return [
        Batch(
            torch.randn(rows, FEATURES, generator=draws), torch.randint(0, CLASSES, (rows,), generator=draws)
        )
        for rows in (37, 40, 3)  # one with unequal micro-batches, and one with fewer rows than micro-batches
    ]


def of_one_process() -> list[tuple[Step, dict[str, Tensor]]]:
    whole, results = model(), []
    for batch in batches():
        whole.zero_grad(set_to_none=True)
        step = Backpropagation().backward(whole, batch)
        results.append(
            (step, {name: p.grad.clone() for name, p in whole.named_parameters() if p.grad is not None})
        )
    return results


def main() -> None:
    torch.set_num_threads(1)
    expected = of_one_process()
    rank = int(os.environ["RANK"])
    with joined(2, [], "cpu") as team:
        found = {}
        for schedule in SCHEDULES:
            for parts in (1, 4) if schedule == "gpipe" else (4,):
                owners = chunk_owners(schedule, 2)
                bounds = [BLOCKS * i // len(owners) for i in range(len(owners) + 1)]
                placement = Placement([range(a, b) for a, b in pairwise(bounds)], owners)
                ours, link = model(), ProcessLink(team, torch.device("cpu"))
                stages = ScheduledBackpropagation(ours, placement, link, parts, schedule)
                loss, gradient, rows = 0.0, 0.0, 0
                for batch, (whole, gradients) in zip(batches(), expected, strict=True):
                    ours.zero_grad(set_to_none=True)
                    step = stages.step(batch)
                    assert int(step.correct) == int(whole.correct)
                    loss = max(loss, abs(float(step.loss) - float(whole.loss)) / float(whole.loss))
                    for name, p in ours.named_parameters():
                        if int(name.split(".")[1]) in placement.blocks_of(rank):
                            assert p.grad is not None, name
                            difference = (p.grad - gradients[name]).norm() / gradients[name].norm()
                            gradient = max(gradient, float(difference))
                    rows += parts * -(-len(batch.y) // parts)
                logits = StagedModel(ours, placement, link, parts).eval()(batches()[0]).detach()
                assert torch.allclose(logits, model().eval()(batches()[0]), atol=1e-6)
                sent = link.traffic.sent
                report = team.gather_json(
                    {
                        "loss": loss,
                        "gradient": gradient,
                        "forward": sent["forward"],
                        "backward": sent["backward"],
                    }
                )
                borders = [HIDDEN[blocks.stop - 1] for blocks in placement.chunks[:-1]]
                crossing = [w for w, (a, b) in zip(borders, pairwise(owners), strict=True) if a != b]
                found[f"{schedule} {parts}"] = {"processes": report, "bytes": 4 * rows * sum(crossing)}
        if rank == 0:
            sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
