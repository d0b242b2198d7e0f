"""Kills commands of `dfa` with SIGKILL at random moments, and checks that nothing is lost, doubled or wrongly failed.

The commands are `train`, `resume`, sweeps, jobs that a launcher starts twice, `clean` and `export`, and pairs of
commands in one folder. After each kill the work goes on as a user would go on with it. The results must be those of
runs that were not disturbed, bit for bit. `scripts/kill_test` runs the whole test; the test suite runs a short one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from studies.reliability.report import Report
from studies.reliability.scenarios import clean, export, pairs, retries, sweeps, train
from studies.reliability.trial import KillTest

# The share of each scenario in all kills, and a function that runs its next round.
SCENARIOS: dict[str, tuple[float, Callable[[KillTest, int], None]]] = {
    train.NAME: (0.44, train.round_of),
    pairs.NAME: (0.22, pairs.round_of),
    sweeps.NAME: (0.10, lambda test, number: sweeps.round_of(test)),
    retries.NAME: (0.08, retries.round_of),
    clean.NAME: (0.08, lambda test, number: clean.round_of(test)),
    export.NAME: (0.08, export.round_of),
}
# At least so many configurations are resumed and compared, even if that takes some more kills.
KILLS_PER_CONFIGURATION = 5
NO_SUBMITIT = "no job was started twice, because submitit is not installed"


def study(
    root: Path,
    kills: int,
    seed: int = 0,
    names: Sequence[str] = tuple(SCENARIOS),
    extra: tuple[str, ...] = (),
    show: Callable[[str], None] = lambda line: None,
) -> Report:
    """Kill commands until there were `kills` kills, each scenario by its share, and return what happened.

    `root`: an empty folder. The folder of a round in which something went wrong stays there. `names`: the scenarios.
    `extra`: further overrides of the sweeps. `show`: called with a line after each round.
    """
    test = KillTest(root, kills, seed, extra)
    began = time.monotonic()
    names = list(names)
    if retries.NAME in names and not retries.is_possible():
        names.remove(retries.NAME)
        test.report.notes.append(NO_SUBMITIT)
    rounds = dict.fromkeys(names, 0)
    wanted = kills // KILLS_PER_CONFIGURATION if train.NAME in names else 0
    while test.may_kill or len(test.report.resumed) < wanted:
        # Next comes the scenario that has had the fewest kills for its share.
        name = min(names, key=lambda name: (test.report.killed(name) / SCENARIOS[name][0], rounds[name]))
        if not test.may_kill:
            name = train.NAME
        wrong = len(test.report.wrong)
        SCENARIOS[name][1](test, rounds[name])
        rounds[name] += 1
        test.report.seconds = time.monotonic() - began
        show(f"{test.report.seconds:6.0f} s  {test.report.killed():>4} kills  {name} {rounds[name]}")
        for found in test.report.wrong[wrong:]:
            show(f"  {found}")
    return test.report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--kills", type=int, default=200, help="the number of kills (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, help="only this scenario; may be given again"
    )
    parser.add_argument(
        "overrides", nargs="*", help="further overrides of the sweeps, such as launcher=joblib"
    )
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="dfa-kills-")).resolve()
    wrong = True
    try:
        names = given.only or list(SCENARIOS)
        report = study(root, given.kills, given.seed, names, tuple(given.overrides), _show)
        print(f"\n{report}")
        wrong = bool(report.wrong)
        if wrong:
            print(f"what went wrong can be inspected in {root}")
    finally:
        if not wrong:
            shutil.rmtree(root)
    sys.exit(1 if wrong else 0)


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
