"""Draws the path of one pattern through the optics, in six panels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dfa_cli.beam.follow import Beam, Image
from dfa_cli.plots.style import COLOURS, INK, PALE, Look, dress, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

ROWS, PIXELS = 24, 64  # of the image that are drawn
MOST_ROWS = 300  # of mirrors of which each is drawn
MOST_DOTS = 4000
SOURCES = {
    "shot": "shot noise",
    "read": "read noise",
    "grey_levels": "grey levels",
    "crosstalk": "crosstalk",
    "saturation": "saturation",
}


def draw(beam: Beam, mirrors: int, mirrors_per_component: int, below: str) -> Figure:
    """Draw mirrors, speckle, fringes, spectrum, true against read values, and the noise by its sources.

    `below`: the text under the figure.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.2, 5.6), layout="constrained")
    axes = figure.subplots(2, 3).flatten().tolist()
    _mirrors(axes[0], beam, mirrors, mirrors_per_component)
    if beam.image is None:
        for axis in axes[1:4]:
            _empty(axis, "no camera is simulated")
    else:
        _speckle(axes[1], beam.image)
        _camera(axes[2], beam.image)
        _spectrum(axes[3], beam.image)
    _scatter(axes[4], beam)
    _budget(axes[5], beam)
    finish(figure, [], Look(), below)
    return figure


def _mirrors(axis: Axes, beam: Beam, mirrors: int, per_component: int) -> None:
    """Draw each mirror, row by row, the mirrors of a component one after another.

    If less than a hundredth of the mirrors are used, only these are drawn: the others would hide them.
    """
    import torch

    used = len(beam.pattern) * per_component
    count = f"{per_component:,} mirror{'' if per_component == 1 else 's'} per component\nwhite: on"
    if used < mirrors / 100:
        count += f"\n{mirrors - used:,} others are not shown"
        mirrors = used
    high = max(1, round(math.sqrt(mirrors * 912 / 1140)))
    wide = math.ceil(mirrors / high)
    shown = torch.full((high * wide,), 0.5)  # neither on nor off: not used
    lit = beam.pattern.abs().repeat_interleave(per_component)[: high * wide]
    shown[: len(lit)] = lit
    # There are more rows of mirrors than of pixels in the figure, and none of those that are lit may be left out.
    axis.imshow(
        shown.view(high, wide).numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="antialiased" if high > MOST_ROWS else "nearest",
    )
    dress(
        axis, f"Mirrors: {int(beam.pattern.count_nonzero())} of {len(beam.pattern)} components lit", count, ""
    )
    axis.grid(visible=False)
    axis.spines[["top", "right"]].set(visible=True, color="#888888")
    axis.set_xticks([])
    axis.set_yticks([])


def _speckle(axis: Axes, image: Image) -> None:
    shown = axis.imshow(
        image.speckle[:ROWS, :PIXELS].numpy(),
        cmap="inferno",
        vmin=0,
        vmax=4,
        aspect="auto",
        interpolation="nearest",
    )
    _of_pixels(axis, "Speckle behind the medium", "pixel")
    _scale(axis, shown, "intensity / its mean", extend="max")


def _camera(axis: Axes, image: Image) -> None:
    heading = "What the camera gives" if image.carrier is None else "Fringes, as the camera gives them"
    samples = "pixel" if image.samples == "pixels" else "exposures of one pixel after another"
    shown = axis.imshow(
        image.levels[:ROWS, :PIXELS].numpy(), cmap="gray", aspect="auto", interpolation="nearest"
    )
    _of_pixels(axis, heading, samples)
    _scale(axis, shown, image.unit)


def _scale(axis: Axes, shown: AxesImage, words: str, extend: str = "neither") -> None:
    """Draw the scale of an image. `extend="max"`: brighter values than its end have the same colour."""
    bar = axis.figure.colorbar(shown, ax=axis, extend=extend)
    bar.set_label(words, fontsize=9)
    bar.ax.tick_params(labelsize=8.5)


def _of_pixels(axis: Axes, heading: str, below: str) -> None:
    from matplotlib.ticker import MaxNLocator

    dress(axis, heading, below, "row of the camera")
    axis.yaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axis.grid(visible=False)


def _spectrum(axis: Axes, image: Image) -> None:
    """Draw the power spectrum of the camera's rows, with the carrier of the fringes and the band that is cut out."""
    decibels = 10 * (image.spectrum / image.spectrum[0]).clamp_min(1e-12).log10().numpy()
    marker = "o" if len(decibels) < 20 else ""
    axis.plot(
        image.frequencies.numpy(), decibels, color=COLOURS[0], linewidth=1.2, marker=marker, markersize=4
    )
    if image.band is not None:
        axis.axvspan(*image.band, color=PALE, zorder=0, linewidth=0)
    if image.carrier is not None:
        axis.axvline(image.carrier, color=COLOURS[1], linewidth=1.2, linestyle=(0, (5, 1.6)))
        axis.annotate(
            f"carrier {image.carrier:.3g}",
            (image.carrier, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            color=COLOURS[1],
        )
    sample = image.samples.removesuffix("s")
    heading = "Spectrum of the rows" if sample == "pixel" else "Spectrum of the exposures"
    dress(axis, heading, f"cycles / {sample}", "power / power of the mean (dB)")


def _scatter(axis: Axes, beam: Beam) -> None:
    read, true = beam.read[:MOST_DOTS].numpy(), beam.true[:MOST_DOTS].numpy()
    axis.plot(true, read, ".", color=COLOURS[0], markersize=2, alpha=0.6, rasterized=True)
    ends = [float(true.min()), float(true.max())]
    axis.plot(ends, ends, color=INK, linewidth=0.8)
    ratio = beam.measured_snr_db
    heading = f"Read against true: {f'{ratio:.1f} dB, measured' if math.isfinite(ratio) else 'equal'}"
    dress(axis, heading, f"{beam.what} / its r.m.s.", "read / the same r.m.s.")


def _budget(axis: Axes, beam: Beam) -> None:
    """Draw the share of each source in the variance of the noise."""
    if beam.budget is None or not beam.budget.noise:
        _empty(axis, "no noise" if beam.budget else "no formula for this read-out")
        return
    sources = [(words, getattr(beam.budget, name) / beam.budget.noise) for name, words in SOURCES.items()]
    sources = [(words, share) for words, share in sources if share > 0]
    places = range(len(sources), 0, -1)
    axis.barh(places, [100 * share for _, share in sources], color=COLOURS[0], height=0.6)
    for at, (_, share) in zip(places, sources, strict=True):
        text = "< 0.1 %" if share < 1e-3 else f"{share:.1%}".replace("%", " %")
        axis.annotate(
            text, (100 * share, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_xlim(0, 118)
    axis.set_yticks(list(places), [words for words, _ in sources])
    dress(axis, f"Signal-to-noise by formula: {beam.budget.snr_db:.1f} dB", "share of the noise (%)", "")
    axis.grid(visible=False, axis="y")


def _empty(axis: Axes, words: str) -> None:
    axis.set_axis_off()
    axis.annotate(words, (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=9, color=INK)
