"""The simulated optical processing unit: it runs encoding, medium, read-out and camera in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.config.optics import require_effect, require_exposure
from dfa_cli.devices.base import Cost, Counts
from dfa_cli.devices.optics import POWER_WATTS, FrameTime
from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.dithering import Dithered
from dfa_cli.devices.opu.drift import Drift, rotate_phase
from dfa_cli.devices.opu.encoding import Encoding, Float, Frames
from dfa_cli.devices.opu.interface import require_frames, require_reading, require_readout
from dfa_cli.devices.opu.laser import Laser
from dfa_cli.devices.opu.limits import Limits
from dfa_cli.devices.opu.media.auto import Auto
from dfa_cli.devices.opu.media.base import Medium, Spans
from dfa_cli.devices.opu.readout.base import INTENSITY_OF_A_MIRROR, Readout
from dfa_cli.devices.opu.readout.budget import exposure_of, light_of_a_pixel, snr_notes
from dfa_cli.devices.opu.readout.holography import PhaseShifting
from dfa_cli.devices.opu.readout.ideal import Ideal
from dfa_cli.devices.opu.readout.intensity import Intensity
from dfa_cli.devices.opu.readout.statistical import Statistical
from dfa_cli.seeding import generator, stream_seed

# A large projection is computed in tiles of rows and modes. The sizes of a tile are constants, not settings: the noise
# is drawn tile by tile, so other sizes would change the result.
MODES_AT_ONCE = 1 << 20  # rows times modes: some 50 MB of intermediate results, which fit a processor's cache
ACCELERATOR_FACTOR = 8  # an accelerator gets larger tiles, because it waits at the start of each tile
MIRRORS_AT_ONCE = 1 << 24  # rows times mirrors: 128 MB of ternary patterns
MIN_MODES = 256  # a tile has at least so many modes, unless the whole projection has fewer
COMPILED_WIDTH = 512  # modes from which a run is long enough to load compiled code, which takes half a second
EXPOSURES_OF_ONES = 16  # the noise of their mean has a quarter of the deviation of one reading
# Above this fraction of saturated pixels, the noise model of `Statistical` no longer holds.
MAX_SATURATED_FRACTION = 0.01
NO_MIRROR = (
    "The device lit no mirror in a whole epoch, so it gave no feedback: lower device.encoding.threshold, "
    "or choose another device/encoding."
)
NO_LIGHT = (
    "No light reached the camera: all its pixels together collect less than one photoelectron of a frame. "
    "Raise {}."
)
DROWNED = (
    "Noise drowned the light on the camera: the signal-to-noise ratio of a pattern with one component lit is "
    "{:.0f} dB. Raise {}."
)
# Noise with a hundred times the power of the signal. It is judged with one component lit: by dithering, the error of a
# softmax lights one component of each sign on average.
LEAST_SNR_DB = -20.0
SATURATED = "{} of the camera's pixels were saturated in a whole epoch: {}."


class _Piece(NamedTuple):
    """Modes that are read together: `first` to `last - 1` of the span number `part`, which begins at `start`."""

    part: int
    start: int
    first: int
    last: int


class OPU:
    """Projects the error by simulated light, as an optical processing unit (OPU) does.

        project(e) = scale * sum_f w_f Re(T^T x_f) + noise,   feedback matrix B = Re T

    The `encoding` turns the error into binary patterns `x_f` with weights `w_f`. The `medium` sends their light
    through its complex Gaussian matrix `T`. The `camera` measures intensities, from which the `readout` recovers
    the field. At the end the scale of the error is restored.

    `matrix_seed` fixes `T`, and `noise_seed` the noise. Both are separate from the seed of the training.
    `perfect=True` turns all imperfections off at once, so that `project(e) = e B`. A pattern still takes the frames and
    the pixels of the read-out. The error itself is shown, in one pattern.
    `calibration`: fraction of the components that are lit in the calibration pattern. The reference beam and the
    exposure are set for this pattern.
    `macropixel`: number of mirrors that show one component of the error. With a number, the medium has a row for each
    mirror. `auto` shares out all mirrors, and gives the medium one row for each component: the sum of `k` independent
    complex Gaussian entries, divided by `sqrt(k)`, has the distribution of one entry.
    `remove_sum`: subtract the sum that the encoding adds to a row (`Frames.without_sum`), `y - excess b1`. For this
    the projection `b1` of a row of ones is measured once, before the first error is shown; if the optics drift, it is
    measured again each `drift.refresh` steps.
    `laser`: the light, for `camera.photons=auto`.
    `frame_time`, `power_watts` [W]: time of one frame, and power of the modelled hardware, for `cost()`.
    `frame_seconds` [s]: a fixed time in place of `frame_time`, not shorter than the exposure of the camera.
    `limits`: mirrors and pixels of the modelled hardware.
    `drift`: how the optics change from one projection to the next; by default they do not.

    `calibrate`, which `prepare` calls, sets `mirrors_per_component` and `seconds_per_frame`. A frame is one exposure of
    the camera.

    A pattern with no mirror on is not shown: it is not counted, and has no noise. On CUDA,
    `cost().measured_seconds` is the time to queue the work. `cost().warnings` tells when no mirror was lit, no light
    reached the camera, noise drowned it, or more than one in a hundred pixels were saturated, since the call before,
    and when the read-out is not to be trusted.

    Raises `DfaError` for sizes beyond `limits`, for a drift or a `remove_sum` that changes nothing, and in `calibrate`
    for a frame shorter than the exposure.

    Launay et al. 2020 (arXiv 2012.06373); Brossollet et al. 2021 (arXiv 2107.11814).
    """

    def __init__(
        self,
        encoding: Encoding | None = None,
        medium: Medium | None = None,
        readout: Readout | None = None,
        camera: Camera | None = None,
        matrix_seed: int = 0,
        noise_seed: int = 0,
        perfect: bool = False,
        calibration: float = 0.5,
        macropixel: int | str = "auto",
        remove_sum: bool = False,
        frame_seconds: float | str = "auto",
        frame_time: FrameTime | None = None,
        laser: Laser | None = None,
        power_watts: float = POWER_WATTS,
        limits: Limits | None = None,
        drift: Drift | None = None,
    ):
        require("device.calibration", calibration)
        require("device.macropixel", macropixel)
        require("device.remove_sum", remove_sum)
        require("device.frame_seconds", frame_seconds)
        require("device.power_watts", power_watts)
        self.encoding: Encoding = Float() if perfect else encoding or Dithered()
        self.readout: Readout = readout or Statistical()
        if perfect:
            require_readout(self.readout)
            self.readout = Ideal.in_place_of(self.readout)
        self.drift = drift or None
        self.medium: Medium = self.drift.apply_to(medium or Auto()) if self.drift else medium or Auto()
        self.camera = camera or Camera()
        self.matrix_seed = matrix_seed
        self.noise_seed = noise_seed
        self.perfect = perfect
        self.calibration = calibration
        self.macropixel = macropixel
        require_effect(
            perfect=perfect,
            drifts=self.drift is not None,
            walks=self.drift is not None and self.drift.changes_phase,
            intensity=isinstance(self.readout, Intensity),
            linear=getattr(self.readout, "linear", True),
            exact=isinstance(self.encoding, Float),
            remove_sum=remove_sum,
        )
        self.remove_sum = remove_sum
        self.frame_seconds = frame_seconds
        self.frame_time = frame_time or FrameTime()
        self.laser = laser or Laser()
        self.power_watts = power_watts
        self.limits = limits or Limits()

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        self._compute = torch.device(compute)
        compiled = self._compute.type == "cpu" and n_out >= COMPILED_WIDTH and not self.perfect
        self.calibrate(n_in, n_out, compiled)
        self.limits.check(n_in, self.mirrors_per_component, n_out, self.readout.pixels_per_mode)
        self._rows_per_component = 1 if self.macropixel == "auto" else self.mirrors_per_component
        self.medium.prepare(
            n_in * self._rows_per_component, n_out, stream_seed(self.matrix_seed, "feedback"), self._compute
        )
        if compiled and not isinstance(self.readout, Ideal):
            from dfa_cli.devices.opu.compiled import load

            load(isinstance(self.readout, Statistical))
        self._snr = snr_notes(self.readout, self._calibration_mirrors)
        self._noise: dict[str, torch.Generator] = {}
        self._ones: Tensor | None = None
        # The counters stay on the device of the tensors, so that no projection waits for an accelerator.
        self._frames = torch.zeros((), dtype=torch.int64, device=self._compute)
        self._full = torch.zeros((), dtype=torch.int64, device=self._compute)
        self.counts = Counts()
        self._pixels_per_frame = 0
        self._told = 0  # full pixels that `new_counts` has told
        self._judged = (0, 0, 0)  # rows, frames and saturated pixels at the last call of `cost`
        if self.drift:
            self.drift.begin(self.medium, self.noise_seed)

    def calibrate(self, n_in: int, n_out: int, compiled: bool = False) -> None:
        """Set `mirrors_per_component`, the read-out, and `seconds_per_frame`. No matrix is made for this.

        `compiled`: whether the noise of large readings is computed by compiled code.
        """
        require_readout(self.readout)
        as_many = max(1, self.limits.mirrors // max(1, n_in))
        self.mirrors_per_component = as_many if self.macropixel == "auto" else int(self.macropixel)
        self._sizes = (n_in, n_out)
        pixels = n_out * self.readout.pixels_per_mode
        camera = self.camera.on_device(self._light(pixels), compiled)
        self.readout.calibrate(self._calibration_mirrors, camera)
        exposure = exposure_of(self.readout)
        if exposure is None:
            # Without the camera's noise a pattern takes the time that it takes with it, so that runs can be compared.
            with_noise = PhaseShifting()
            with_noise.calibrate(self._calibration_mirrors, camera)
            exposure = with_noise.fringes.exposure
        exposure_seconds = exposure.share * self.laser.exposure_seconds
        if not isinstance(self.readout, Ideal):  # which has no camera
            require_exposure(self.frame_seconds, exposure_seconds, self.camera.exposure == "auto")
        self.seconds_per_frame = (
            self.frame_time.seconds(pixels, exposure_seconds)
            if self.frame_seconds == "auto"
            else float(self.frame_seconds)
        )

    def _light(self, pixels: int) -> float:
        """Return the photoelectrons per unit of intensity in a full exposure."""
        # The light falls on all mirrors and pixels, also on those that are not used.
        full = self.laser.photoelectrons(max(pixels, self.limits.pixels))
        used = self._sizes[0] * self.mirrors_per_component
        component = self.mirrors_per_component / max(used, self.limits.mirrors)
        return full * component / INTENSITY_OF_A_MIRROR

    def project(self, error: Tensor) -> Tensor:
        return next(self.project_parts(error, [(0, self._sizes[1])]))

    def project_parts(self, error: Tensor, spans: Spans) -> Iterator[Tensor]:
        if not len(error):
            return (error.new_zeros(0, last - first) for first, last in spans)
        started = time.perf_counter()
        if self.drift:
            self.drift.step(self._modelled_seconds())
            if self.drift.refreshes:
                self._ones = None
        errors = error.detach().to(torch.float32)
        shown = [self._show(tile) for tile in errors.split(max(1, MIRRORS_AT_ONCE // self._sizes[0]))]
        self.counts.seconds += time.perf_counter() - started
        if self.medium.separable:
            return (self._read(shown, [span])[0].to(error.dtype) for span in spans)
        # Some modes cost as much as all of them, so all are read now.
        parts = self._read(shown, spans)
        parts.reverse()
        return (parts.pop().to(error.dtype) for _ in spans)

    def _show(self, error: Tensor) -> tuple[Tensor, Frames]:
        frames = self.encoding.encode(error, self._noise_of("encoding"))
        require_frames(frames, error, self.encoding)
        if self.remove_sum:
            frames = frames.without_sum(error)
            if self._ones is None and bool(frames.shown.any()):
                self._measure_ones()
        self._frames += frames.shown.count_nonzero()
        self.counts.rows += len(error)
        self._last_scale = frames.scale
        return error, self._with_phases(frames)

    def _with_phases(self, frames: Frames) -> Frames:
        if self.drift and self.drift.changes_phase:
            return replace(frames, phases=self.drift.phases(frames.shown))
        return frames

    def _measure_ones(self) -> None:
        """Measure `b1`, the projection of a row of ones, as the mean of `EXPOSURES_OF_ONES` readings.

        Every row uses the same `b1`, so its noise would add up over the rows. The mean of many readings keeps it small.
        A pattern must not have more light than the calibration pattern, which sets the exposure of the camera. So the
        ones are divided among several patterns.
        """
        n_in, n_out = self._sizes
        count = min(n_in, math.ceil(1 / self.calibration))
        numbers = torch.arange(n_in, device=self._compute)
        patterns = torch.zeros(count, n_in, device=self._compute)
        patterns[numbers % count, numbers] = 1.0
        rows = EXPOSURES_OF_ONES
        shown = patterns.new_ones(count, rows)
        frames = Frames(
            patterns[:, None].expand(-1, rows, -1),
            shown,
            weights=(1.0,) * count,
            scale=shown.new_ones(rows, 1),
        )
        self._frames += count * rows
        ones = shown.new_ones(rows, n_in), self._with_phases(frames)
        self._ones = self._read([ones], [(0, n_out)], "ones")[0].mean(0)

    def _read(
        self, shown: Sequence[tuple[Tensor, Frames]], spans: Spans, stream: str | None = None
    ) -> list[Tensor]:
        """Read the values `[rows, last - first]` at the modes of each span, in tiles of rows and modes.

        `stream`: where the noise comes from. By default each span has a stream of its own.
        """
        started = time.perf_counter()
        rows = sum(len(errors) for errors, _ in shown)
        tile_rows, pieces = self._tiles(rows, spans)
        tiles = [
            (errors[first : first + tile_rows], frames.rows(first, first + tile_rows))
            for errors, frames in shown
            for first in range(0, len(errors), tile_rows)
        ]
        if len(tiles) == 1 and len(pieces) == len(spans):
            parts = list(self._values(*tiles[0], pieces, stream))
        else:
            parts = [shown[0][0].new_empty(rows, last - first) for first, last in spans]
            row = 0
            for errors, frames in tiles:
                values = self._values(errors, frames, pieces, stream)
                for piece, piece_values in zip(pieces, values, strict=True):
                    columns = slice(piece.first - piece.start, piece.last - piece.start)
                    parts[piece.part][row : row + len(errors), columns] = piece_values
                row += len(errors)
        self.counts.seconds += time.perf_counter() - started
        return parts

    def _tiles(self, rows: int, spans: Spans) -> tuple[int, list[_Piece]]:
        """Divide a reading of `rows` rows into tiles.

        Returns the number of rows in a tile, and the pieces of the spans that are read together.
        """
        n_in, n_out = self._sizes
        max_entries = MODES_AT_ONCE * (1 if self._compute.type == "cpu" else ACCELERATOR_FACTOR)
        # Modes are divided first, because `Procedural` computes all coefficients anew for each tile of rows.
        width = n_out
        if self.medium.separable:
            width = min(max(last - first for first, last in spans), max(MIN_MODES, max_entries // rows))
        pieces = [
            _Piece(part, start, first, min(first + width, stop))
            for part, (start, stop) in enumerate(spans)
            for first in range(start, stop, width)
        ]
        return max(1, min(max_entries // width, MIRRORS_AT_ONCE // n_in)), pieces

    def _values(
        self, error: Tensor, frames: Frames, pieces: Sequence[_Piece], stream: str | None
    ) -> Iterator[Tensor]:
        """Yield the values at the modes of each piece, `[rows, last - first]`.

        `stream`: the name of the random stream of the noise. With `None`, each span has a stream of its own.
        """
        count, rows, n_in = frames.patterns.shape
        # A perfect device multiplies the error itself, and skips the read-out.
        patterns = error if self.perfect else frames.patterns.reshape(count * rows, n_in)
        fields = self._fields(patterns, [(piece.first, piece.last) for piece in pieces])
        for field, piece in zip(fields, pieces, strict=True):
            if self.perfect:
                yield field[:, 0].clone()
                continue
            width = piece.last - piece.first
            noise = self._noise_of(stream or str(piece.start))
            field = field.view(count, rows, -1, width)
            if frames.phases is not None:
                field = rotate_phase(field, frames.phases)
            reading = self.readout.read(field, frames, noise)
            require_reading(reading, (rows, width), self.readout)
            if isinstance(reading.full, Tensor):
                self._full += reading.full
            # `reading.pixels` counts the pixels of this piece. A frame has the pixels of all modes.
            self._pixels_per_frame = reading.pixels // width * self._sizes[1]
            if frames.excess is not None and self._ones is not None:
                reading.values.addcmul_(frames.excess, self._ones[piece.first : piece.last], value=-1)
            yield reading.values

    def _noise_of(self, part: str) -> torch.Generator:
        """Return the stream of the noise in the parts of a projection that begin at the mode `part`.

        With a stream for each part, the noise of a part does not depend on which others are read, and where. The
        encoding and the projection of ones have streams of their own: `encoding` and `ones`.
        """
        if part not in self._noise:
            self._noise[part] = generator(self.noise_seed, f"noise {part}", self._compute)
        return self._noise[part]

    def generators(self) -> Iterable[torch.Generator]:
        return self._noise.values()

    def _fields(self, patterns: Tensor, spans: Spans) -> Iterator[Tensor]:
        count = self._rows_per_component
        if count > 1:
            patterns = patterns.repeat_interleave(count, 1)
        # The factor keeps the variance of the entries of `B` at 1, though each entry adds up several mirrors.
        imaginary = self.readout.imaginary or (self.drift is not None and self.drift.changes_phase)
        for field in self.medium.fields_at(patterns, imaginary, spans):
            yield field if count == 1 else field.mul_(count**-0.5)

    def field(self, patterns: Tensor) -> Tensor:
        """Return the complex field `[rows, n_out]` that `patterns` `[rows, n_in]` give."""
        count = self._rows_per_component
        field = self.medium.fields(patterns.repeat_interleave(count, 1), imaginary=True) * count**-0.5
        return torch.complex(field[:, 0], field[:, 1])

    def matrix(self) -> Tensor:
        """Return the matrix of the last projection; before the first, that of the first."""
        matrix = self.drift.feedback_matrix() if self.drift else self.medium.feedback_matrix()
        count = self._rows_per_component
        if count == 1:
            return matrix
        n_in, n_out = self._sizes
        return matrix.reshape(n_in, count, n_out).sum(1).mul_(count**-0.5)

    def state_dict(self) -> dict[str, Tensor]:
        counts = [int(self._frames), int(self._full), self.counts.rows, self._pixels_per_frame]
        return {
            "matrix_seed": torch.tensor(self.matrix_seed),
            "shape": torch.tensor(self._sizes),
            **{f"noise.{part}": noise.get_state() for part, noise in self._noise.items()},
            **({} if self._ones is None else {"ones": self._ones}),
            **({"drift": self.drift.state()} if self.drift else {}),
            "counts": torch.tensor(counts),
            "seconds": torch.tensor(self.counts.seconds, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        seed, (n_in, n_out) = int(state["matrix_seed"]), state["shape"].tolist()
        if (seed, n_in, n_out) != (self.matrix_seed, *self._sizes):
            self.matrix_seed = seed
            self.prepare(n_in, n_out, self._compute)
        # Generators and tensors stay the same objects, so that a recorded step still finds them.
        drawn = {
            name.removeprefix("noise."): noise for name, noise in state.items() if name.startswith("noise.")
        }
        self._noise = {part: noise for part, noise in self._noise.items() if part in drawn}
        for part, noise in drawn.items():
            self._noise_of(part).set_state(noise)
        if self._ones is None or "ones" not in state:
            self._ones = state["ones"].to(self._compute) if "ones" in state else None
        else:
            self._ones.copy_(state["ones"])
        frames, full, self.counts.rows, self._pixels_per_frame = state["counts"].tolist()
        self._frames.fill_(frames)
        self._full.fill_(full)
        self._told = full
        self._judged = (self.counts.rows, frames, full)
        self.counts.seconds = float(state.get("seconds", 0.0))  # older checkpoints have no such entry
        if self.drift:
            self.drift.load(state["drift"])

    def new_counts(self) -> int:
        before, self._told = self._told, int(self._full)
        return self._told - before

    def add_counts(self, count: int) -> None:
        self._full += count
        self._told += count

    def _modelled_seconds(self) -> float:
        return int(self._frames) * self.readout.exposures * self.seconds_per_frame

    def cost(self) -> Cost:
        n_in, n_out = self._sizes
        shown = int(self._frames)
        frames = shown * self.readout.exposures
        seconds = self._modelled_seconds()
        full = int(self._full)
        return Cost(
            rows=self.counts.rows,
            frames=frames,
            coefficients=self.counts.rows * n_in * n_out,
            measured_seconds=self.counts.measured_seconds(),
            modelled_seconds=seconds,
            modelled_joules=seconds * self.power_watts,
            notes={
                "saturated_fraction": full / max(1, shown * self._pixels_per_frame),
                **self._snr,
                **(self.drift.notes(seconds) if self.drift else {}),
            },
            warnings=self._judge(shown, full),
        )

    @property
    def _calibration_mirrors(self) -> float:
        return max(1.0, self.calibration * self._sizes[0])

    def _judge(self, *counts: int) -> list[str]:
        """Return what went wrong since the call before. `counts`: the frames and the saturated pixels so far."""
        now = (self.counts.rows, *counts)
        rows, shown, full = (total - before for total, before in zip(now, self._judged, strict=True))
        self._judged = now
        if not rows:
            return []
        cautions = [
            getattr(self.readout, "caution", None),
            self.drift.caution(self._modelled_seconds()) if self.drift else None,
        ]
        found = [caution for caution in cautions if caution]
        if not shown:
            # The scale of a row without an error is zero. Such a row lights no mirror, and that is right.
            return [*found, NO_MIRROR] if bool(self._last_scale.any()) else found
        light = light_of_a_pixel(self.readout, self._calibration_mirrors) * self._pixels_per_frame
        if light < 1:
            found.append(NO_LIGHT.format(self._keys_of_light()))
        elif (snr_db := self._snr.get("snr_db_one_lit", math.inf)) < LEAST_SNR_DB:
            keys = self._keys_of_light()
            if self.camera.read_noise:
                keys += f"{',' if ' ' in keys else ''} or lower device.camera.read_noise"
            found.append(DROWNED.format(snr_db, keys))
        elif full > MAX_SATURATED_FRACTION * shown * self._pixels_per_frame > 0:
            most = full > 0.5 * shown * self._pixels_per_frame
            found.append(
                SATURATED.format("Most" if most else "More than one in a hundred", self._less_light())
            )
        return found

    def _less_light(self) -> str:
        """Say how fewer pixels become full."""
        if self.camera.exposure != "auto":
            return "lower device.camera.exposure, or raise device.camera.full_well"
        wrapped = "wrapped." if isinstance(self.readout, Statistical) else ""
        return f"raise device.readout.{wrapped}headroom, or device.calibration if patterns are brighter than its own"

    def _keys_of_light(self) -> str:
        """Name the keys that bring more light to the camera."""
        keys = ["device.camera.photons"]
        if self.camera.photons == "auto":
            keys = (
                ["device.laser.watts"]
                if self.macropixel == "auto"
                else ["device.macropixel", "device.laser.watts"]
            )
        if self.camera.exposure != "auto":
            keys.append("device.camera.exposure")
        *others, last = keys
        return f"{', '.join(others)} or {last}" if others else last
