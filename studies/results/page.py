"""docs/results.md and the results of README.md, computed from the lines of docs/results.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path

from dfa_cli.comparison.statistics import mean
from dfa_cli.machine.files import write_atomically
from studies.results.averages import aligned, certainty, numbers, percent, points_between
from studies.results.markdown import between, table
from studies.results.selection import (
    KNOBS,
    NAMES,
    SERIES,
    by_setting,
    hidden_blocks,
    main_results,
    pick,
    turned,
)
from studies.results.table import SETTINGS, Row
from studies.results.tuning import tried

RULES = ("bp", "fa", "usf", "brsf", "frsf", "dfa", "drtp", "shallow")
BREAKS = 2.0  # points below the defaults at which training counts as broken


def page(rows: Sequence[Row]) -> str:
    """The whole of docs/results.md."""
    sections: list[Callable[[Sequence[Row]], str]] = [
        claims,
        mnist,
        mnist_width,
        citation,
        shallow,
        architectures,
        encoding,
        noise,
        size,
        feedback,
        rules,
        fairness,
        origin,
    ]
    made = [text for section in sections if (text := section(rows))]
    return "\n\n".join([HEAD, *made]) + "\n"


HEAD = """# Results

<!-- Written by scripts/reproduce from docs/results.csv; a change by hand is lost. -->

What "Hardware Beyond Backpropagation: a Photonic Co-Processor for Direct Feedback Alignment" (Launay et al. 2020,
[arXiv 2012.06373](https://arxiv.org/abs/2012.06373)) claims, checked with this project and a simulated co-processor.

    scripts/reproduce

runs what is not there yet and writes this page. Accuracies are test accuracies at the epoch with the best validation
accuracy, in per cent, mean ± standard deviation over seeds. Differences are in points, paired by seed, with a 95 %
confidence interval (Student's t). [results.csv](results.csv) has a line for each run: its identity, the commit and the
versions it was made with, and what it gave. `dfa runs outputs/reproduce --where identity=IDENTITY` finds its record.
Numbers that others published are marked as quoted."""


def claims(rows: Sequence[Row]) -> str:
    lines: list[tuple[str, str, str, str]] = []

    def compare(
        claim: str, data: str, less: str, more: str, bar: str, holds: Callable[[float], bool]
    ) -> None:
        """`more - less` in points against a bar."""
        points, ci = points_between(main_results(rows, data, more), main_results(rows, data, less))
        if ci is not None:
            measured = f"{points:+.1f} [{ci[0]:.1f}, {ci[1]:.1f}]"
            lines.append((claim, measured, bar, "yes" if holds(points) else "**no**"))

    bp, cpu, optics, last = SERIES
    for data in ("mnist", "cora", "citeseer", "pubmed"):
        compare(
            f"DFA trains the network: {NAMES[data]}, {cpu} less {bp}",
            data,
            bp,
            cpu,
            "above −2",
            lambda p: p > -2,
        )
    for data, most in (("mnist", 0.5), ("cora", 1.0), ("citeseer", 1.0), ("pubmed", 1.0)):
        claim = f"ternarised, noisy optics are good enough: {NAMES[data]}, {optics} less {cpu}"
        compare(claim, data, cpu, optics, f"within {most}", lambda p, most=most: abs(p) <= most)
    for data, least in (("mnist", 3.0), ("cora", 10.0)):
        claim = f"training the last block only is not: {NAMES[data]}, {cpu} less {last}"
        compare(claim, data, last, cpu, f"at least {least:g}", lambda p, least=least: p >= least)
    for model in ("fc", "gcn"):
        found = pick(rows, experiment="feedback", model=model)
        if not found:
            continue
        groups = by_setting(found)
        each = [(certainty(group, i), i, group) for group in groups for i in hidden_blocks(group[0])]
        worst = min(each, key=lambda one: one[0])
        measured = f"least certain: block {worst[1]}, {aligned(worst[2], worst[1])}"
        claim = (
            f"the hidden blocks' gradients align with the true ones: `{model}`, all {len(groups)} settings"
        )
        lines.append((claim, measured, "above its standard error", "yes" if worst[0] > 1 else "**no**"))
    if not lines:
        return ""
    return "## The claims\n\n" + table(("claim", "measured", "bar", "holds"), lines, 2)


def mnist(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="mnist_fc")
    if not chosen:
        return ""
    main = [(name, percent(main_results(rows, "mnist", name))) for name in SERIES]
    ours = [*main, ("quoted: optical, Launay et al. 2020", "95.8"), ("quoted: the same on a GPU", "97.6")]
    return f"""## MNIST, fully connected

    dfa sweep experiment=mnist_fc

Two hidden blocks 1024 wide, {_epochs(rows)} epochs, {len(main_results(rows, "mnist", "`bp`"))} seeds. `opu_sim` is
the full chain: ternary errors, transmission matrix, off-axis holography pixel by pixel, shot noise, read noise, eight
bits.

{table(("", "test accuracy"), ours)}

Quoted from the press on arXiv 2006.01475, of another network and another recipe: what to compare is the loss from the
digital to the optical projection, {_loss(rows)} here and 1.8 there. What training the hidden blocks exactly is worth
at this width, `bp` less `shallow`: {_most(rows)}."""


def mnist_width(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="mnist_width")
    if not chosen:
        return ""
    widths = sorted({row["model.hidden"] for row in chosen}, key=lambda text: int(text.split()[0]))
    lines = []
    for hidden in widths:
        cells = []
        for rule, device in SERIES.values():
            some = [row for row in pick(chosen, hidden=hidden, rule=rule) if device in ("", row["device"])]
            cells.append(percent(some))
        lines.append((f"2 x {hidden.split()[0]}", *cells))
    return f"""## The same over the width

    dfa sweep experiment=mnist_width

{chosen[0]["epochs"]} epochs, two seeds, one at 2048; `opu_sim` with the statistical read-out, which leaves the noise
of the full chain without its pixels. The wider the random layers of `shallow` are, the less is left to train.

{table(("hidden", *SERIES), lines)}

`dfa` on `cpu` less `shallow`, in points: {_gaps(chosen, widths)}.

![accuracy over the width](images/results_mnist_widths.svg)"""


def _gaps(rows: Sequence[Row], widths: Sequence[str]) -> str:
    """What training the hidden blocks is worth at each width, over all seeds that both have."""
    found = []
    for hidden in widths:
        trained = pick(rows, hidden=hidden, rule="dfa", device="cpu")
        random = pick(rows, hidden=hidden, rule="shallow")
        found.append(f"{points_between(trained, random)[0]:.1f} at {hidden.split()[0]}")
    return ", ".join(found)


def _most(rows: Sequence[Row]) -> str:
    """What training the hidden blocks exactly is worth at the main size."""
    bp, *_, last = SERIES
    return f"{points_between(main_results(rows, 'mnist', bp), main_results(rows, 'mnist', last))[0]:.1f}"


def _epochs(rows: Sequence[Row]) -> str:
    """Of the runs at the main size on MNIST."""
    return next((row["epochs"] for row in pick(rows, experiment="mnist_fc")), "")


def _loss(rows: Sequence[Row]) -> str:
    _, cpu, optics, _ = SERIES
    points, _ = points_between(main_results(rows, "mnist", cpu), main_results(rows, "mnist", optics))
    return f"{round(points, 1) + 0.0:.1f}"  # no minus before a zero


def citation(rows: Sequence[Row]) -> str:
    quoted = {"cora": "81.5", "citeseer": "70.3", "pubmed": "79.0"}
    sets = [data for data in quoted if pick(rows, experiment="citation_gcn", data=data)]
    if not sets:
        return ""
    lines = [
        (NAMES[data], *(percent(main_results(rows, data, name)) for name in SERIES), quoted[data])
        for data in sets
    ]
    seeds = len(main_results(rows, sets[0], "`bp`"))
    about = (
        "PubMed has the values of Cora" if "pubmed" in sets else "PubMed could not be had where this was run"
    )
    return f"""## Citation graphs, graph convolutional

    dfa sweep experiment=citation_gcn

One hidden block 64 wide, 200 epochs, {seeds} seeds, the public split. `opu_sim` is the full chain, as above. Quoted:
Kipf & Welling (2017), 16 wide, backpropagation. {about}.

{table(("", *SERIES, "quoted"), lines)}"""


def shallow(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="shallow_width")
    if not chosen:
        return ""
    widths = sorted({row["model.hidden"] for row in chosen}, key=int)
    lines = [
        (width, *(percent(pick(chosen, hidden=width, rule=rule)) for rule in ("bp", "dfa", "shallow")))
        for width in widths
    ]
    return f"""## What training the hidden block is worth, over its width

    dfa sweep experiment=shallow_width

Cora, one hidden block, ten seeds. `shallow` trains a linear classifier on random features: the more there are, the
better it does, so the distance to `dfa` belongs to a width.

{table(("hidden", "`bp`", "`dfa` on `cpu`", "`shallow`"), lines)}

![accuracy over the width](images/results_shallow_width.svg)"""


def architectures(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="architectures")
    if not chosen:
        return ""
    lines = []
    for model in ("fc", "gcn", "gat", "cheb", "sage"):
        for hidden in sorted({row["model.hidden"] for row in pick(chosen, model=model)}, key=len):
            same = pick(chosen, model=model, hidden=hidden)
            bp, cpu, optics = (
                [row for row in pick(same, rule=rule) if device in ("", row["device"])]
                for rule, device in (("bp", ""), ("dfa", "cpu"), ("dfa", "opu_sim"))
            )
            behind = points_between(cpu, bp)[0]
            optical = points_between(optics, cpu)[0]
            cells = [percent(some) for some in (bp, cpu, optics)]
            lines.append(
                (f"`{model}`", f"{1 + len(hidden.split())}", *cells, f"{behind:+.1f}", f"{optical:+.1f}")
            )
    heads = ("model", "blocks", "`bp`", "`dfa` on `cpu`", "`dfa` on `opu_sim`", "dfa − bp", "opu_sim − cpu")
    broken = [line for line in lines if not float(line[5]) >= -5]  # all runs of a setting failed: no number
    optical = [value for line in lines if not isnan(value := float(line[6]))] or [0.0]
    return f"""## Does the device care about the architecture?

    dfa sweep experiment=architectures

Cora, hidden blocks 64 wide (`gat`: 8 heads of 8), three seeds. Values were chosen for two blocks and kept for more;
`fc` reads the words of a paper and not its citations. `opu_sim` with the statistical read-out. Nothing is left out.

{table(heads, lines)}

The device: from `cpu` to `opu_sim` the accuracy moves by {min(optical):+.1f} to {max(optical):+.1f} points,
{mean(optical):+.1f} on average. The rule: in {len(broken)} of {len(lines)} rows `dfa` is more than five points below
`bp`{_named(broken)}."""


def _named(lines: Sequence[Sequence[str]]) -> str:
    return ": " + ", ".join(f"{line[0]} with {line[1]} blocks" for line in lines) if lines else ""


def encoding(rows: Sequence[Row]) -> str:
    chosen, known = pick(rows, experiment="encoding"), pick(rows, experiment="architectures", rule="dfa")
    if not (chosen and known):
        return ""
    bits = "device.encoding.bits"
    columns = {
        "`cpu`": pick(known, device="cpu"),
        "ternary, no noise": pick(chosen, encoding="ternary"),
        "ternary": pick(known, device="opu_sim"),
        **{f"{n} bits": pick(chosen, encoding="bitplanes", **{bits: n}) for n in ("2", "4")},
    }
    lines = []
    behind: dict[str, list[float]] = {name: [] for name in columns}
    for model in ("fc", "gcn", "gat", "cheb", "sage"):
        for hidden in sorted({row["model.hidden"] for row in pick(chosen, model=model)}, key=len):
            cells = {name: pick(some, model=model, hidden=hidden) for name, some in columns.items()}
            for name, some in cells.items():
                behind[name].append(points_between(some, cells["`cpu`"])[0])
            lines.append((f"`{model}`", f"{1 + len(hidden.split())}", *map(percent, cells.values())))
    summary = "; ".join(
        f"{name} {mean(points):+.1f}, {min(points):+.1f} at worst"
        for name, points in behind.items()
        if name != "`cpu`"
    )
    return f"""## What binary mirrors cost in depth, and what gives it back

    dfa sweep experiment=encoding

`dfa` as in the table before, with the same ternary errors but none of the noise of the optics (`device/readout=ideal`),
and with errors of two and four bits (`device/encoding=bitplanes`, up to 4 and 8 frames a row in place of 2) and the
noise.

{table(("model", "blocks", *columns), lines)}

Less `cpu`, in points, the mean over the rows:
{summary}."""


def noise(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="noise")
    if not chosen:
        return ""
    blocks = []
    for knob, (words, usual) in KNOBS.items():
        values = sorted({row[knob] for row in chosen}, key=float)
        lines = [
            (NAMES[data], *(percent(turned(chosen, data, knob, value)) for value in values))
            for data in ("cora", "mnist")
        ]
        heads = ["", *(f"**{value}**" if value == usual else value for value in values)]
        blocks.append(
            f"{words[0].upper()}{words[1:]}:\n\n{table(heads, lines)}\n\n{_breaks(chosen, knob, values)}"
        )
    return f"""## How much imperfection training tolerates

    dfa sweep experiment=noise

`dfa` on `opu_sim`, the full chain, one knob turned and the others at their defaults (in bold). Cora: `gcn`, 64 wide,
five seeds; MNIST: `fc`, 2 x 128, three epochs, two seeds. Training counts as broken at {BREAKS:g} points below the
defaults.

![accuracy over four imperfections](images/results_noise.svg)

{chr(10).join(block + chr(10) for block in blocks)}""".rstrip()


def _breaks(rows: Sequence[Row], knob: str, values: Sequence[str]) -> str:
    """Where it breaks, in a sentence."""
    found = []
    usual = KNOBS[knob][1]
    for data in ("cora", "mnist"):
        base = mean(numbers(turned(rows, data, knob, usual)) or [0.0])
        broken = [
            value
            for value in values
            if 100 * (base - mean(numbers(turned(rows, data, knob, value)) or [0.0])) > BREAKS
        ]
        found.append(f"{NAMES[data]} at {_listed(broken)}" if broken else f"{NAMES[data]} at none of these")
    return f"Broken: {', '.join(found)}."


def _listed(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]


def size(rows: Sequence[Row]) -> str:
    return """## How large can the projection be?

No run of this page needs a large one. [opu.md](opu.md) holds the measurement: a projection of 10^12 coefficients, none
of them stored, held to the statistics of the medium, and how time and memory grow up to there.
[performance.md](performance.md) has the simulated projection beside a stored matrix."""


def feedback(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="feedback")
    if not chosen:
        return ""
    texts = []
    for model, label in (("gcn", "Cora, `gcn`"), ("fc", "MNIST, `fc` 2 x 512")):
        lines = []
        for group in by_setting(pick(chosen, model=model)):
            one = group[0]
            spread = [{"True": "yes", "False": "no"}[one["rule.spread"]]] if model == "gcn" else []
            share = {"True": "one matrix", "False": "a slice each"}[one["rule.share"]]
            blocks = len(one["model.hidden"].split())
            gradients = " · ".join(aligned(group, i) for i in range(1, blocks + 1))
            turned_by = " · ".join(aligned(group, i, "matrix_alignment") for i in range(1, blocks + 1))
            depth = [one["model.hidden"]] if model == "gcn" else []
            lines.append(
                (*depth, one["device.distribution"], share, *spread, percent(group), gradients, turned_by)
            )
        heads = [
            *(["hidden"] if model == "gcn" else []),
            "entries",
            "blocks read",
            *(["spread"] if model == "gcn" else []),
            "test",
            "gradients",
            "matrices",
        ]
        texts.append(
            f"{label}, {counted(pick(chosen, model=model))} seeds:\n\n{table(heads, lines, len(heads) - 3)}"
        )
    return f"""## The feedback matrices, and alignment

    dfa sweep experiment=feedback

The entries of the feedback matrix, Gaussian or uniform with the same variance; a slice of the projection for each block
or one matrix for all; on graphs, feedback passed back over the edges (`rule.spread`) or to labelled nodes only.
"Gradients": the cosine between the gradient that the rule gives a hidden block and the true one, block by block;
"matrices": the cosine between its feedback matrix and the transposed forward weights in its place. Both at the end of
training, mean ± standard error over seeds; 0 is what a random direction has.

{(chr(10) * 2).join(texts)}

![alignment over training](images/results_alignment.svg)"""


def counted(rows: Sequence[Row]) -> str:
    many = sorted({len(pick(rows, **dict(group))) for group in _groups(rows)})
    return f"{many[0]}" if len(many) == 1 else f"{many[0]} to {many[-1]}"


def _groups(rows: Sequence[Row]) -> set[tuple[tuple[str, str], ...]]:
    keys = ("experiment", "model", "data", "rule", "device", "readout", "encoding", *SETTINGS)
    return {tuple((key, row[key]) for key in keys) for row in rows}


def rules(rows: Sequence[Row]) -> str:
    chosen = pick(rows, experiment="rules")
    if not chosen:
        return ""
    words = {
        "bp": "backpropagation",
        "fa": "feedback alignment (Lillicrap 2016)",
        "usf": "uniform sign-concordant feedback (Moskovitz 2018)",
        "brsf": "batchwise random sign-concordant feedback (Moskovitz 2018)",
        "frsf": "fixed random sign-concordant feedback (Moskovitz 2018)",
        "dfa": "direct feedback alignment (Nøkland 2016)",
        "drtp": "direct random target projection (Frenkel 2021)",
        "shallow": "only the last block",
    }
    floor = {
        data: mean(numbers(pick(chosen, rule="shallow", data=data)) or [0.0]) for data in ("mnist", "cora")
    }
    lines, works = [], []
    for rule in RULES:
        fc, gcn = (pick(chosen, rule=rule, data=data) for data in ("mnist", "cora"))
        lines.append((f"`{rule}`", words[rule], percent(fc), percent(gcn)))
        if rule != "shallow" and numbers(gcn) and 100 * (mean(numbers(gcn)) - floor["cora"]) > BREAKS:
            works.append(f"`{rule}`")
    return f"""## The family of rules

    dfa sweep experiment=rules

MNIST: `fc`, 2 x 256, ten epochs, three seeds. Cora: `gcn`, one hidden block 64 wide, ten seeds.

{table(("rule", "", "MNIST", "Cora"), lines, 2)}

On the graph these train the hidden block, more than {BREAKS:g} points above `shallow`: {", ".join(works) or "none"}."""


def fairness(rows: Sequence[Row]) -> str:
    lines, common = [], []
    keys = [
        key for key in SETTINGS if not key.startswith("device.") and key not in ("rule.share", "model.hidden")
    ]
    for experiment, model, data in (
        ("mnist_fc", "fc", "mnist"),
        ("rules", "fc", "mnist"),
        ("rules", "gcn", "cora"),
        ("citation_gcn", "gcn", "citeseer"),
        ("citation_gcn", "gcn", "pubmed"),
        *(("architectures", model, "cora") for model in ("fc", "gat", "cheb", "sage")),
    ):
        chosen = pick(rows, experiment=experiment, model=model, data=data)
        if not chosen:
            continue
        # an empty cell is a value, too: a key that the rule has not
        differing = [key for key in keys if len({row[key] for row in chosen}) > 1 or key == "optimizer.lr"]
        same = [f"{key} {chosen[0][key]}" for key in keys if key not in differing and chosen[0][key]]
        where = f"{NAMES[data]}, family of rules" if (experiment, data) == ("rules", "mnist") else NAMES[data]
        common.append(f"- `{model}` on {where}: {', '.join(same)}.")
        for rule in (rule for rule in RULES if pick(chosen, rule=rule)):
            row = pick(chosen, rule=rule)[0]
            said = ", ".join(f"{key} {row[key]}" for key in differing if row[key])
            lines.append((f"`{model}`, {where}", f"`{rule}`", said))
    if not lines:
        return ""
    return f"""## What differs between the rules besides the rule

Hyper-parameters are chosen for each rule on validation accuracy, with seeds that no result uses and no look at the test
accuracy; [tuning.md](tuning.md) tells how, and the searches are experiments too (`scripts/reproduce --tuning`). The
device has no values of its own.

{table(("", "rule", "values that differ"), lines, 3)}

The same for all rules:

{chr(10).join(common)}"""


def origin(rows: Sequence[Row]) -> str:
    def told(*columns: str) -> str:
        counts = Counter(" ".join(row[column] for column in columns).strip() for row in rows)
        return "; ".join(f"{words} ({count} lines)" for words, count in counts.most_common())

    changed = sum(row["dirty"] == "True" for row in rows)
    failed = sum(row["status"] == "failed" for row in rows)
    runs = len({row["identity"] for row in rows})
    return f"""## Where the numbers come from

{len(rows)} lines of [results.csv](results.csv) on {runs} different runs; {failed or "none"} failed.

- commit: {told("commit")}; {changed or "none"} with changes that were not committed
- torch: {told("torch")}; Python: {told("python")}; dfa: {told("dfa")}
- processor: {told("processor")}"""


def with_results(readme: str, rows: Sequence[Row]) -> str:
    """README.md with the table between its two marks written anew."""
    sets = {
        "cora": "Cora, `gcn`, 64 wide",
        "citeseer": "CiteSeer, `gcn`, 64 wide",
        "pubmed": "PubMed, `gcn`, 64 wide",
        "mnist": f"MNIST, `fc`, 2 x 1024, {_epochs(rows)} epochs",
    }
    lines = []
    for data, label in sets.items():
        cells = [main_results(rows, data, name) for name in SERIES]
        if all(cells):
            lines.append((label, *map(percent, cells), str(min(map(len, cells)))))
    made = table(("", *SERIES, "seeds"), lines)
    return between(readme, "results", made)


def with_tuning(text: str, rows: Sequence[Row]) -> str:
    """docs/tuning.md with the table between its two marks written anew."""
    bold = "values tried, the chosen one in bold"
    heads = ("", "rule", bold, "combinations", "seeds", "epochs", "validation")
    return between(text, "tuning", table(heads, tried(rows), 3))


def replace(path: Path, text: str) -> None:
    """Written only where it differs, so that a page that says the same keeps its date."""
    if not path.exists() or path.read_text("utf-8") != text:
        write_atomically(path, text)
