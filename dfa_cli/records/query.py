"""The expressions of `--where`, `--only` and `--baseline`: `rule=dfa and (epochs>100 or not lr=0.1)`.

    expression := part ("or" part)*           part  := term (("and" | ",") term)*
    term       := "not" term | "(" expression ")" | key operator value
    operator   := = == != < <= > >= ~          value := word | number | "text" | [list] | value,value,...

`=` with several values means any of them (`rule=bp,dfa`); `~` means contains. A run without the key
fulfils no comparison but `!=`. Nothing is ever evaluated as code.
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

Test = Callable[[Run], bool]

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
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Query:
    """A parsed expression: call it with a run. `keys` are the full names that it asks for."""

    def __init__(self, source: str, known: Keys, option: str = "--where"):
        self.source = source
        self.keys: list[str] = []
        self._known = known
        self._option = option
        self._tokens = self._split()
        self._at = 0
        self._test = self._either()
        if self._at < len(self._tokens):
            raise self._bad("expected 'and', 'or' or the end")

    def __call__(self, run: Run) -> bool:
        return self._test(run)

    def _split(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        end = len(self.source.rstrip())
        while at < end:
            match = _TOKEN.match(self.source, at)
            if not match or match.lastgroup is None:
                at += len(self.source[at:]) - len(self.source[at:].lstrip())
                raise self._bad(f"cannot read '{self.source[at:][:12]}'", at)
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        if not tokens:
            raise DfaError(f'{self._option} is empty; write a condition such as "rule=dfa and epochs>100"')
        return tokens

    def _bad(self, what: str, at: int | None = None) -> DfaError:
        if at is None:
            at = self._tokens[self._at][2] if self._at < len(self._tokens) else len(self.source)
        here = f"{self.source[:at]}>>>{self.source[at:]}"
        return DfaError(
            f'{self._option}: {what} at character {at + 1} of "{self.source}" ({here}); '
            f'write conditions such as "rule=dfa and epochs>100"'
        )

    def _next(self, *kinds: str, words: tuple[str, ...] = ()) -> tuple[str, str] | None:
        """Takes the next token when it is one of `kinds` (and, if given, one of `words`)."""
        if self._at < len(self._tokens):
            kind, word, _ = self._tokens[self._at]
            if kind in kinds and (not words or word.lower() in words):
                self._at += 1
                return kind, word
        return None

    def _either(self) -> Test:
        tests = [self._all()]
        while self._next("word", words=("or",)):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda run: any(test(run) for test in tests)

    def _all(self) -> Test:
        tests = [self._term()]
        while self._next("word", words=("and",)) or self._next("mark", words=(",",)):
            tests.append(self._term())
        return tests[0] if len(tests) == 1 else lambda run: all(test(run) for test in tests)

    def _term(self) -> Test:
        if self._next("word", words=("not",)):
            test = self._term()
            return lambda run: not test(run)
        if self._next("mark", words=("(",)):
            test = self._either()
            if not self._next("mark", words=(")",)):
                raise self._bad("expected ')'")
            return test
        at = self._at
        key = self._next("word")
        if key is None or key[1].lower() in ("and", "or"):
            self._at = at
            raise self._bad("expected a key such as rule or epochs")
        sign = self._next("op")
        if sign is None:
            raise self._bad("expected one of = != < <= > >= ~")
        wanted = self._values()
        name = self._known.resolve(key[1])
        self.keys.append(name)
        return _comparison(name, sign[1], wanted)

    def _values(self) -> list[Any]:
        values = [self._value()]
        while True:
            at = self._at
            if not self._next("mark", words=(",",)):
                return values
            # `rule=bp,dfa` goes on with a value, `rule=bp,device=cpu` with a condition
            follows = [token[0] for token in self._tokens[self._at : self._at + 2]]
            if follows[1:] == ["op"] or follows[:1] not in (["word"], ["text"], ["list"]):
                self._at = at
                return values
            values.append(self._value())

    def _value(self) -> Any:
        token = self._next("word", "text", "list")
        if token is None:
            raise self._bad("expected a value")
        kind, word = token
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        return _typed(word)


def _typed(word: str) -> Any:
    """A bare word as YAML would read it: a number, true, false, null, a list, else text."""
    if word.lower() in ("true", "false", "null", "none"):
        return {"true": True, "false": False}.get(word.lower())
    if word.startswith("["):
        try:
            return json.loads(word)
        except ValueError:
            return [_typed(part.strip()) for part in word[1:-1].split(",") if part.strip()]
    try:
        return int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)
    except ValueError:
        return word


def _equal(held: Any, wanted: Any) -> bool:
    if number(held) is not None and number(wanted) is not None:
        return held == wanted
    return format_value(held) == format_value(wanted)


def _comparison(name: str, sign: str, wanted: list[Any]) -> Test:
    if sign in ("=", "=="):
        return lambda run: any(_equal(value_of(run, name), one) for one in wanted)
    if sign == "!=":
        return lambda run: not any(_equal(value_of(run, name), one) for one in wanted)
    if sign == "~":
        return lambda run: any(_contains(value_of(run, name), one) for one in wanted)
    compare = _ORDER[sign]

    def ordered(run: Run) -> bool:
        held = value_of(run, name)
        for one in wanted:
            if number(held) is not None and number(one) is not None:
                if compare(held, one):
                    return True
            elif isinstance(held, str) and compare(held, format_value(one)):  # dates, above all
                return True
        return False

    return ordered


def _contains(held: Any, wanted: Any) -> bool:
    if held is MISSING or held is None:
        return False
    return (
        wanted in held
        if isinstance(held, list)
        else format_value(wanted).lower() in format_value(held).lower()
    )
