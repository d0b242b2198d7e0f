"""Turns the options of a reading command into the runs to read and the question to answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.errors import DfaError

if TYPE_CHECKING:
    from dfa_cli.comparison.comparison import Comparison
    from dfa_cli.comparison.question import Question
    from dfa_cli.records.find import Found
    from dfa_cli.records.run import Run


def folders_or_outputs(folders: list[Path] | None) -> list[Path]:
    """Return the folders that were named, or `outputs` if none was."""
    return folders or [Path("outputs")]


def folders_of_runs(words: list[Path] | None) -> list[Path]:
    """Return the folders in which a command reads all runs: those that were named, or those of the named runs.

    Runs are named as for `dfa show`, and searched in the folders beside them. `outputs` is the default. Raises
    `DfaError` when no run fits a name.
    """
    from dfa_cli.records.find import pick_run

    names = [word for word in words or [] if _names_a_run(word)]
    if not names:
        return folders_or_outputs(words)
    places = folders_or_outputs([word for word in words or [] if word not in names])
    return [Path(pick_run(str(name), places).folder) for name in names]


def _names_a_run(word: Path) -> bool:
    """Tell whether a word is `last`, an id or its start, or the path of a record, and no folder."""
    if word.is_dir():
        return False
    return (word.is_file() and word.name == "run.json") or bool(
        re.fullmatch("last|[0-9a-fA-F]{1,8}", str(word))
    )


def comma_list(words: str | None) -> list[str]:
    """Split words at commas: `"rule, device"` becomes `["rule", "device"]`."""
    return [word.strip() for word in words.split(",") if word.strip()] if words else []


@dataclass(frozen=True)
class Selection:
    """The options that choose the runs of a command."""

    folders: list[Path] | None = None
    where: str | None = None
    since: str | None = None
    status: str | None = None

    def find(self, max_skipped: int = 5, may_be_empty: bool = False) -> tuple[Found, list[Run]]:
        """Find the runs in the folders and select among them.

        At most `max_skipped` damaged folders are named on standard error. Raises `DfaError` when no run is left, unless
        the selection may be empty.
        """
        from dfa_cli.console import output
        from dfa_cli.records.find import find, find_some
        from dfa_cli.records.select import in_utc, select

        found = (find if may_be_empty else find_some)(folders_of_runs(self.folders))
        output.name_skipped(found.skipped, max_skipped)
        condition = None
        if self.where and found.runs:
            from dfa_cli.records.keys import Keys
            from dfa_cli.records.query import Query

            condition = Query(self.where, Keys(found.runs))
        selected = select(found.runs, self.status, condition, in_utc(self.since) if self.since else None)
        if not selected and not may_be_empty:
            options = [
                f'--where "{self.where}"' if self.where else "",
                f"--since {self.since}" if self.since else "",
                f"--status {self.status}" if self.status else "",
            ]
            asked = " and ".join(word for word in options if word)
            raise DfaError(
                f"none of the {len(found.runs)} runs in {', '.join(found.places)} fulfils {asked}; ask for less"
            )
        return found, selected

    def compare(self, question: Question) -> Comparison:
        """Find the runs and compare them."""
        from dfa_cli.comparison.comparison import compare

        found, runs = self.find()
        result = compare(runs, question)
        result.skipped = found.skipped
        return result


def make_question(by: str | None, metric: str | None, over: str, **more: Any) -> Question:
    """Make a `Question` from the options `--by`, `--metric` and `--over`. `more`: further fields of `Question`."""
    from dfa_cli.comparison.question import Question
    from dfa_cli.records.measures import DEFAULT

    return Question(by=comma_list(by), metric=metric or DEFAULT, over=comma_list(over) or ["seed"], **more)
