"""Fills in Flatirons' form: reads it as a browser does, changes one field, posts all of them.

The few tags that matter are read with regular expressions: a complete HTML parser would take longer to read a
form than the hub takes to render it.
"""

import html
import random
import re
from dataclasses import dataclass, field

import httpx

from .sessions import Session
from .testbed import BenchFailure

ROOT = re.compile(r'<div[^>]* id="flatirons-form"')
TAG = re.compile(r"<(input|select|option|/select)\b([^>]*)>")
ATTRIBUTE = re.compile(r'([a-z-]+)(?:="([^"]*)")?')
# The fields that are changed in turn; those that the form doesn't have are left out.
TURNS = ("partition", "cpus", "account", "runtime", "memory")
RUNTIMES = ("30m", "1:00:00", "90m", "2:00:00", "45m")
MEMORIES = ("1G", "1500M", "2G", "4G")
MOST_CPUS = 8


@dataclass
class Fields:
    """The values that a browser would send, and the choices of each select field."""

    values: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, page: str) -> "Fields":
        """The fields of Flatirons' form on a page or in a fragment; BenchFailure if there is no form."""
        root = ROOT.search(page)
        if root is None:
            raise BenchFailure("the hub's page doesn't contain Flatirons' form")
        found, select = cls(), ""
        for tag, rest in TAG.findall(page, root.start()):
            given = dict(ATTRIBUTE.findall(rest))
            if tag == "select":
                select = given.get("name", "")
                found.choices.update({select: []} if select else {})
            elif tag == "/select":
                select = ""
            elif tag == "option" and select:
                found._add_option(select, given)
            elif tag == "input" and given.get("name"):
                found._add_input(given)
        return found

    def _add_option(self, select: str, given: dict[str, str]) -> None:
        value = html.unescape(given.get("value", ""))
        self.choices[select].append(value)
        if "selected" in given or select not in self.values:
            self.values[select] = value

    def _add_input(self, given: dict[str, str]) -> None:
        name, value = given["name"], html.unescape(given.get("value", ""))
        is_box = given.get("type") in ("radio", "checkbox")
        if not is_box or "checked" in given:
            self.values[name] = value

    def changed(self, turn: int) -> tuple[str, str]:
        """(name, new value) of the field that is changed in this turn."""
        present = [name for name in TURNS if name in self.values]
        name = present[turn % len(present)]
        offered = [value for value in self.choices.get(name, []) if value]
        if not offered:
            offered = {
                "runtime": [*RUNTIMES],
                "memory": [*MEMORIES],
                "cpus": [str(i + 1) for i in range(MOST_CPUS)],
            }.get(name, [])
        others = [value for value in offered if value != self.values[name]]
        return name, random.choice(others) if others else self.values[name]


class FormEditor:
    """One session that fills in its form."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.turn = random.randrange(len(TURNS))
        self.fields = Fields()
        query = f"user={session.user}&server="
        self.path = f"/hub/flatirons/form?{query}"

    async def open(self) -> None:
        """Reads the page with the form."""
        page = await self.session.view(f"/hub/spawn/{self.session.user}")
        self.fields = Fields.of(page.text)

    async def edit(self) -> httpx.Response:
        """Changes one field and keeps the form that comes back; BenchFailure if the change was lost."""
        name, value = self.fields.changed(self.turn)
        self.turn += 1
        answer = await self.session.post(self.path, {**self.fields.values, name: value})
        if answer.status_code == 200:
            self.fields = Fields.of(answer.text)
            if self.fields.values.get(name) != value:
                raise BenchFailure(
                    f"{name} was changed to {value!r}, but the form came back with another value"
                )
        return answer
