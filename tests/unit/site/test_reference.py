"""The reference manual of site.toml is what the schema says."""

from argparse import _SubParsersAction
from pathlib import Path

from flatirons.cli import parser
from flatirons.hub.reference import reference
from flatirons.hub.render import KINDS

ROOT = Path(__file__).parents[2]


def test_the_manual_is_not_stale():
    example = (ROOT / "deploy" / "site.example.toml").read_text(encoding="utf-8")
    manual = (ROOT / "docs" / "reference" / "site.md").read_text(encoding="utf-8")
    assert manual == reference(example), "run: python -m flatirons.hub.reference docs/reference/site.md"


def test_every_section_is_in_the_manual():
    text = reference("")
    for heading in ("[hub]", "[clusters.NAME]", "[environments.NAME]", "[form.FIELD]", "[parallel]"):
        assert f"## {heading}" in text


def test_every_command_is_in_the_manual():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    commands = next(action for action in parser()._actions if isinstance(action, _SubParsersAction))
    for name in commands.choices:
        assert f"`flatirons {name}" in text
    for kind in KINDS:
        assert f"`flatirons render {kind} " in text
