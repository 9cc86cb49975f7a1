"""The reference manual of site.toml is what the schema says."""

from pathlib import Path

from flatirons.hub.reference import reference

ROOT = Path(__file__).parents[2]


def test_the_manual_is_not_stale():
    example = (ROOT / "deploy" / "site.example.toml").read_text(encoding="utf-8")
    manual = (ROOT / "docs" / "reference" / "site.md").read_text(encoding="utf-8")
    assert manual == reference(example), "run: python -m flatirons.hub.reference docs/reference/site.md"


def test_every_section_is_in_the_manual():
    text = reference("")
    for heading in ("[hub]", "[clusters.NAME]", "[environments.NAME]", "[form.FIELD]", "[parallel]"):
        assert f"## {heading}" in text
