"""Products by oneDNN give the numbers and gradients of torch, and are used only where they are faster."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfa_cli.devices import Digital
from dfa_cli.kernels import onednn
from dfa_cli.kernels.activations import ACTIVATIONS
from dfa_cli.kernels.dense import affine, product
from dfa_cli.machine import cpu

ROWS, INPUTS, WIDTH = onednn.ROWS, 40, onednn.COLUMNS
SPACING = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}  # of the numbers from 1 to 2

needs_operator = pytest.mark.skipif(
    not onednn._has_operator(), reason="this build of torch has no such operator of oneDNN"
)


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use oneDNN for both types on every processor: the numbers must be right even where it is slow."""
    monkeypatch.setattr(onednn, "_is_fast_type", lambda dtype: dtype in SPACING)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return `h`, `W` and `b`, whose values `dtype` represents exactly."""
    h, weight, bias = drawn(0, ROWS, INPUTS), drawn(1, INPUTS, WIDTH) / INPUTS**0.5, drawn(2, WIDTH)
    return h.to(dtype), weight.to(dtype), bias.to(dtype)


def distance(found: Tensor, exact: Tensor) -> float:
    with torch.no_grad():
        return float((found.double() - exact).norm() / exact.norm())


@needs_operator
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("dtype", SPACING, ids=str)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_numbers_and_gradients_are_those_of_double_precision(
    activation: str | None, dtype: torch.dtype
) -> None:
    ours = [operand.requires_grad_() for operand in operands(dtype)]
    exact = [operand.detach().double().requires_grad_() for operand in ours]
    assert onednn.is_faster(ours[0], ours[1])
    h = affine(ours[0], ours[1], ours[2], ACTIVATIONS[activation] if activation else None, dtype)
    z = exact[0] @ exact[1] + exact[2]
    expected = z if activation is None else z.tanh() if activation == "tanh" else z.clamp(min=0)
    assert type(h.grad_fn).__name__ == "_FusedAffineBackward"
    assert h.dtype == dtype
    assert distance(h, expected) < 4 * SPACING[dtype]

    signal = drawn(3, ROWS, WIDTH).to(dtype)
    h.backward(signal)
    expected.backward(signal.double())
    for found, wanted in zip(ours, exact, strict=True):
        assert found.grad is not None
        assert wanted.grad is not None
        assert distance(found.grad, wanted.grad) < 4 * SPACING[dtype]


@needs_operator
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_nan_stays_visible(activation: str | None) -> None:
    h, weight, bias = operands(torch.float32)
    weight[3, 5] = torch.nan
    out = affine(h, weight, bias, ACTIVATIONS[activation] if activation else None, None)
    assert out.isnan().nonzero()[:, 1].tolist() == [5] * ROWS


@needs_operator
@pytest.mark.usefixtures("everywhere")
def test_only_the_needed_gradients_are_computed() -> None:
    h, weight, bias = operands(torch.float32)
    affine(h, weight.requires_grad_(), bias, None, None).sum().backward()
    assert h.grad is None
    assert bias.grad is None
    torch.testing.assert_close(weight.grad, h.sum(0)[:, None].expand(INPUTS, WIDTH))


@needs_operator
@pytest.mark.usefixtures("everywhere")
def test_backward_signals_and_projections_of_few_classes_equal_the_product() -> None:
    h, weight = drawn(0, ROWS, WIDTH).float().requires_grad_(), drawn(1, WIDTH, 10).float()
    signal = drawn(2, ROWS, 10).float()
    product(h, weight).backward(signal)
    torch.testing.assert_close(h.grad, (signal.double() @ weight.double().t()).float())

    device = Digital("cpu")
    device.prepare(10, WIDTH, torch.device("cpu"))
    torch.testing.assert_close(
        device.project(signal), (signal.double() @ device.matrix().double()).float(), rtol=1e-5, atol=1e-5
    )


@needs_operator
@pytest.mark.usefixtures("everywhere")
def test_operands_may_have_any_strides() -> None:
    square = drawn(0, 2 * WIDTH, 2 * WIDTH).float()
    for rows in (slice(ROWS), slice(None, None, 2), slice(WIDTH, None)):
        for a, b in (
            (square[rows], square[:, WIDTH:]),
            (square[:, rows].t(), square.t()),
            (square[rows], square[:, ::2]),
        ):
            assert onednn.is_faster(a, b)
            assert distance(onednn.matmul(a, b), a.double() @ b.double()) < 16 * SPACING[torch.float32]


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((ROWS - 1, 4), (4, WIDTH)),
        ((ROWS, 4), (4, WIDTH - 1)),
        ((0, 4), (4, WIDTH)),
        ((ROWS, 0), (0, WIDTH)),
    ],
    ids=["few rows", "few columns", "no rows", "nothing to sum"],
)
def test_a_small_product_is_left_to_torch(a: tuple[int, int], b: tuple[int, int]) -> None:
    left, right = torch.ones(a), torch.ones(b)
    assert not onednn.is_faster(left, right)
    assert torch.equal(onednn.matmul(left, right), torch.full((a[0], b[1]), float(a[1])))


def test_other_types_are_left_to_torch() -> None:
    a, b = torch.ones(ROWS, 4), torch.ones(4, WIDTH)
    assert not onednn.is_faster(a.double(), b.double())
    assert not onednn.is_faster(a.bfloat16(), b)


@needs_operator
@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD", None])
def test_intels_processors_keep_torchs_own_library_in_float32(
    vendor: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    if vendor is not None:
        info.write_text(f"vendor_id\t: {vendor}\n", encoding="utf-8")
    monkeypatch.setattr(cpu, "CPU_INFO", info)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    fast = onednn._is_fast_type.__wrapped__  # without the cache of earlier calls
    assert fast(torch.float32) is (vendor == "AuthenticAMD")
    assert fast(torch.bfloat16)


@needs_operator
@pytest.mark.parametrize(
    ("threads", "rows", "inner", "columns", "expected"),
    [
        (2, 256, 784, 1024, True),
        (1, 256, 784, 1024, False),
        (2, 256, 10, 1024, False),
        (2, 4096, 128, 256, False),
    ],
    ids=["shared", "one thread", "a projection", "few columns"],
)
def test_threads_share_a_large_product_by_onednn_on_every_processor(
    threads: int, rows: int, inner: int, columns: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "_is_fast_type", lambda dtype: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    a, b = torch.empty(rows, inner), torch.empty(inner, columns)
    assert onednn.is_faster(a, b) is expected
    assert not onednn.is_faster(a.double(), b.double())


@needs_operator
@pytest.mark.parametrize("instructions", ["DEFAULT", "AVX2", "AVX512"])
def test_it_is_used_where_the_processor_has_the_instructions(
    instructions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\n", encoding="utf-8")
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    fast = onednn._is_fast_type.__wrapped__
    assert fast(torch.float32) is (instructions != "DEFAULT")
    assert fast(torch.bfloat16) is (instructions == "AVX512")


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_build_without_the_operator_keeps_torchs_own_library(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*arguments: object, **more: object) -> Tensor:
        raise error("no such operator")

    monkeypatch.setattr(onednn, "linear", absent)
    assert not onednn._has_operator.__wrapped__()
