"""A key that a class does not take is a mistake of the user; a TypeError inside the class is a bug of the class."""

from __future__ import annotations

from typing import Any

import pytest

from dfa_cli.config.instantiate import build
from dfa_cli.errors import DfaError
from dfa_cli.models import Block, ModelShape
from dfa_cli.models.fully_connected import Linear


class Net:
    def __init__(self, sizes: ModelShape, hidden: int, depth: int = 1):
        self.made = sizes, hidden, depth


class Options(Net):
    def __init__(self, sizes: ModelShape, **options: Any):
        super().__init__(sizes, **options)


class WithoutWidth:
    def __init__(self, sizes: ModelShape, hidden: int):
        self.made = Block(Linear(1, 1, None))  # type: ignore[call-arg]


class Misspelt:
    def __init__(self, sizes: ModelShape, hidden: int):
        self.made = Linear(1, 1, generatr=None)  # type: ignore[call-arg]


def made(kind: type, **keys: Any) -> Any:
    return build({"_target_": f"{__name__}.{kind.__name__}", **keys}, ModelShape(3, 2))


@pytest.mark.parametrize("kind", [Net, Options])
def test_a_key_that_a_class_does_not_take_is_named(kind: type) -> None:
    with pytest.raises(DfaError, match="width"):
        made(kind, hidden=3, width=4)


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(DfaError, match="hidden"):
        made(Net)


@pytest.mark.parametrize(("kind", "word"), [(WithoutWidth, "'width'"), (Misspelt, "'generatr'")])
def test_a_type_error_inside_the_class_is_a_bug_of_the_class(kind: type, word: str) -> None:
    with pytest.raises(TypeError, match=word):
        made(kind, hidden=3)


class WithoutSizes:
    def __init__(self, hidden: int, width: int = 1):
        self.hidden = hidden


def test_a_class_without_the_argument_before_its_keys_is_told_where_it_belongs() -> None:
    with pytest.raises(
        DfaError, match=r"so hidden cannot be the first of its constructor; put that argument before"
    ):
        made(WithoutSizes, hidden=3)
