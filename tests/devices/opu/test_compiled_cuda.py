"""The kernels for CUDA compute the coefficients of the CPU, to the bit, and add them up to rounding."""

# pyright: reportMissingImports=false, reportIndexIssue=false

from __future__ import annotations

import pytest
import torch
from on_card import DEVICE, needs_card, needs_triton

from dfa_cli.devices.opu.media import gaussian
from dfa_cli.devices.opu.media.gaussian import coefficients, row_keys
from dfa_cli.devices.opu.media.procedural import Procedural, _compiled_product, _torch_product

pytestmark = needs_triton
CPU = torch.device("cpu")


def product(keys: torch.Tensor, patterns: torch.Tensor, start: int, columns: int, parts: int) -> torch.Tensor:
    from dfa_cli.devices.opu.media import compiled_cuda

    out = torch.full((len(patterns), parts, columns), torch.nan, device=DEVICE)
    compiled_cuda.product(keys.to(DEVICE), patterns.to(DEVICE))(start, out)
    return out.cpu()


@pytest.mark.parametrize(
    ("seed", "start"), [(0, 0), (12, 1), (2**62 + 5, 12_345), (0, 2**31 - 700), (12, 2**32 - 1500)]
)
def test_coefficients_are_equal_to_the_last_bit(seed: int, start: int) -> None:
    rows = torch.tensor([0, 1, 2**33, 2**62 - 7])
    keys = row_keys(seed, rows)
    real, imaginary = coefficients(keys, torch.arange(start, start + 1500))
    assert imaginary is not None
    for row, pattern in enumerate(torch.eye(len(rows))):
        found = product(keys, pattern[None], start, 1500, 2)
        assert torch.equal(found[0, 0], real[row])
        assert torch.equal(found[0, 1], imaginary[row])
        assert torch.equal(product(keys, pattern[None], start, 1500, 1)[0, 0], real[row])


def test_all_radii_are_equal_to_the_last_bit() -> None:
    """There are 2^23. A root that is not rounded correctly would show."""
    import triton
    import triton.language as tl

    from dfa_cli.devices.opu.media.compiled_cuda import _root

    @triton.jit
    def roots(x, out, SIZE: tl.constexpr, root: tl.constexpr):
        at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
        tl.store(out + at, root(tl.load(x + at)))

    squares = []
    sqrt = gaussian._sqrt
    try:
        gaussian._sqrt = lambda x: squares.append(x) or sqrt(x)
        radii = gaussian._radius(torch.arange(2**23, dtype=torch.int32))
    finally:
        gaussian._sqrt = sqrt
    out = torch.empty(2**23, device=DEVICE)
    size = 2**10 if DEVICE.type == "cuda" else 2**20
    roots[(2**23 // size,)](squares[0].to(DEVICE), out, SIZE=size, root=_root, enable_fp_fusion=False)
    assert torch.equal(out.cpu(), radii)


@pytest.mark.parametrize("imaginary", [False, True])
@pytest.mark.parametrize(("vectors", "inputs"), [(1, 70), (2, 40), (70, 100), (300, 33)])
def test_sums_are_those_of_the_cpu(vectors: int, inputs: int, imaginary: bool) -> None:
    """Vectors may be of very different size, or zero, and inputs that are zero in all of them are left out."""
    draws = torch.Generator().manual_seed(vectors)
    patterns = torch.randn(vectors, inputs, generator=draws)
    patterns *= torch.logspace(-6, 6, vectors)[:, None] if vectors > 1 else 1
    patterns[:, inputs // 3 : inputs // 2] = 0
    if vectors > 1:
        patterns[vectors // 2] = 0
    keys = row_keys(3, torch.arange(inputs))
    expected = torch.empty(vectors, 2 if imaginary else 1, 150)
    _compiled_product(keys, patterns)(2**31 - 70, expected)
    found = product(keys, patterns, 2**31 - 70, 150, expected.shape[1])
    lengths = patterns.norm(dim=1)[:, None, None]
    assert bool(((found - expected).abs() <= 1e-5 * lengths).all())
    keys[inputs // 3 : inputs // 2] += 1
    assert torch.equal(product(keys, patterns, 2**31 - 70, 150, expected.shape[1]), found)


def test_no_input_is_lit() -> None:
    keys = row_keys(3, torch.arange(40))
    for vectors in (1, 3):
        assert not product(keys, torch.zeros(vectors, 40), 5, 70, 2).any()


def test_spans_of_columns_give_the_columns_of_the_whole() -> None:
    """The sum is divided according to the number of columns, so its last bits may differ."""
    keys = row_keys(7, torch.arange(50))
    for vectors in (1, 3):
        x = torch.randn(vectors, 50, generator=torch.Generator().manual_seed(0))
        whole = product(keys, x, 100, 1500, 2)
        for first, last in ((0, 1), (700, 1400), (1499, 1500)):
            part = product(keys, x, 100 + first, last - first, 2)
            torch.testing.assert_close(part, whole[:, :, first:last], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("vectors", [1, 3])
def test_sums_in_several_rounds_and_little_memory(vectors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfa_cli.devices.opu.media import compiled_cuda

    keys = row_keys(7, torch.arange(130))
    x = torch.randn(vectors, 130, generator=torch.Generator().manual_seed(0))
    expected = torch.empty(vectors, 2, 1100)
    _compiled_product(keys, x)(100, expected)
    monkeypatch.setattr(compiled_cuda, "MOST_PARTIAL", 1)
    monkeypatch.setattr(compiled_cuda, "PROGRAMS", 4)
    monkeypatch.setattr(compiled_cuda, "MOST_ROWS", 64)
    torch.testing.assert_close(product(keys, x, 100, 1100, 2), expected, rtol=1e-5, atol=1e-4)


@needs_card
@pytest.mark.parametrize("vectors", [1, 3, 64, 100, 256, 300])
def test_the_medium_on_cuda_is_that_of_the_cpu_and_can_be_captured(vectors: int) -> None:
    here, there = Procedural(), Procedural()
    here.prepare(3000, 5000, 5, CPU)
    there.prepare(3000, 5000, 5, torch.device("cuda"))
    for x in (
        torch.randn(vectors, 3000),
        torch.randint(-1, 2, (vectors, 3000)).float(),
    ):
        expected, on_card = here.fields(x, imaginary=True), x.cuda()
        found = there.fields(on_card, imaginary=True).clone()
        lengths = x.norm(dim=1)[:, None, None]
        assert bool(((found.cpu() - expected).abs() <= 1e-5 * lengths).all())
        by_torch = torch.empty_like(found)
        _torch_product(there._keys, on_card)(0, by_torch)
        assert bool(((found - by_torch).abs() <= 1e-5 * lengths.cuda()).all())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = there.fields(on_card, imaginary=True)
        for _ in range(5):
            graph.replay()
            assert torch.equal(captured, found), "equal products differ"
