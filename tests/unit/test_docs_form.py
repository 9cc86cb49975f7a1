"""The examples on the page about the options form do what the page says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flatirons.errors import OptionsRefused
from flatirons.forms import Context
from flatirons.site.load import options_form, parse
from tests.repository import REPO

PAGE = REPO / "docs" / "how-to" / "options-form.md"
SITE = """
[hub]
address = "http://hub:8081"
[clusters.summit]
[environments.python]
"""


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found
    return list(found)


def test_all_settings_of_the_page_together_are_a_site() -> None:
    form = options_form(parse(SITE + "\n".join(blocks("toml"))))
    assert {"licence", "exclusive", "threads"} <= form.fields.keys()
    assert form.fields["account"].label == "Project"


async def test_the_form_of_the_page_holds_the_rules_that_it_declares() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    form = names["form"]
    guest, alice = Context(user="guest"), Context(user="alice")
    assert await form.check({"queue": "long", "hours": 30, "cores": 8}, alice)
    with pytest.raises(OptionsRefused, match="between 1 and 8"):
        await form.check({"queue": "long", "hours": 30, "cores": 9}, alice)
    with pytest.raises(OptionsRefused, match='queue: "long" isn\'t offered'):
        await form.check({"queue": "long"}, guest)
