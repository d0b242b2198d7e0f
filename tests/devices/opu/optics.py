"""Fields and frames that several tests of the optics share."""

import torch

from dfa_cli.devices.opu.encoding import Frames

LIT = 50.0


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def speckle(rows: int = 50, modes: int = 2000, lit: float = LIT, seed: int = 1) -> torch.Tensor:
    """Make a random field of one frame with `lit` mirrors on, `[1, rows, 2, modes]`."""
    return torch.randn(1, rows, 2, modes, generator=noise(seed)) * lit**0.5


def one_frame(rows: int) -> Frames:
    return Frames(torch.ones(1, rows, 1), torch.ones(1, rows), (1.0,), torch.ones(rows, 1))
