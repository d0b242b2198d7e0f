"""The media: the stored, the computed and the structured transmission matrix."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from dfa_cli.devices.opu import Auto, Dense, Procedural, Structured
from dfa_cli.devices.opu.media import auto
from dfa_cli.devices.opu.media.hadamard import transform
from dfa_cli.devices.opu.media.procedural import _torch_product
from dfa_cli.errors import DfaError

CPU = torch.device("cpu")


def prepared(medium, n_in: int, n_out: int, seed: int = 5):
    medium.prepare(n_in, n_out, seed, CPU)
    return medium


def signs(rows: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-1, 2, (rows, n), generator=torch.Generator().manual_seed(seed)).float()


# Torch computes the coefficients of the first size, compiled code those of the second.
@pytest.mark.parametrize("size", [(300, 200), (2500, 1000)])
def test_stored_and_computed_coefficients_are_equal(size: tuple[int, int]) -> None:
    dense, procedural = prepared(Dense(), *size), prepared(Procedural(), *size)
    assert torch.equal(dense.feedback_matrix(), procedural.feedback_matrix())
    rows, columns = torch.tensor([0, 17, 299]), torch.tensor([3, 199])
    assert torch.equal(dense.entries(rows, columns), procedural.entries(rows, columns))


def test_stored_computed_and_torch_products_agree() -> None:
    """They sum in different orders in single precision, so they agree within 1e-5 of the field's deviation."""
    dense, procedural = prepared(Dense(), 1500, 400), prepared(Procedural(), 1500, 400)
    x = signs(5, 1500)
    computed = procedural.fields(x, imaginary=True).clone()
    by_torch = torch.empty_like(computed)
    _torch_product(procedural._keys, x)(0, by_torch)
    scale = float(computed.std())
    assert float((dense.fields(x, imaginary=True) - computed).abs().max()) < 1e-5 * scale
    assert float((by_torch - computed).abs().max()) < 1e-5 * scale
    assert torch.equal(procedural.fields(x, imaginary=False)[:, 0], computed[:, 0])


def test_computed_products_do_not_depend_on_slices_threads_or_other_vectors() -> None:
    procedural = prepared(Procedural(), 2100, 3000)
    x = signs(3, 2100)
    whole = procedural.fields(x, imaginary=True).clone()
    spans = [(700, 1900), (0, 1), (2999, 3000)]
    for field, (first, last) in zip(procedural.fields_at(x, True, spans), spans, strict=True):
        assert torch.equal(field, whole[:, :, first:last])
    assert torch.equal(procedural.fields(x[1:2], imaginary=True)[0], whole[1])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(procedural.fields(x, imaginary=True), whole)
    finally:
        torch.set_num_threads(threads)


def test_inputs_that_are_zero_are_skipped() -> None:
    """Their coefficients are not computed: changing their keys changes nothing."""
    procedural = prepared(Procedural(), 500, 200)
    x = signs(2, 500)
    x[:, 100:400] = 0
    before = procedural.fields(x, imaginary=True).clone()
    procedural._keys[100:400] += 1
    assert torch.equal(procedural.fields(x, imaginary=True), before)


@pytest.mark.parametrize("medium", [Dense(), Procedural(), Structured()])
def test_field_is_the_product_with_the_matrix(medium) -> None:
    prepared(medium, 60, 45)
    x = signs(4, 60)
    matrix = medium.entries(torch.arange(60), torch.arange(45))
    field = medium.fields(x, imaginary=True).clone()
    assert torch.allclose(field[:, 0], x @ matrix.real, atol=1e-4)
    assert torch.allclose(field[:, 1], x @ matrix.imag, atol=1e-4)
    assert torch.allclose(medium.feedback_matrix(), matrix.real, atol=1e-5)
    spans = [(0, 7), (7, 45)]
    for some, (first, last) in zip(medium.fields_at(x, True, spans), spans, strict=True):
        assert torch.allclose(some, field[:, :, first:last], atol=1e-4)


@pytest.mark.parametrize("medium", [Dense(), Procedural(), Structured()])
def test_projections_preserve_inner_products(medium) -> None:
    """`<Px, Pz> / n_out` is `<x, z>` within 5 standard deviations.

    The variance is `(|x|^2 |z|^2 + <x, z>^2) / n_out`.
    """
    n_in, n_out = 400, 4000
    prepared(medium, n_in, n_out)
    x = torch.randn(20, n_in, generator=torch.Generator().manual_seed(1))
    x[10:] = x[:10] + 0.5 * x[10:]  # some pairs of vectors are close to each other
    projected = medium.fields(x, imaginary=False)[:, 0].double()
    exact, found = (x @ x.T).double(), projected @ projected.T / n_out
    lengths = exact.diagonal()
    deviation = ((lengths[:, None] * lengths + exact**2) / n_out).sqrt()
    standard = (found - exact) / deviation
    assert float(standard.abs().max()) < 5
    if not isinstance(medium, Structured):  # the errors of `Structured` are smaller than chance
        assert 0.6 < float(standard.std()) < 1.4


@pytest.mark.parametrize("medium", [Procedural(), Structured()])
def test_speckle_of_a_frame_is_exponential(medium) -> None:
    """`|Tx|^2` of a binary frame is exponential over the modes.

    It passes Kolmogorov's test at 1e-3, and the contrast is 1 within 5 standard errors.
    """
    prepared(medium, 1000, 20_000)
    frame = (signs(1, 1000) > 0).float()
    field = medium.fields(frame, imaginary=True)[0]
    intensity = (field.square().sum(0) / (2 * frame.sum())).double().numpy()
    assert stats.kstest(intensity, "expon").pvalue > 1e-3
    assert intensity.std() / intensity.mean() == pytest.approx(1.0, abs=5 / math.sqrt(intensity.size))


def test_structured_entries_are_nearly_gaussian_and_unrelated() -> None:
    """Their distribution differs from the normal one by less than 0.01: at n = 512 they lie on a lattice of 1/64."""
    medium = prepared(Structured(), 512, 512)
    matrix = medium.entries(torch.arange(512), torch.arange(512))
    for part in (matrix.real, matrix.imag):
        assert stats.kstest(part.flatten().numpy(), "norm").statistic < 0.01
        assert float(part.square().mean()) == pytest.approx(1.0, abs=1e-4)
        products = (part @ part.T / 512 - torch.eye(512)).abs()
        assert float(products.max()) < 1e-4  # exactly orthogonal when square
    assert abs(float((matrix.real * matrix.imag).mean())) < 5 / 512
    first, second = (
        prepared(Structured(), 100, 100, 1).feedback_matrix(),
        prepared(Structured(), 100, 100, 2).feedback_matrix(),
    )
    assert abs(float((first * second).mean())) < 5 / 100


def test_the_hadamard_transform_equals_its_matrix() -> None:
    h = np.array([[1.0]])
    for bits in range(1, 9):
        h = np.block([[h, h], [h, -h]])
        x = torch.randn(3, 2**bits, generator=torch.Generator().manual_seed(bits), dtype=torch.float64)
        assert torch.allclose(transform(x), x @ torch.from_numpy(h))
    x = torch.randn(2, 2**12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(transform(transform(x)), x * 2**12)
    with pytest.raises(ValueError, match="power of 2, not 12"):
        transform(torch.zeros(1, 12))


def test_auto_picks_by_size_and_says_which(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Records store `auto` and not its choice, so these numbers must stay.
    assert (auto.STORED_UP_TO, auto.COMPUTED_UP_TO) == (2**25, 2**36)
    monkeypatch.setattr(auto, "STORED_UP_TO", 100)
    monkeypatch.setattr(auto, "COMPUTED_UP_TO", 400)
    for size, name in (((10, 10), Dense), ((20, 20), Procedural), ((40, 40), Structured)):
        medium = Auto()
        with caplog.at_level(logging.INFO):
            prepared(medium, *size)
        assert type(medium.chosen) is name
        assert f"device.medium=auto: {name.__name__.lower()}" in caplog.text
        assert medium.fields(signs(1, size[0]), imaginary=True).shape == (1, 2, size[1])


def test_matrices_too_large_to_store_are_refused() -> None:
    with pytest.raises(
        DfaError, match=r"20000 x 20000 .* takes 3\.2 GB .* 2\.15 GB .* device/medium=procedural"
    ):
        prepared(Dense(), 20_000, 20_000)
    with pytest.raises(DfaError, match="1000000 x 1000000"):
        prepared(Procedural(), 10**6, 10**6).feedback_matrix()
    with pytest.raises(DfaError, match="at most 4294967296 modes"):
        prepared(Procedural(), 1, 2**32 + 1)


# what the cards say of themselves: units, clock and memory clock in kHz, bits of the bus, bytes of the cache
CARDS = {
    "NVIDIA H200": ((132, 1_980_000, 3_201_000, 6144, 50 << 20), Dense),
    "NVIDIA A100": ((108, 1_410_000, 1_215_000, 5120, 40 << 20), Dense),
    "NVIDIA L40S": ((142, 2_520_000, 9_001_000, 384, 96 << 20), Procedural),
}


@pytest.mark.parametrize(("figures", "choice"), CARDS.values(), ids=CARDS)
def test_auto_computes_what_a_card_would_read_more_slowly(
    figures: tuple[int, ...], choice: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "multi_processor_count", "clock_rate", "memory_clock_rate", "memory_bus_width", "L2_cache_size"
    card = SimpleNamespace(**dict(zip(names, figures, strict=True)))
    monkeypatch.setattr(auto, "has_triton", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    cuda = torch.device("cuda")
    assert auto._is_computed_faster(2**25, cuda) == (choice is Procedural)
    assert not auto._is_computed_faster(2**22, cuda), "it fits in the cache"
    assert not auto._is_computed_faster(2**25, CPU)
    monkeypatch.setattr(auto, "has_triton", lambda: False)
    assert not auto._is_computed_faster(2**25, cuda)
