"""The reference manual of site.toml agrees with the schema."""

from argparse import _SubParsersAction

from flatirons.cli import parser
from flatirons.hub.render import RENDERED_FILES
from flatirons.site.reference import reference
from tests.repository import REPO


def test_the_manual_is_not_stale():
    example = (REPO / "deploy" / "site.example.toml").read_text(encoding="utf-8")
    manual = (REPO / "docs" / "reference" / "site.md").read_text(encoding="utf-8")
    assert manual == reference(example), (
        "run: PYTHONPATH=src python -m flatirons.site.reference docs/reference/site.md"
    )


def test_every_section_is_in_the_manual():
    text = reference("")
    for heading in ("[hub]", "[clusters.NAME]", "[environments.NAME]", "[form.FIELD]", "[parallel]"):
        assert f"## {heading}" in text


def test_every_command_is_in_the_manual():
    text = (REPO / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    commands = next(action for action in parser()._actions if isinstance(action, _SubParsersAction))
    for name in commands.choices:
        assert f"`flatirons {name}" in text
    for kind in RENDERED_FILES:
        assert f"`flatirons render {kind}`" in text
