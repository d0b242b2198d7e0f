"""Compares the rows of a comparison with a baseline row where that is fair, and chooses which rows are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dfa_cli.comparison.group import Group, unit_in_words
from dfa_cli.comparison.grouping import key_value, overridden
from dfa_cli.comparison.statistics import holm, least_p, paired_difference
from dfa_cli.console.table import truncate
from dfa_cli.console.values import MISSING, format_value, plural
from dfa_cli.errors import DfaError
from dfa_cli.records.code import is_known_class
from dfa_cli.records.keys import Keys, is_tuned
from dfa_cli.records.query import Query
from dfa_cli.records.run import Run

MOST_REMEDIES = 6  # reasons for which one is looked for
MOST_VALUES = 8  # of a key that are listed where no row fulfils an expression
LONGEST = 30  # cells of such a value
SPLIT = "split"  # stands for the data split and its sizes, which are no key of the configuration


@dataclass(frozen=True)
class Baseline:
    """The baseline of a comparison.

    `query`: selects the rows that are baselines. `keys`: every key in which the runs differ. `units`: the keys that
    identify a value of a row, usually the seed. `test`: `t` or `wilcoxon`. `margin`: how far apart two rows may be and
    still count as equal, in the unit of files; `None` for no such test.
    """

    query: Query
    keys: Sequence[str]
    units: Sequence[str]
    test: str = "t"
    margin: float | None = None


def _answer_of_row(query: Query, group: Group, option: str) -> bool:
    """Evaluates `query` for a row. Raises `DfaError` when the answer is not the same for all its runs."""
    answers = {query(run) for run in group.runs}
    if len(answers) > 1:
        raise DfaError(
            f"{option} \"{query.source}\" is true for some runs of the row '{group.label()}' and false "
            f"for others; use keys in which the rows differ ({', '.join(group.key) or 'none here'}), "
            f"or --where to choose runs"
        )
    return answers.pop()


def filter_rows(groups: list[Group], only: str, keys: Keys) -> list[Group]:
    """Returns the rows for which the expression `only` holds. Raises `DfaError` when there is none."""
    query = Query(only, keys, "--only")
    shown = [group for group in groups if _answer_of_row(query, group, "--only")]
    if not shown:
        raise DfaError(f'no row fulfils --only "{only}"; {_choices(query, groups)}')
    return shown


def _choices(query: Query, groups: Sequence[Group]) -> str:
    """Says what the rows have under the keys of an expression that none of them fulfils."""
    words = []
    for key in dict.fromkeys(query.keys):
        values = dict.fromkeys(format_value(key_value(run, key)) for group in groups for run in group.shown)
        listed = [truncate(value, LONGEST) for value in sorted(values)[:MOST_VALUES]]
        more = f" and {plural(len(values) - MOST_VALUES, 'more value')}" if len(values) > MOST_VALUES else ""
        words.append(f"{key} {', '.join(listed)}{more}")
    return f"the rows have {'; '.join(words)}"


def compare_with_baseline(groups: list[Group], baseline: Baseline) -> int:
    """Compares each row with its baseline, and returns how many tests were made.

    A row gets its `difference`, or the reason why it has none, and the baseline that would give it one. It also gets
    the keys that a user set, and in which it differs from its baseline all the same. The difference
    is the mean over the seeds that both rows have. It is taken where it is fair: the two rows may differ in the keys
    that the query names, and in the values that are tuned for each rule, and in nothing else. Of several baselines, the
    one counts that agrees with the row in the most columns. The significance is corrected for the number of tests by
    Holm's method.
    """
    query = baseline.query
    bases = _rows_of(query, groups)
    if not bases:
        raise DfaError(f'--baseline "{query.source}" matches no row; {_choices(query, groups)}')
    for group in bases:
        group.is_baseline = True
    for group in groups:
        if group.is_baseline:
            continue
        base, group.why_no_difference = _choose_base(group, bases, baseline)
        if base is not None:
            group.difference = paired_difference(
                group.by_unit, base.by_unit, baseline.test, baseline.margin, unit_in_words(baseline.units, 2)
            )
            group.set_by_hand = "; ".join(map(_in_words, _set_by_hand(group, base, baseline)))
    _correct(groups, baseline.test)
    _find_remedies(groups, bases, baseline)
    return sum(group.difference is not None and group.difference.p is not None for group in groups)


def _correct(groups: Sequence[Group], test: str) -> None:
    """Decides which differences are significant, and which are equivalences, with Holm's correction."""
    count = sum(group.difference is not None and group.difference.p is not None for group in groups)
    for group in groups:
        difference = group.difference
        if difference and difference.p is not None and least_p(difference.n, test) * count >= 0.05:
            why = (
                f"{plural(difference.n, 'pair')} and {plural(count, 'comparison')} cannot give p < 0.05 by this test, "
                "whatever the difference is; take more pairs, or --test t"
            )
            group.difference = replace(difference, p=None, p_equivalent=None, why=why)
    for p_value, verdict in (("p", "significant"), ("p_equivalent", "equivalent")):
        tested = [group for group in groups if getattr(group.difference, p_value, None) is not None]
        verdicts = holm([getattr(group.difference, p_value) for group in tested])
        for group, answer in zip(tested, verdicts, strict=True):
            if group.difference:
                group.difference = replace(group.difference, **{verdict: answer})


def _rows_of(query: Query, groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if _answer_of_row(query, group, "--baseline")]


def _choose_base(group: Group, bases: Sequence[Group], baseline: Baseline) -> tuple[Group | None, str]:
    """Returns the baseline of a row, or `None` and the reason why it has none."""
    best, why = _best_bases(group, bases, baseline)
    if len(best) > 1:
        labels = "; ".join(base.label() for base in best[:3]) + ("; ..." if len(best) > 3 else "")
        return None, f"several baselines fit equally well: {labels}"
    return (best[0] if best else None), why


def _best_bases(group: Group, bases: Sequence[Group], baseline: Baseline) -> tuple[list[Group], str]:
    """Returns the baselines that fit a row best, or none and the reason why there are none."""
    if not group.by_unit:
        return [], "it has no completed run"
    if not bases:
        return [], "no row is such a baseline"
    judged = [(list(_unfair(group, base, baseline)), base) for base in bases]
    fair = [base for unfair, base in judged if not unfair]
    if not fair:
        return [], "; ".join(map(_in_words, _least_unfair(group, judged, baseline)))
    paired = [base for base in fair if any(unit in base.by_unit for unit in group.by_unit)]
    if not paired:
        some = any(base.by_unit for base in fair)
        word = unit_in_words(baseline.units)
        return [], f"there is no {word} in common" if some else "the baseline has no completed run"
    scores = [_likeness(group, base, baseline) for base in paired]
    return [base for base, score in zip(paired, scores, strict=True) if score == max(scores)], ""


def _least_unfair(
    group: Group, judged: Sequence[tuple[list[_Differing], Group]], baseline: Baseline
) -> list[_Differing]:
    """Returns the keys in which a row differs from the baseline that is nearest to it.

    If the data sets differ, `data` is the only key that is returned: the other keys then follow from it.
    """
    unfair, _ = min(judged, key=lambda pair: (len(pair[0]), -_likeness(group, pair[1], baseline)))
    return [one for one in unfair if one.key == "data"] or unfair


def _likeness(group: Group, base: Group, baseline: Baseline) -> int:
    """Counts the columns in which a row agrees with a baseline, without those that the query names."""
    return sum(_agree(base, group, key) for key in group.key if key not in baseline.query.keys)


def _agree(one: Group, other: Group, key: str) -> bool:
    return format_value(one.key.get(key, MISSING)) == format_value(other.key.get(key, MISSING))


class _Differing(NamedTuple):
    """A key in which a row and a baseline differ, with the values of both."""

    key: str
    mine: list[str]
    theirs: list[str]


def _in_words(differing: _Differing) -> str:
    """Says in what a row and its baseline differ: `epochs differ: 1, 5`."""
    verb = "differ" if differing.key.endswith("s") and not differing.key.endswith("ss") else "differs"
    return f"{differing.key} {verb}: {'/'.join(differing.mine)}, {'/'.join(differing.theirs)}"


def _find_remedies(groups: Sequence[Group], bases: Sequence[Group], baseline: Baseline) -> None:
    """Finds, for each reason why rows have no difference, the baseline that names the keys in which they differ."""
    known: dict[str, str] = {}
    for group in groups:
        why = group.why_no_difference
        if why and why not in known and len(known) < MOST_REMEDIES:
            known[why] = _remedy(group, groups, bases, baseline)
        group.remedy = known.get(why, "")


def _remedy(group: Group, groups: Sequence[Group], bases: Sequence[Group], baseline: Baseline) -> str:
    """Returns the expression with which a row has a difference, or an empty text if there is none."""
    judged = [(list(_unfair(group, base, baseline)), base) for base in bases]
    unfair = _least_unfair(group, judged, baseline)
    if any(_is_part_of(one.key, ["data"]) for one in unfair):
        return ""  # Results on two data sets are two things, whatever else is equal.
    query = baseline.query
    source = f"({query.source})" if " or " in query.source else query.source
    words = [f"{one.key}={','.join(map(_as_typed, one.theirs))}" for one in unfair]
    for _ in range(2):
        named = " and ".join([source, *words])
        try:
            other = replace(baseline, query=Query(named, query.known, "--baseline"))
            best, _ = _best_bases(group, _rows_of(other.query, groups), other)
        except DfaError:  # Some values cannot be typed.
            return ""
        if len(best) < 2:
            return named if best and words else ""
        # Of several baselines that fit equally well, the columns tell the first one from the others.
        words += [
            f"{key}={_as_typed(format_value(value))}"
            for key, value in best[0].key.items()
            if not all(_agree(best[0], base, key) for base in best)
        ]
    return ""


def _as_typed(value: str) -> str:
    """Writes a value as it is typed in an expression."""
    return value if re.fullmatch(r"""[^\s()\[\],=<>!~"']+|\[[^\]]*\]""", value) else f"'{value}'"


def _common_values(group: Group, base: Group, key: str) -> _Differing:
    """Returns the values of two rows under `key`, in the runs of the seeds that both rows have."""
    common = group.by_unit.keys() & base.by_unit.keys()

    def values(one: Group) -> list[str]:
        runs = [run for run, unit in zip(one.counted, one.units, strict=True) if unit in common]
        return sorted({_value_in_words(run, key) for run in runs or one.shown})

    return _Differing(key, values(group), values(base))


def _unfair(group: Group, base: Group, baseline: Baseline) -> Iterator[_Differing]:
    """Yields the keys that make a difference between two rows unfair."""
    named = baseline.query.keys
    told: list[str] = []
    for key in sorted((*baseline.keys, SPLIT), key=lambda key: key.count(".") + key.count("/")):
        if (
            is_tuned(key)
            or _is_part_of(key, [*named, *told])
            or ("seed" in named and _follows_seed(key, group, base))
        ):
            continue
        found = _common_values(group, base, key)
        absent = [format_value(MISSING)]
        if found.mine == found.theirs or (
            _is_part_of(key, ["device"]) and absent in (found.mine, found.theirs)
        ):
            continue  # A rule that projects nothing has no device.
        if key == "code" and (
            absent in (found.mine, found.theirs) or any(_own_class_differs(group, base, one) for one in named)
        ):
            continue  # The class that the code belongs to is told, or is named by the query.
        told.append(key)
        yield found


def _set_by_hand(group: Group, base: Group, baseline: Baseline) -> Iterator[_Differing]:
    """Yields the keys that conf/tuned chooses for each rule, but of which a user set a value for one of two rows."""
    typed = overridden([*group.shown, *base.shown])
    for key in baseline.keys:
        if is_tuned(key) and key in typed and not _is_part_of(key, baseline.query.keys):
            found = _common_values(group, base, key)
            if found.mine != found.theirs:
                yield found


def _follows_seed(key: str, *groups: Group) -> bool:
    """Tells whether a key is a seed that equals the seed of the run, as `device.matrix_seed: ${seed}` does."""
    return key.endswith("seed") and all(
        run.flat.get(key, MISSING) in (run.config.get("seed"), MISSING)
        for group in groups
        for run in group.shown
    )


def _is_part_of(key: str, names: Sequence[str]) -> bool:
    """Tells whether a key is one of `names` or is below one of them, as `rule.scale` is below `rule`.

    The split and the files belong to the data set.
    """
    dotted = ("data." if key == SPLIT else "") + key.replace("/", ".")
    return any(f"{dotted}.".startswith(f"{name.replace('/', '.')}.") for name in names)


def _value_in_words(run: Run, key: str) -> str:
    if key != SPLIT:
        return format_value(key_value(run, key))
    sizes: dict[str, Any] = run.result.get("sizes") or {}
    words = f"{run.result.get('split')} ({', '.join(f'{size} {name}' for name, size in sizes.items())})"
    return format_value(f"stand-in, {words}" if run.record.get("data_fallback") else words)


def _own_class_differs(group: Group, base: Group, key: str) -> bool:
    """Tells whether two rows have different classes under `key`, such as `rule`, one of them of the user's own."""
    targets = [{str(run.flat.get(f"{key}._target_")) for run in one.shown} for one in (group, base)]
    return targets[0] != targets[1] and not all(is_known_class(name) for name in targets[0] | targets[1])
