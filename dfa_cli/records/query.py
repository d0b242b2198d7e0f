"""Parses the expressions of `--where`, `--only` and `--baseline`: `rule=dfa and (epochs>100 or not lr=0.1)`.

The grammar is

    expression := part ("or" part)*           part  := term (("and" | ",") term)*
    term       := "not" term | "(" expression ")" | key operator value
    operator   := = == != < <= > >= ~          value := word | number | "text" | [list] | value,value,...

`=` with several values means any of them (`rule=bp,dfa`), and `~` means contains. A run without the key fulfils `!=`
and no other comparison. Nothing is ever evaluated as code.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from dfa_cli.console.values import MISSING, format_value, number
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import Keys, value_of
from dfa_cli.records.run import Run

Predicate = Callable[[Run], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op><=|>=|==|!=|=|<|>|~)
    | (?P<mark>[(),])
    | (?P<list>\[[^\]]*\])
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<word>[^\s()\[\],=<>!~"']+)
    )""",
    re.VERBOSE,
)
_ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Query:
    """A condition on runs, parsed from `source`. Call it with a run to test the run.

    `keys` are the full names of the keys that the condition asks for, and `known` all keys of the runs. Raises
    `DfaError` when `source` cannot be parsed or names an unknown key; the message shows the place.
    """

    def __init__(self, source: str, known: Keys, option: str = "--where"):
        self.source = source
        self.keys: list[str] = []
        self.known = known
        self._option = option
        self._tokens = self._tokenise()
        self._at = 0
        self._test = self._parse_or()
        if self._at < len(self._tokens):
            raise self._syntax_error("expected 'and', 'or' or the end")

    def __call__(self, run: Run) -> bool:
        return self._test(run)

    def _tokenise(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        end = len(self.source.rstrip())
        while at < end:
            match = _TOKEN.match(self.source, at)
            if not match or match.lastgroup is None:
                at += len(self.source[at:]) - len(self.source[at:].lstrip())
                raise self._syntax_error(f"cannot read '{self.source[at:][:12]}'", at)
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        if not tokens:
            raise DfaError(f'{self._option} is empty; write a condition such as "rule=dfa and epochs>100"')
        return tokens

    def _syntax_error(self, what: str, at: int | None = None) -> DfaError:
        if at is None:
            at = self._tokens[self._at][2] if self._at < len(self._tokens) else len(self.source)
        here = f"{self.source[:at]}>>>{self.source[at:]}"
        return DfaError(
            f'{self._option}: {what} at character {at + 1} of "{self.source}" ({here}); '
            f'write conditions such as "rule=dfa and epochs>100"'
        )

    def _accept(self, *kinds: str, words: tuple[str, ...] = ()) -> tuple[str, str] | None:
        """Consumes and returns the next token if it is one of `kinds` (and, if given, one of `words`)."""
        if self._at < len(self._tokens):
            kind, word, _ = self._tokens[self._at]
            if kind in kinds and (not words or word.lower() in words):
                self._at += 1
                return kind, word
        return None

    def _parse_or(self) -> Predicate:
        tests = [self._parse_and()]
        while self._accept("word", words=("or",)):
            tests.append(self._parse_and())
        return tests[0] if len(tests) == 1 else lambda run: any(test(run) for test in tests)

    def _parse_and(self) -> Predicate:
        tests = [self._parse_term()]
        while self._accept("word", words=("and",)) or self._accept("mark", words=(",",)):
            tests.append(self._parse_term())
        return tests[0] if len(tests) == 1 else lambda run: all(test(run) for test in tests)

    def _parse_term(self) -> Predicate:
        if self._accept("word", words=("not",)):
            test = self._parse_term()
            return lambda run: not test(run)
        if self._accept("mark", words=("(",)):
            test = self._parse_or()
            if not self._accept("mark", words=(")",)):
                raise self._syntax_error("expected ')'")
            return test
        at = self._at
        key = self._accept("word")
        if key is None or key[1].lower() in ("and", "or"):
            self._at = at
            raise self._syntax_error("expected a key such as rule or epochs")
        sign = self._accept("op")
        if sign is None:
            value = key[1]
            if group := next(
                (
                    one
                    for one in self.known.choices
                    if any(run.choices.get(one) == value for run in self.known.runs)
                ),
                None,
            ):
                raise DfaError(
                    f"{self._option}: '{value}' is an option of {group}, and a condition needs its key; "
                    f'type {self._option} "{group}={value}"'
                )
            raise self._syntax_error("expected one of = != < <= > >= ~")
        wanted = self._parse_values()
        name = self.known.resolve(key[1])
        self.keys.append(name)
        return _make_comparison(name, sign[1], wanted)

    def _parse_values(self) -> list[Any]:
        values = [self._parse_value()]
        while True:
            at = self._at
            if not self._accept("mark", words=(",",)):
                return values
            # After a comma comes another value (`rule=bp,dfa`) or another condition (`rule=bp,device=cpu`).
            # Only a condition has an operator as its second token.
            next_kinds = [token[0] for token in self._tokens[self._at : self._at + 2]]
            if next_kinds[1:] == ["op"] or next_kinds[:1] not in (["word"], ["text"], ["list"]):
                self._at = at
                return values
            values.append(self._parse_value())

    def _parse_value(self) -> Any:
        token = self._accept("word", "text", "list")
        if token is None:
            raise self._syntax_error("expected a value")
        kind, word = token
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        return _parse_word(word)


def _parse_word(word: str) -> Any:
    """Reads a bare word as YAML would: as a number, true, false, null or a list, and otherwise as text."""
    if word.lower() in ("true", "false", "null"):
        return {"true": True, "false": False}.get(word.lower())
    if word.startswith("["):
        try:
            return json.loads(word)
        except ValueError:
            return [_parse_word(part.strip()) for part in word[1:-1].split(",") if part.strip()]
    try:
        return int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)
    except ValueError:
        return word


def _equal(value: Any, wanted: Any) -> bool:
    if number(value) is not None and number(wanted) is not None:
        return value == wanted
    if value is None and str(wanted).lower() == "none":  # `none` is also an option of some groups
        return True
    return format_value(value) == format_value(wanted)


def _make_comparison(name: str, sign: str, wanted: list[Any]) -> Predicate:
    if sign in ("=", "=="):
        return lambda run: any(_equal(value_of(run, name), candidate) for candidate in wanted)
    if sign == "!=":
        return lambda run: not any(_equal(value_of(run, name), candidate) for candidate in wanted)
    if sign == "~":
        return lambda run: any(_contains(value_of(run, name), candidate) for candidate in wanted)
    compare = _ORDERINGS[sign]

    def ordered(run: Run) -> bool:
        value = value_of(run, name)
        for candidate in wanted:
            if number(value) is not None and number(candidate) is not None:
                if compare(value, candidate):
                    return True
            # Text is ordered too, so that dates can be compared.
            elif isinstance(value, str) and compare(value, format_value(candidate)):
                return True
        return False

    return ordered


def _contains(value: Any, wanted: Any) -> bool:
    if value is MISSING or value is None:
        return False
    return (
        wanted in value
        if isinstance(value, list)
        else format_value(wanted).lower() in format_value(value).lower()
    )
