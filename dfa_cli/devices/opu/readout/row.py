"""A row of camera pixels under band-limited speckle: from field to intensity to spectrum, and back to the field.

row = Row(modes=256)
intensity = row.intensity(field, reference)          # [..., modes], complex -> [..., pixels]
spectrum = row.spectrum(intensity)                   # [..., pixels // 2 + 1], with the band around row.carrier
field = row.demodulate(intensity, reference)         # [..., modes], complex
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dfa_cli.config.bounds import AT_LEAST_ONE, require
from dfa_cli.devices.opu.readout.holography import Moments

# torch gives a thread at least so many numbers (`GRAIN_SIZE` in ATen/Parallel.h).
NUMBERS_OF_A_THREAD = 1 << 15
# Shorter transforms are computed by one thread each.
SHARED_TRANSFORM = 1 << 13  # numbers


def multiply(rows: Tensor, factors: Tensor, out: Tensor) -> Tensor:
    """Write the complex product `rows * factors`, `[..., n]` times `[n]`, to `out`.

    torch rounds a complex product differently at the end of a thread's share, so a product that several threads divide
    would depend on their number. The pieces here are too small to be divided.
    """
    n = len(factors)
    size = max(1, NUMBERS_OF_A_THREAD // n)
    for piece, product in zip(rows.view(-1, n).split(size), out.view(-1, n).split(size), strict=True):
        torch.mul(piece, factors, out=product)
    return out


def transform(function: Callable[..., Tensor], rows: Tensor, n: int) -> Tensor:
    """Return `function(rows, n=n, norm="forward")`, one of `torch.fft`, along the last dimension.

    Several threads share a long transform where there are fewer transforms than threads, and round it differently. So
    the rows are repeated until there is one for each thread. A single row is rounded differently from several, so there
    are always two or more.
    """
    count, least = math.prod(rows.shape[:-1]), max(2, torch.get_num_threads())
    if rows.is_cuda or n < SHARED_TRANSFORM or not 0 < count < least:
        return function(rows, n=n, norm="forward")
    flat = rows.reshape(count, rows.shape[-1])
    repeated = function(flat.repeat(math.ceil(least / count), 1), n=n, norm="forward")
    return repeated[:count].reshape(*rows.shape[:-1], -1)


def total(numbers: Tensor) -> float:
    """Add up numbers in an order that does not depend on the number of threads."""
    return sum((float(piece.sum()) for piece in numbers.split(NUMBERS_OF_A_THREAD - 1)), 0.0)


class Row:
    """Speckle grains side by side on a row of pixels, under fringes of a tilted reference beam.

    The light leaves the medium through a uniform rectangular pupil. So the field along the row is limited to a band of
    `1 / grain` cycles per pixel, and its samples at a distance of one grain are independent (Goodman 2007, Speckle
    Phenomena in Optics). One sample is one mode. Between the samples the field is their band-limited interpolation:

        E(x)  = sum_f F_f exp(2 pi i f x / modes),   f = -modes/2 .. modes/2 - 1,   x in grains
        I_p   = mean over the pixel of |E|^2 + R^2 + 2 visibility R Re(E exp(2 pi i carrier x / modes))
        x_p   = (p - (grain - 1) / 2) / grain,   p = 0 .. modes grain - 1

    A pixel averages over its width, which multiplies the spectrum by `sinc(k / pixels)` at `k` cycles per row. `|E|^2`
    takes the frequencies below `modes`, and the fringes those within `modes / 2` of the carrier.

    `demodulation`:

    - `fourier`: the carrier has 3/2 cycles a grain, the least that keeps the fringes apart from `|E|^2`. With 4 pixels
      a grain that is 3/8 cycle a pixel. The band around it is cut out of the spectrum, divided by
      `visibility R sinc`, and shifted to zero. Without noise this is exact.
    - `local`: the carrier has one cycle a grain, so the fringes overlap with `|E|^2`. The pixels of a grain are summed,
      `E = 1 / (grain V R) sum_p I_p exp(-2 pi i x_p)` with `V = visibility sinc(1 / grain)`.

    The row is periodic, so that it has no ends at which a spectrum leaks. Raises `DfaError` for values out of bounds.

    Cuche, Marquet and Depeursinge 2000, Appl. Opt. 39, 4070.
    """

    def __init__(
        self, modes: int, grain: int = 4, demodulation: str = "fourier", visibility: float = 1.0
    ) -> None:
        require("modes", modes, AT_LEAST_ONE)
        for name, value in {"grain": grain, "demodulation": demodulation, "visibility": visibility}.items():
            require(f"device.readout.{name}", value)
        self.modes = modes
        self.grain = grain
        self.demodulation = demodulation
        self.visibility = visibility
        self.pixels = modes * grain
        self.carrier = modes + (modes // 2 if demodulation == "fourier" else 0)  # in cycles per row
        first = self.carrier - modes // 2
        self.band = slice(first, first + modes)  # the frequencies of the fringes, in cycles per row
        frequency = torch.arange(self.pixels // 2 + 1, dtype=torch.float64)
        self.contrast = torch.sinc(frequency / self.pixels)  # what a pixel's width leaves of each frequency
        # The first pixel lies half a grain, less half a pixel, before the first mode.
        shift = torch.polar(torch.ones_like(frequency), -math.pi * (grain - 1) / self.pixels * frequency)
        self._to_pixels = (self.contrast * shift).to(torch.complex64)
        self._to_fringes = visibility * self._to_pixels[self.band]
        self._to_field = self._to_fringes.reciprocal()
        x = (torch.arange(grain, dtype=torch.float64) - (grain - 1) / 2) / grain
        visible = grain * visibility * math.sin(math.pi / grain) / (math.pi / grain)
        self._local_cosines = (torch.cos(2 * math.pi * x) / visible).float()
        self._local_sines = (-torch.sin(2 * math.pi * x) / visible).float()

    def to(self, device: torch.device) -> Row:
        """Move the row's constants to the torch device, in place, but for those that Python reads (`_local`)."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and not name.startswith("_local"):
                setattr(self, name, value.to(device))
        return self

    def intensity(self, field: Tensor, reference: float) -> Tensor:
        """Return the intensity `[..., pixels]` of a complex field `[..., modes]` and a reference of that amplitude."""
        modes = self.modes
        spectrum = torch.fft.fftshift(torch.fft.fft(field, norm="forward"), dim=-1)
        # `|E|^2` has twice the bandwidth of `E`, so it is computed at two points per mode.
        fine = torch.view_as_real(torch.fft.ifft(spectrum, n=2 * modes, norm="forward")).square()
        squared = fine[..., 0] + fine[..., 1]
        light = spectrum.new_zeros(*field.shape[:-1], self.pixels // 2 + 1)
        squared_spectrum = torch.fft.rfft(squared, norm="forward")[..., :modes]
        multiply(squared_spectrum, self._to_pixels[:modes], out=light[..., :modes])
        light[..., 0] += reference**2
        light[..., self.band] += multiply(spectrum, self._to_fringes * reference, out=spectrum)
        return transform(torch.fft.irfft, light, self.pixels)

    def spectrum(self, intensity: Tensor) -> Tensor:
        """Return the complex amplitudes `[..., pixels // 2 + 1]` at 0, 1, ... cycles per row."""
        return transform(torch.fft.rfft, intensity, self.pixels)

    def demodulate(self, intensity: Tensor, reference: float) -> Tensor:
        """Recover the complex field `[..., modes]` from the intensity `[..., pixels]`."""
        if self.demodulation == "fourier":
            return self._shifted(self.spectrum(intensity), reference)
        return torch.complex(
            self.real_part(intensity, reference), self._local(intensity, self._local_sines, reference)
        )

    def real_part(self, intensity: Tensor, reference: float) -> Tensor:
        """Recover the real part of the field `[..., modes]` from the intensity `[..., pixels]`."""
        if self.demodulation == "fourier":
            return self._shifted(self.spectrum(intensity), reference).real
        return self._local(intensity, self._local_cosines, reference)

    def _shifted(self, spectrum: Tensor, reference: float) -> Tensor:
        """Shift the band of the fringes to zero frequency, and sample its field at the modes."""
        band = spectrum[..., self.band]
        field = multiply(band, self._to_field / reference, out=torch.empty_like(band))
        return torch.fft.ifft(torch.fft.ifftshift(field, dim=-1), norm="forward")

    def _local(self, intensity: Tensor, weights: Tensor, reference: float) -> Tensor:
        # A matrix product would round differently with another number of threads.
        pixels = intensity.unflatten(-1, (self.modes, self.grain)).unbind(-1)
        factors = (weights / reference).tolist()
        total = pixels[0] * factors[0]
        for pixel, factor in zip(pixels[1:], factors[1:], strict=True):
            total.add_(pixel, alpha=factor)
        return total

    def response(self) -> Tensor:
        """Return `c`, complex128 `[pixels // 2 + 1]`, which says how the value at a mode follows from the spectrum.

            Re E = c_0 S_0 + 2 Re sum_k c_k S_k   at the first mode, for a reference of amplitude 1

        `S_k` is the amplitude at `k` cycles per row, its phase taken at the first mode.
        """
        response = torch.zeros(self.pixels // 2 + 1, dtype=torch.complex128)
        if self.demodulation == "fourier":
            response[self.band] = 0.5 / (self.visibility * self.contrast[self.band])
        else:
            x = (torch.arange(self.grain, dtype=torch.float64) - (self.grain - 1) / 2) / self.grain
            k = torch.arange(len(response), dtype=torch.float64)
            turns = 2 * math.pi / self.modes * k[:, None] * x
            response += torch.polar(torch.ones_like(turns), turns) @ self._local_cosines.to(torch.complex128)
        return response

    def moments(self) -> Moments:
        """Return mean and variance of a value, for modes with independent circular Gaussian fields."""
        modes, pixels = self.modes, self.pixels
        squared = self.response().abs().square()  # |c_k|^2
        # By Parseval's theorem, the sum of the squared weights of the pixels.
        last = float(squared[-1]) if pixels % 2 == 0 else 0.0
        noise = (2 * total(squared) - float(squared[0]) - last) / pixels
        # What the fields of all modes, `F_f`, contribute to the value at one of them.
        transfer = 2 * self.visibility * self.contrast[self.band] * self.response()[self.band]
        gain = float(transfer.real.mean())
        crosstalk = 0.5 * (float(transfer.abs().square().mean()) - gain**2)
        # |E|^2 has the variance (modes - k) (S / modes)^2 at `k` cycles per row.
        k = torch.arange(1, modes)
        passed = (self.contrast[1:modes].square() * squared[1:modes] * (modes - k)).sum()
        return Moments(noise, gain, self._own(), max(0.0, crosstalk), 2 * float(passed) / modes**2)

    def _own(self) -> float:
        """Return the part of a mode in `|E|^2`, averaged over the pixels by their squared weights."""
        only = torch.zeros(self.modes, dtype=torch.complex64)
        only[0] = 1.0
        k = torch.arange(self.pixels // 2 + 1)
        turns = (-math.pi * (self.grain - 1) / self.pixels * k).double()
        response = self.response().conj() * torch.polar(torch.ones_like(turns), turns)
        squared = transform(torch.fft.irfft, response, self.pixels).square()
        return total(self.intensity(only, 0.0) * squared) / total(squared)
