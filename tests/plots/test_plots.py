"""Figures: what is drawn, in which files, and which options are refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from reading import Call
from run_factory import Factory

from dfa_cli.comparison.comparison import summarise
from dfa_cli.errors import DfaError
from dfa_cli.plots.against_key import draw_against
from dfa_cli.plots.bars import draw_bars
from dfa_cli.plots.curves import draw_curves
from dfa_cli.plots.style import COLOURS, Look, line_look, save, shorten
from dfa_cli.plots.timeline import Bar, Timeline, draw_timelines


def test_the_note_tells_over_how_many_seeds_each_mean_is(factory: Factory):
    for rule, seeds in (("bp", 2), ("dfa", 4)):
        for seed in range(seeds):
            factory.run(rule=rule, seed=seed)
    for draw in (draw_bars, lambda result: draw_curves(result, "validation_accuracy")):
        words = " ".join(str(text.get_text()) for text in draw(summarise([factory.root])).findobj(Text))
        assert "each mean is over at least 2 and at most 4 seeds" in words.replace("\n", " ")
        assert "cora, gcn, cpu (not used by bp)" in words
        marks = (
            "whiskers: ± 1 standard deviation, dots: the seeds" if draw is draw_bars else "band: ± 1 standard"
        )
        assert marks in words.replace("\n", " ")


def test_the_note_names_a_precision_that_changes_numbers(factory: Factory):
    for precision, is_named in (("bf16", True), ("fp32", False)):
        config = {"precision": precision, "epochs": len(precision) + is_named}
        factory.run(config=config)
        result = summarise([factory.root], where=f"precision={precision}")
        words = " ".join(str(text.get_text()) for text in draw_bars(result).findobj(Text))
        assert (precision in words) == is_named


def test_no_two_bars_look_the_same(factory: Factory):
    for i in range(11):
        factory.run(config={"optimizer.lr": 0.01 * (i + 1)})
    (axis,) = draw_bars(summarise([factory.root])).axes
    bars = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == 11


def test_counts_have_ticks_at_whole_numbers(factory: Factory):
    for width in (1, 2):
        for rule in ("bp", "dfa"):
            result = {"best_epoch": width, "test_accuracy_at_best_validation": 0.5}
            factory.run(rule=rule, config={"model.width": width}, record={"result": result})
    counted = summarise([factory.root], metric="best_epoch", along="model.width")
    (against,) = draw_against(counted, "model.width").axes
    for axis in (draw_bars(counted).axes[0].xaxis, against.xaxis, against.yaxis):
        assert all(float(tick).is_integer() for tick in axis.get_ticklocs())
    (share,) = draw_bars(summarise([factory.root])).axes
    assert len(share.xaxis.get_ticklocs()) > 3


@pytest.fixture
def noisy(factory: Factory) -> Path:
    """Two models at four noise levels, and a reference that has no such key."""
    for model, low in (("gcn", 0.0), ("gat", 0.02)):
        for noise in (0.0, 0.01, 0.1, 1.0):
            for seed in range(3):
                accuracy = 0.8 - low - 0.1 * noise + 0.002 * seed
                config = {"device.noise": noise}
                factory.run(model=model, device="opu_sim", seed=seed, accuracy=accuracy, config=config)
    for seed in range(3):
        factory.run(model="gcn", rule="bp", seed=seed, accuracy=0.82)
        factory.run(model="gat", rule="bp", seed=seed, accuracy=0.81)
    return factory.root


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml"), ("A.PNG", b"\x89PNG")]
)
def test_each_type_of_file_is_written(swept: Path, call: Call, name: str, start: bytes):
    call("plot", swept, "--kind", "bars", "--out", name)
    assert Path(name).read_bytes().startswith(start)


def test_the_same_figure_gives_the_same_bytes(swept: Path):
    def draw(suffix: str) -> bytes:
        return save(draw_curves(summarise([swept]), "validation_accuracy"), suffix)

    for suffix in (".svg", ".pdf"):
        assert draw(suffix) == draw(suffix)


def test_curves_show_the_mean_and_its_band(swept: Path):
    result = summarise([swept])
    axis = draw_curves(result, "validation_accuracy").axes[0]
    assert [line.get_label() for line in axis.get_lines()] == ["bp", "dfa, cpu", "dfa, opu_sim", "shallow"]
    runs = [run.curves["validation_accuracy"] for run in result.groups[0].counted]
    measured = np.array(runs, dtype=float) * 100
    assert np.asarray(axis.get_lines()[0].get_ydata()) == pytest.approx(measured.mean(axis=0))
    edge = np.asarray(axis.collections[0].get_paths()[0].vertices)
    assert edge[:, 1].max() == pytest.approx((measured.mean(axis=0) + measured.std(axis=0, ddof=1)).max())
    assert axis.get_ylabel() == "validation accuracy (%)"


def test_lines_differ_without_colour(swept: Path):
    lines = draw_curves(summarise([swept]), "train_loss").axes[0].get_lines()
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines)
    colours = {line.get_color() for line in lines}
    assert colours <= set(COLOURS)


def test_early_stopping_ends_a_mean_when_most_runs_have_ended(factory: Factory):
    for seed, epochs in enumerate((10, 20, 30, 40)):
        factory.run(seed=seed, epochs=40)
        text = sorted(factory.root.rglob("metrics.csv"))[-1]
        text.write_text("\n".join(text.read_text().split("\n")[: epochs + 1]) + "\n")
    (line,) = draw_curves(summarise([factory.root]), "test_accuracy").axes[0].get_lines()
    assert max(np.asarray(line.get_xdata())) == 30


def test_each_data_set_has_a_panel_and_one_colour_a_rule(factory: Factory):
    for data in ("cora", "citeseer"):
        for rule in ("bp", "dfa"):
            factory.run(data=data, rule=rule)
    axes = draw_curves(summarise([factory.root]), "validation_accuracy").axes
    assert [axis.get_title(loc="left") for axis in axes] == ["data citeseer", "data cora"]
    colours = [{line.get_label(): line.get_color() for line in axis.get_lines()} for axis in axes]
    assert colours[0] == colours[1]
    assert set(colours[0]) == {"bp", "dfa"}


def test_bars_carry_their_numbers(swept: Path):
    (axis,) = draw_bars(summarise([swept])).axes
    widths = [patch.get_width() for patch in axis.patches if isinstance(patch, Rectangle)]
    result = summarise([swept])
    assert widths == pytest.approx([100 * (group.mean or 0) for group in result.groups])
    assert "(n = 5)" in axis.texts[-1].get_text()
    assert axis.get_xlim()[0] == 0
    (cut,) = draw_bars(result, Look(start=50)).axes
    assert "axis begins at 50" in cut.get_xlabel()


def test_a_metric_against_a_key(noisy: Path):
    result = summarise([noisy], along="noise")
    (axis,) = draw_against(result, "noise").axes
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert set(lines) == {"gcn, dfa", "gat, dfa", "gcn, bp", "gat, bp"}
    assert np.asarray(lines["gcn, dfa"].get_xdata()).tolist() == [0.0, 0.01, 0.1, 1.0]
    assert np.asarray(lines["gcn, dfa"].get_ydata()).tolist() == pytest.approx([80.2, 80.1, 79.2, 70.2])
    # bp has no noise level, and is drawn as a horizontal line.
    assert set(np.asarray(lines["gcn, bp"].get_ydata()).tolist()) == {82.0}
    assert axis.get_xscale() == "symlog"
    assert axis.get_xlabel() == "device.noise"


def test_a_refused_option_is_one_sentence_and_overwrites_nothing(noisy: Path, call: Call, tmp_path: Path):
    for arguments, words in (
        (["--kind", "pie"], "'pie' is not one of"),
        (["--kind", "key"], "--kind key and --x KEY go together"),
        (["--out", "a.gif"], "must end in .png, .svg or .pdf"),
        (["--band", "sem"], "'sem' is not one of"),
        (["--metric", "validation_acc"], "metrics.csv has validation_accuracy, "),
        (["--x", "rule"], "its value .* is not a number"),
        (["--x", "epochs"], "it has 1 value"),
        (["--x", "nois"], "the nearest are device.noise"),
        (["--x", "noise", "--scale", "cubic"], "'cubic' is not one of"),
        (["--width", "wide"], "--width is 'wide'. It must be a length in inches, or with the unit in, cm"),
        (["--height", "2pt"], "--height is '2pt'. It must be from 1 to 40 inches; type --height 240pt"),
        (["--reference", "rule=fa"], 'no row fulfils --reference "rule=fa"; rows are gat, bp; gat, dfa, '),
        (["--reference", "seed<9"], '--reference "seed<9" is true for every row'),
        (["--x", "noise", "--reference", "rule=dfa and model=gat"], "has several values of device.noise"),
    ):
        with pytest.raises(DfaError, match=words):
            call("plot", *arguments)
    Path("dfa-curves.png").write_bytes(b"mine")
    with pytest.raises(DfaError, match="already there; give --force"):
        call("plot", "--kind", "curves")
    assert Path("dfa-curves.png").read_bytes() == b"mine"
    call("plot", "--force")
    assert Path("dfa-curves.png").read_bytes().startswith(b"\x89PNG")


def test_hostile_labels_are_drawn_as_they_are(factory: Factory):
    for name in ("$\\frac{1}{0$", "_under", "<b>", "日本"):
        factory.run(config={"note": name}, overrides=[f"note={name}"])
    for figure in (
        draw_bars(summarise([factory.root])),
        draw_curves(summarise([factory.root]), "train_loss"),
    ):
        save(figure, ".svg")
        assert "日本" in _words(figure)
        assert "$\\frac{1}{0$" in _words(figure)


def _words(figure) -> str:
    legends = [word.get_text() for legend in figure.legends for word in legend.get_texts()]
    ticks = [word.get_text() for axis in figure.axes for word in axis.get_yticklabels()]
    return " ".join([*legends, *ticks])


def test_a_label_of_any_length_leaves_room_for_the_figure(factory: Factory):
    for i in range(3):
        factory.run(config={"note": f"{i}" * 300}, overrides=["note=x"])
    for draw in (draw_bars, lambda result: draw_curves(result, "train_loss")):
        figure = draw(summarise([factory.root]))
        save(figure, ".svg")  # a warning would be an error here
        assert figure.axes[0].get_position().width > 0.3


def test_the_picture_is_not_empty(swept: Path):
    picture = imread(io.BytesIO(save(draw_curves(summarise([swept]), "validation_accuracy"), ".png")))
    assert picture.shape[0] > 500
    assert np.unique(picture.reshape(-1, picture.shape[-1]), axis=0).shape[0] > 100


def test_a_row_without_the_key_is_a_line_across_beside_its_own_points(factory: Factory, call: Call):
    for dampening in (None, 0.1, 0.2, "auto"):
        config = {} if dampening is None else {"optimizer.dampening": dampening}
        factory.run(accuracy=0.5 if dampening is None else 0.6, config=config)
    (axis,) = draw_against(summarise([factory.root], along="dampening"), "dampening").axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axis.get_lines()}
    assert lines == {
        "all runs": pytest.approx([60, 60]),
        "no dampening": pytest.approx([50, 50]),
        "dampening auto": pytest.approx([60, 60]),
    }


def test_a_reference_is_a_line_across(swept: Path, call: Call):
    result, look = summarise([swept]), Look(reference="rule=shallow")
    level = 100 * (result.groups[-1].mean or 0)
    (axis,) = draw_bars(result, look).axes
    assert len([patch for patch in axis.patches if isinstance(patch, Rectangle)]) == 3
    (line,) = [line for line in axis.get_lines() if str(line.get_label()).startswith("shallow: ")]
    assert np.asarray(line.get_xdata()).tolist() == pytest.approx([level, level])
    (axis,) = draw_curves(result, "test_accuracy", look).axes
    labels = [line.get_label() for line in axis.get_lines()]
    assert labels == ["bp", "dfa, cpu", "dfa, opu_sim", "shallow, last epoch"]
    last = np.mean([run.curves["test_accuracy"][-1] or 0 for run in result.groups[-1].counted])
    assert np.asarray(axis.get_lines()[-1].get_ydata()).tolist() == pytest.approx([100 * last] * 2)
    call("plot", "--reference", "rule=shallow", "--out", "reference.svg")


def test_a_reference_spans_the_bars_of_its_data_set_only(factory: Factory):
    for data, level in (("citeseer", 0.5), ("cora", 0.6)):
        for rule in ("bp", "dfa", "shallow"):
            factory.run(data=data, rule=rule, accuracy=level)
    (axis,) = draw_bars(summarise([factory.root]), Look(reference="rule=shallow")).axes
    spans = [np.asarray(line.get_ydata()).tolist() for line in axis.get_lines()]
    assert spans == [pytest.approx([-0.45, 1.45]), pytest.approx([1.55, 3.45])]


def test_a_reference_of_a_metric_against_a_key(noisy: Path, call: Call):
    (axis,) = draw_against(
        summarise([noisy], along="noise"), "noise", Look(reference="rule=bp and model=gcn")
    ).axes
    colours = {line.get_label(): line.get_color() for line in axis.get_lines()}
    assert set(colours) == {"gcn, dfa", "gat, dfa", "gcn, bp", "gat, bp"}
    assert colours["gcn, bp"] not in COLOURS
    assert colours["gat, bp"] in COLOURS


def test_a_figure_has_the_size_that_was_asked_for(swept: Path, call: Call):
    for i, (width, height, points) in enumerate(
        (("3.5", "2.5in", (252, 180)), ("84mm", "6cm", (238.1, 170.1)), ("240pt", "180 pt", (239.1, 179.3)))
    ):
        call("plot", "--kind", "bars", "--width", width, "--height", height, "--out", f"{i}.pdf")
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", Path(f"{i}.pdf").read_bytes())
        assert box
        assert [float(size) for size in box.groups()] == pytest.approx(points, abs=0.2)


def test_fonts_are_embedded_as_truetype(swept: Path, call: Call):
    call("plot", "--out", "a.pdf")
    content = Path("a.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


def test_the_note_can_be_left_out(swept: Path):
    result = summarise([swept])
    for note, there in ((True, True), (False, False)):
        figure = draw_curves(result, "train_loss", Look(note=note))
        words = " ".join(text.get_text() for text in figure.findobj(Text))
        assert ("140 train" in words) == there


def test_labels_that_only_their_ends_tell_apart_stay_different():
    names = [f"{'a' * 40}{i}" for i in range(3)]
    assert shorten(names) == names
    assert shorten(["b" * 90, "c" * 90])[0] == "b" * 35 + "…"


def test_the_first_32_lines_differ_without_colour():
    looks = [line_look(i) for i in range(32)]
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks}) == 32


@pytest.mark.parametrize(
    ("last", "words"), [(0, ["forward", "backward"]), (1, ["1", "2"])], ids=["replicas", "micro-batches"]
)
def test_a_bar_of_a_timeline_is_called_by_what_tells_it_from_the_others(last: int, words: list[str]):
    bars = [
        Bar(0, 0.0, 1.0, "forward", 0),
        Bar(1, 0.5, 1.0, "backward", last),
        Bar(1, 1.5, 0.01, "backward", 0),
    ]
    (axis,) = draw_timelines({"dfa": Timeline(["process 1", "process 2"], bars)}).axes
    assert [text.get_text() for text in axis.texts] == words, "and a bar that is too short has no words"
