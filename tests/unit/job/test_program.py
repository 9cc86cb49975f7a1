"""The text of a program: as short as possible, and with the same effect."""

import ast
from collections import Counter
from itertools import chain

import pytest

from flatirons.environments.check import PROGRAMS
from flatirons.job.program import compact
from flatirons.job.script import LATER, PARTS, program_text

MODULE = """'''What it is for.'''
from __future__ import annotations
import os  # used
from typing import TYPE_CHECKING, Any
from flatirons.job.node.kinds import (
    STOPPED,
    CannotRun,
)
if TYPE_CHECKING:
    import subprocess
else:
    other = 1
LIMIT: int = 3
"About the limit."
class Empty(Exception):
    '''Nothing.'''
    known: dict[str, Any]
def first(words: list[str] | None, *more: int, key: str = "a # b") -> str:
    '''The first.'''
    found: str = words[0]
    return found
"""
COMPACT = """\
import os
other = 1
LIMIT = 3

class Empty(Exception):
    pass

def first(words, *more, key='a # b'):
    found = words[0]
    return found"""

STARTER = tuple(f"flatirons.job.node.{part}" for part in (*PARTS, *LATER))


def test_what_only_readers_need_is_left_out() -> None:
    assert compact([MODULE]) == COMPACT


@pytest.mark.parametrize("modules", [STARTER, *PROGRAMS.values()], ids=["starter", *PROGRAMS])
def test_no_two_modules_of_a_program_define_the_same_name(modules: tuple[str, ...]) -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [node.name for node in ast.parse(program_text(*modules)).body if isinstance(node, kinds)]
    assert [name for name, times in Counter(defined).items() if times > 1] == []


@pytest.mark.parametrize("modules", [STARTER, *PROGRAMS.values()], ids=["starter", *PROGRAMS])
def test_old_pythons_can_read_the_texts_with_values_in_a_program(modules: tuple[str, ...]) -> None:
    """Before Python 3.12, no quote and no backslash may stand in the braces of such a text."""
    nodes = chain.from_iterable(map(ast.walk, ast.parse(program_text(*modules)).body))
    values = [node.value for node in nodes if isinstance(node, ast.FormattedValue)]
    inside = [ast.unparse(value) for value in values]
    assert [text for text in inside if "\\" in text or '"' in text] == []
