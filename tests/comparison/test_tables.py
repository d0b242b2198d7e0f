"""The table of a comparison, in the formats for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import Call
from run_factory import Factory
from scipy import stats

from dfa_cli.comparison.columns import shorten_ranges
from dfa_cli.comparison.tables import compare_table
from dfa_cli.console.table import display_width, lay_out, truncate, wrap
from dfa_cli.console.values import duration, format_time, format_value, plural, quantity
from dfa_cli.errors import DfaError


@pytest.fixture
def three(factory: Factory) -> Path:
    """Two rules on known numbers: bp with three seeds, dfa with two and a failure."""
    for seed, value in enumerate((0.81, 0.82, 0.83)):
        factory.run(rule="bp", seed=seed, accuracy=value, record={"time": {"steady_seconds": 2.0 + seed}})
    for seed, value in enumerate((0.80, 0.79)):
        factory.run(device="opu_sim", seed=seed, accuracy=value, record={"time": {"steady_seconds": 4.0}})
    factory.run(device="opu_sim", seed=2, status="failed")
    return factory.root


def test_the_table_for_people(three: Path):
    assert compare_table([three], baseline="rule=bp") == (
        "test accuracy at best validation epoch, % (mean ± standard deviation over seeds)\n"
        "split: public Planetoid split (140 train, 500 validation, 1000 test)\n"
        "the same in all rows: data cora, model gcn, device opu_sim (not used by bp), optimizer adam, epochs 20, "
        "batch_size 128, compute auto\n"
        "\n"
        "rule  mean ± std  n       95 % CI  best  vs rule=bp  not counted    training time  frames  energy (modelled)\n"
        "────  ──────────  ─  ────────────  ────  ──────────  ─────────────  ─────────────  ──────  ─────────────────\n"
        "bp    82.0 ± 1.0  3  [79.4, 84.4]  83.0    baseline                        3.00 s       –                  –\n"
        "dfa   79.5 ± 0.7  2    79.0, 80.0  80.0  -3.0, -1.0  seed 2 failed         4.00 s    5600             84.0 J\n"
        "\n"
        "Each rule uses its own tuned values (conf/tuned, docs/tuning.md): lr.\n"
        "No test against rule=bp: fewer than 5 seeds in common.\n"
        "Two runs have no interval: both values are shown.\n"
        "vs rule=bp: the difference of each pair.\n"
        "Training time: the median epoch times the number of epochs, without starting up and reading the data.\n"
    )


def test_a_table_of_eighty_columns_names_what_it_leaves_out(swept: Path):
    narrow = compare_table([swept], baseline="rule=bp", width=80)
    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert "Not shown for lack of room: ci, best, time, frames, energy" in " ".join(narrow.split())


def test_a_table_folded_to_eighty_columns_has_every_column_that_was_asked_for(swept: Path):
    show = ["mean_std", "ci", "difference", "energy", "absent"]
    narrow = compare_table([swept], baseline="rule=bp", width=80, show=show)
    assert max(len(line) for line in narrow.splitlines()) <= 80
    squeezed = re.sub(r"\s+", " ", narrow)
    for word in (
        "mean ± std",
        "95 % CI",
        "vs rule=bp",
        "energy",
        "(modelled)",
        "seed 2 failed",
        "seed 5 missing",
    ):
        assert word in squeezed


@pytest.mark.parametrize("width", [20, 30, 40, 60, 100])
def test_a_table_fits_narrower_terminals(swept: Path, width: int):
    table = compare_table([swept], baseline="rule=bp", width=width)
    too_long = [line for line in table.splitlines() if len(line) > width]
    assert all(len(line) <= 34 for line in too_long), too_long


def test_a_single_seed_shows_no_spread(factory: Factory):
    factory.run(rule="bp", accuracy=0.8)
    factory.run(rule="dfa", accuracy=0.7)
    table = compare_table([factory.root], baseline="rule=bp")
    assert "±" not in table
    assert "CI" not in table
    assert "value" in table
    assert "*" not in table


def test_significance_is_marked_and_named(swept: Path):
    table = compare_table([swept], baseline="rule=bp")
    assert re.search(r"shallow .*<0\.001 \*", table)
    assert "p: paired t-test (two-sided) over common seeds with rule=bp" in table
    assert "Holm's correction for 3 comparisons" in table
    some = compare_table([swept], baseline="rule=bp", only="rule=shallow")
    assert "Holm's correction for 3 comparisons" in some, "rows that are not shown are tested, too"


def test_equal_is_only_said_after_a_test_for_it(call: Call, factory: Factory):
    for seed, wobble in enumerate((0.0, 0.002, -0.002, 0.001, -0.001, 0.0)):
        factory.run(rule="bp", seed=seed, accuracy=0.8 + 0.003 * seed)
        factory.run(rule="dfa", seed=seed, accuracy=0.8 + 0.003 * seed + wobble)
        factory.run(rule="shallow", seed=seed, accuracy=0.6 + 0.003 * seed + wobble)
    words = ("compare", "--baseline", "rule=bp", "--columns", "difference,verdict")
    plain = call(*words).stdout
    assert re.search(r"dfa +[-+]?0\.0 \[-0\.[0-9], 0\.[0-9]\] +no difference seen", plain)
    assert re.search(r"shallow .* lower", plain)
    assert "qual" not in plain
    near = call(*words, "--equivalent", "0.5").stdout
    assert re.search(r"dfa .* equal\n", near)
    assert "the difference from rule=bp is less than 0.5 points" in " ".join(near.split())
    differences = [0.0, 0.002, -0.002, 0.001, -0.001, 0.0]
    above: Any = stats.ttest_1samp(differences, -0.002, alternative="greater")
    below: Any = stats.ttest_1samp(differences, 0.002, alternative="less")
    p = max(above.pvalue, below.pvalue)
    for form in ("table", "md", "latex"):
        shown = call("compare", "--baseline", "rule=bp", "--equivalent", "0.2", "--format", form).stdout
        assert "p (equal)" in shown
        assert re.search(rf"dfa .*\b{p:.3f}.* equal\b", shown)
    assert call("report", "--baseline", "rule=bp", "--equivalent", "0.2").exit_code == 0
    page = Path("dfa-report.html").read_text()
    assert "p (equal)" in page
    assert f"{p:.3f} *" in page
    too_near = call(*words, "--equivalent", "0.05").stdout
    assert re.search(r"dfa .* no difference seen\n", too_near)
    rows = json.loads(call(*words[:3], "--equivalent", "0.5", "--format", "json").stdout)["groups"]
    assert [group["equivalent_after_holm"] for group in rows] == [None, True, False]
    for wrong in (("--equivalent", "0.5"), ("--baseline", "rule=bp", "--equivalent", "-1")):
        with pytest.raises(DfaError, match=r"--equivalent needs --baseline|must be a positive number"):
            call("compare", *wrong)


def test_an_equality_that_is_not_tested_is_told_and_its_interval_is_shown(factory: Factory, call: Call):
    """Four seeds are too few for a test, and six are enough; the 90 % interval is that of the two one-sided tests."""
    wobble = (0.003, 0.001, -0.002, 0.004, -0.001, 0.002)
    for seed, value in enumerate(wobble):
        factory.run(rule="bp", seed=seed, accuracy=0.8 + 0.01 * seed)
        factory.run(rule="dfa", seed=seed, accuracy=0.8 + 0.01 * seed + value)
    words = ("compare", "--baseline", "rule=bp", "--equivalent", "0.5")
    few = call(*words, "--where", "seed<4").stdout
    assert (
        "No test against rule=bp, and none of equality within 0.5 points: fewer than 5 seeds in common."
        in few
    )
    enough = call(*words).stdout
    assert "exactly where the 90 % interval of the difference lies within 0.5 points of zero" in enough
    for said, values in ((few, wobble[:4]), (enough, wobble)):
        low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
        assert f"[{100 * low:.1f}, {100 * high:.1f}]" in re.sub(r"-(0\.0)", r"\1", said)
        assert "90 % CI" in said
    (row,) = json.loads(call(*words, "--format", "json", "--only", "rule=dfa").stdout)["groups"]
    assert (row["difference_ci90_low"], row["difference_ci90_high"]) == pytest.approx((low, high))
    assert "90 % CI" not in call(*words, "--test", "wilcoxon").stdout


def test_a_mixed_folder_is_one_screen_wide_and_high(factory: Factory):
    for seed in range(3):
        for rule in ("bp", "dfa", "shallow"):
            for width in (16, 64):
                words = {"overrides": [f"model.widths=[{width}]"], "seed": seed, "rule": rule}
                factory.run(data="mnist", model="fc", epochs=3, config={"model.widths": [width]}, **words)
        for lr in (0.01, 0.1, 0.3):
            config = {"optimizer.lr": lr, "optimizer.betas": [0.9, lr]}
            words = {"overrides": ["optimizer.lr=1", "optimizer.betas=[]"], "seed": seed, "config": config}
            factory.run(**words)
            factory.run(data="citeseer", device="opu_sim", epochs=50, **words)
    table = compare_table([factory.root], width=80)
    assert len(re.findall(r"\d ± ", table)) == 12
    assert max(map(len, table.splitlines())) <= 80
    assert len(table.splitlines()) <= 36


def test_a_folder_too_wide_for_eighty_columns_is_divided_into_parts_that_say_all_they_share(factory: Factory):
    for lr in (0.01, 0.02):
        for i, words in enumerate(("a " * 8, "b " * 8)):
            keys = {
                "note": words.strip(),
                "optimizer.lr": lr,
                "long_name": "c" * 20 + str(i),
                "third": i * 10**9,
            }
            for rule in ("bp", "dfa"):
                factory.run(rule=rule, config=keys, overrides=[f"{key}=" for key in keys])
    table = compare_table([factory.root], width=80, baseline="rule=bp")
    assert max(map(len, table.splitlines())) <= 80
    assert len(re.findall(r"\n\nlr 0\.0\d\n", table)) == 2
    assert not re.search(r"\nrule (bp|dfa)", table), "rows stay beside their baseline"


def test_a_part_of_a_wide_table_has_no_column_without_a_value(factory: Factory):
    for lr in (0.01, 0.02):
        for i in range(2):
            keys = {
                "optimizer.lr": lr,
                "long_name": "c" * 20 + str(i),
                "third": i * 10**9,
                "note": f"{i}" + " a" * 8,
            }
            for seed in range(3):
                failed = (lr, i, seed) == (0.01, 0, 2)
                factory.run(
                    config=keys, seed=seed, overrides=[f"{key}=" for key in keys], sweep=f"sweep{lr}",
                    status="failed" if failed else "completed",
                )  # fmt: skip
    _, first, second, _ = compare_table([factory.root], width=80).split("\n\n")
    assert "seed 2 failed" in first
    assert "not counted" not in second


def test_a_column_of_dashes_is_shown_only_where_it_was_asked_for(factory: Factory):
    factory.run(rule="bp")
    factory.run(data="citeseer")
    options: dict[str, Any] = {"baseline": "rule=bp", "only": "rule=dfa"}
    assert "vs rule=bp" not in compare_table([factory.root], **options).split("\n\n")[1]
    assert (
        "vs rule=bp" in compare_table([factory.root], show=["mean", "difference"], **options).split("\n\n")[1]
    )


def test_the_time_is_that_of_epochs_without_the_first(factory: Factory, call: Call):
    folder = factory.run(epochs=5)
    text = (folder / "metrics.csv").read_text().splitlines()
    heading, *lines = (line.split(",") for line in text)
    place = heading.index("seconds")
    for line, seconds in zip(lines, ("9.0", "9.1", "9.3", "9.5", "9.6"), strict=True):
        line[place] = seconds
    (folder / "metrics.csv").write_text("".join(",".join(line) + "\n" for line in [heading, *lines]))
    said = call("compare", "--columns", "time").stdout
    assert re.search(r"training time\n─+\n +0\.750 s\n", said), "five times the median of 0.1, 0.2, 0.2, 0.1"
    assert "Training time: the median epoch times the number of epochs" in said


def test_wilcoxon_is_named(factory: Factory):
    for seed in range(7):
        factory.run(rule="bp", seed=seed)
        factory.run(rule="shallow", seed=seed)
    table = compare_table([factory.root], baseline="rule=bp", test="wilcoxon")
    assert "p: Wilcoxon signed-rank test (two-sided)" in table


def test_columns_and_precision(three: Path):
    table = compare_table(
        [three], show=["mean", "std", "lr", "memory", "notes.saturated_fraction"], precision=3
    )
    heads = table.splitlines()[4].split()
    assert heads[:4] == ["rule", "mean", "std", "lr"]
    assert "82.000  1.000  0.01" in table
    assert "0.001" in table
    assert "seed 2 failed" in table
    with pytest.raises(DfaError, match=r"--columns maen: .*columns are mean_std, mean, .*near it: mean"):
        compare_table([three], show=["maen"])
    with pytest.raises(DfaError, match="--precision is -1"):
        compare_table([three], precision=-1)
    with pytest.raises(DfaError, match=r"'html' is not one of"):
        compare_table([three], format="html")


def test_a_column_is_shown_once(swept: Path, call: Call):
    def heads(columns: str) -> list[str]:
        return call("compare", "--columns", columns).stdout.splitlines()[4].split()

    assert heads("rule,n") == ["rule", "device", "n", "not", "counted"]
    assert heads("n,lr,rule,optimizer.lr,n") == ["rule", "device", "n", "lr", "not", "counted"]
    assert heads("time,steady_seconds").count("training") == 1


def test_a_markdown_table_has_its_columns_and_title(three: Path):
    lines = compare_table([three], format="md").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert (
        rows[0]
        == "| rule | mean ± std | n | 95 % CI | best | not counted | training time | frames | energy (modelled) |"
    )
    assert rows[1] == "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |"
    assert rows[2].startswith("| bp | 82.0 ± 1.0 | 3 |")
    assert len({row.count("|") for row in rows}) == 1
    assert lines[0].startswith("**test accuracy at best validation epoch, %")


def test_markdown_marks_are_escaped(factory: Factory):
    for name in ("a|b", "<b>*x*_y_"):
        factory.run(config={"note": name}, overrides=[f"note={name}"])
    table = compare_table([factory.root], format="md")
    assert "| a\\|b |" in table
    assert "\\<b\\>\\*x\\*\\_y\\_" in table


def test_csv_and_json_hold_plain_numbers(three: Path):
    rows = list(csv.DictReader(io.StringIO(compare_table([three], format="csv", baseline="rule=bp"))))
    assert [row["rule"] for row in rows] == ["bp", "dfa"]
    assert float(rows[0]["mean"]) == pytest.approx(0.82)
    assert float(rows[0]["std"]) == pytest.approx(0.01)
    assert float(rows[1]["difference"]) == pytest.approx(-0.02)
    assert rows[1]["pairs"] == "2"
    assert float(rows[1]["modelled_joules"]) == 84.0
    assert json.loads(rows[1]["absent"]) == {"failed": ["2"]}
    whole = json.loads(compare_table([three], format="json", baseline="rule=bp"))
    assert whole["metric"] == "test_accuracy_at_best_validation"
    assert whole["constant"]["data"] == "cora"
    assert whole["groups"][0]["n"] == 3
    assert len(whole["groups"][0]["runs"]) == 3
    assert whole["groups"][1]["p"] is None


HOSTILE = ["50% & more_#1", "x^2~{y}\\z$", "<a|b>", 'say "hi" – ±µ', "日本 ∑", "[3mm]", "*"]


def test_latex_structure(swept: Path, call: Call):
    table = call("compare", "--format", "latex", "--baseline", "rule=bp").stdout
    comment, tabular = table[: table.index("\\begin")], table[table.index("\\begin") :]
    assert tabular.startswith(
        "\\begin{tabular}{llrrr}\n  \\toprule\n  rule & device & mean $\\pm$ std & n & vs bp"
    )
    assert tabular.endswith("\\end{tabular}%\n")
    body = tabular[tabular.index("\\midrule") : tabular.index("\\bottomrule")].splitlines()[1:-1]
    assert len(body) == 4
    assert {line.count(" & ") for line in body} == {4}
    assert all(line.endswith("\\\\") for line in body)
    assert re.search(
        r"shallow & -- & 6\d\.\d \$\\pm\$ \d\.\d & 5 & \$-\$2\d\.\d\\rlap\{\$\^\{\*\}\$\}", tabular
    )
    assert "±" not in tabular
    assert "opu\\_sim" in tabular
    assert all(line.startswith("% ") for line in comment.splitlines())
    said = comment.replace("\n%", "")
    for words in (
        "140 train",
        "data cora",
        "paired t-test",
        "Not counted in the row dfa, opu_sim: seed 2 failed",
    ):
        assert words in said


def test_latex_columns_can_be_chosen(swept: Path, call: Call):
    asked = "mean,ci,best,p,absent,energy"
    table = call("compare", "--format", "latex", "--baseline", "rule=bp", "--columns", asked).stdout
    assert "rule & device & mean & 95 \\% CI & best & p & not counted & energy (modelled)" in table
    assert "$<$0.001$^{*}$" in table
    assert "seed 2 failed" in table


def test_a_latex_float_has_a_caption_and_a_label(swept: Path, call: Call):
    def body(*options: str) -> str:
        return call("compare", "--format", "latex", *options).stdout

    assert "\\caption" not in body()
    alone = body("--float")
    assert (
        "  \\caption{Test accuracy at best validation epoch, \\% (mean $\\pm$ standard deviation over seeds).}"
        in alone
    )
    assert "  \\label{tab:dfa-compare}" in alone
    assert alone.endswith("  \\end{tabular}%\n\\end{table}\n")
    assert "\\caption{Mean of $n$ seeds, 100\\,\\%.}" in body("--caption", "Mean of $n$ seeds, 100\\,\\%.")
    assert "\\label{tab:rules}" in body("--label", "tab:rules")


def test_options_of_a_latex_float_are_checked(swept: Path, call: Call):
    for options, words in (
        (["--caption", "all"], "--caption is for a LaTeX table, and this one is table; add --format latex"),
        (["--float", "--out", "a.csv"], "--float is for a LaTeX table, and this one is csv"),
        (["--format", "latex", "--caption", "100 %"], r"where % begins a comment; type \\% for the sign"),
        (["--format", "latex", "--caption", "{a"], "Each { of a caption needs its }"),
        (["--format", "latex", "--label", "a_{b}"], r"--label is 'a_\{b\}'. A label has letters, digits"),
    ):
        with pytest.raises(DfaError, match=words):
            call("compare", *options)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_whatever_the_values_are(factory: Factory, tmp_path: Path):
    for name in HOSTILE:
        for seed in range(2):
            factory.run(seed=seed, config={"note": name}, overrides=[f"note={name}"])
    table = compare_table([factory.root], format="latex")
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\begin{table}"
    (tmp_path / "paper.tex").write_text(f"{head}{table}\\end{{table}}\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize(
    ("length", "size"), [(10, ""), (16, "\\small"), (18, "\\footnotesize"), (40, "too wide")]
)
def test_a_wide_latex_table_fits_a_column_or_says_how_wide_it_is(
    length: int, size: str, factory: Factory, tmp_path: Path, call: Call
):
    for i in range(3):
        config = {f"key_{k}": ("a longer value " * 3)[: length - 1] + str(i) for k in range(4)}
        factory.run(config={"epochs": i + 1, **config}, overrides=[f"{key}=" for key in config])
    table = call("compare", "--format", "latex").stdout
    (tmp_path / "table.tex").write_text(table)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\newsavebox\\held\\begin{document}"
        "\\sbox\\held{\\input{table}}\\typeout{WIDE \\the\\wd\\held}\\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    found = re.search(r"WIDE ([\d.]+)pt", done.stdout)
    assert found is not None
    told = re.search(r"table is about (\d+) pt wide", table)
    if size == "too wide":
        assert told is not None
        assert float(told[1]) == pytest.approx(float(found[1]), rel=0.15)
    else:
        assert told is None
        assert float(found[1]) <= 345
        assert f"{{{size}\\setlength" in table if size else "setlength" not in table


def test_latex_marks_are_escaped(factory: Factory):
    for name in HOSTILE:
        factory.run(config={"note": name}, overrides=[f"note={name}"])
    table = compare_table([factory.root], format="latex")
    assert "50\\% \\& more\\_\\#1" in table
    assert "\\textbackslash{}" in table
    assert "??" in table  # characters that the default fonts lack
    assert "{[}3mm]" in table  # LaTeX would take it for a skip behind the row before
    assert "\n  {*} &" in table


def test_the_default_metric_is_named_in_full(three: Path):
    for format in ("table", "md", "latex"):
        assert "test accuracy at best validation epoch" in compare_table([three], format=format)
        assert "test accuracy at last epoch" in compare_table(
            [three], format=format, metric="test_accuracy_at_last_epoch"
        )


def test_several_data_sets_state_each_split(factory: Factory):
    factory.run(data="cora")
    factory.run(data="mnist", model="fc")
    table = compare_table([factory.root])
    assert "cora: public Planetoid split (140 train" in table
    assert "mnist: last 10,000 of the training set held out (50000 train" in table


def test_numbers_as_people_write_them():
    assert [duration(s) for s in (0.004, 0.42, 3.14159, 31, 99.4, 100, 5400, 7200, None)] == [
        "0.0040 s", "0.420 s", "3.14 s", "31.0 s", "99.4 s", "1.67 min", "90.0 min", "2.00 h", "–",
    ]  # fmt: skip
    assert [duration(s, fine=True) for s in (14.55, 1234.0, 0.3544, 1e-3, 7.9e-6)] == [
        "14.6 s", "20.6 min", "354 ms", "1.00 ms", "7.90 µs",
    ]  # fmt: skip
    assert [plural(count, "run") for count in (0, 1, 3)] == ["0 runs", "1 run", "3 runs"]
    assert [quantity(q) for q in (0, 5600, 9999, 10000, 56_000, 1.2e6, 999_999, 3e9)] == [
        "0", "5600", "9999", "10.0 k", "56.0 k", "1.20 M", "1.00 M", "3.00 G",
    ]  # fmt: skip
    assert [quantity(q, "J") for q in (84, 0.012, 840, 8400, 2e-7)] == [
        "84.0 J",
        "12.0 mJ",
        "840 J",
        "8.40 kJ",
        "200 nJ",
    ]
    assert [format_value(v) for v in (1.0, 0.001, 1e-7, True, None, [64, 64], "a\x1b[31m\n")] == [
        "1", "0.001", "1e-07", "true", "null", "[64, 64]", "a\\x1b[31m\\n",
    ]  # fmt: skip
    assert format_time("nonsense") == "–"
    assert format_time("2019-05-05T10:00:00+00:00") == "2019-05-05"
    assert shorten_ranges(["1", "2", "3", "7", "9", "10"]) == "1-3, 7, 9, 10"
    assert shorten_ranges(["0.1", "0.2"]) == "0.1, 0.2"


def test_columns_stay_aligned_with_wide_characters():
    assert (display_width("日本"), display_width("abc"), display_width("é"), display_width("e\u0301")) == (
        4,
        3,
        1,
        1,
    )
    assert lay_out(["k", "a long head"], [["ab", "1"]], [True, False], keys=1, width=9)[:3] == [
        "       a",
        "    long",
        "k   head",
    ]
    lines = lay_out(["k", "v"], [["日本", "1"], ["ab", "22"]], [True, False])
    assert lines[2:] == ["日本   1", "ab    22"]
    assert truncate("abcdef", 4) == "abc…"
    assert wrap("aa bb cccccccc", 5) == ["aa bb", "ccccc", "ccc"]
