"""Hostile bodies by every way into a hub: the page, a link, REST, the form's own two calls.

600 of them by default, 10,000 in the full form.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused, printable
from flatirons.forms.page import text_of
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.presets import MOST_SAVED, Preset
from tests.fakes import summit
from tests.fakes.slurm import FakeSlurm
from tests.full import IS_FULL
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import STARTED, Pretending, pretending, with_slurm
from tests.unit.forms.test_hostile import NASTY, jsons, texts

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(3600)]

OWN: dict[str, dict[str, Any]] = {
    "threads": {"type": "integer", "minimum": 1, "maximum": 64, "env": "OMP_NUM_THREADS"},
    "licence": {"type": "select", "choices": ["none", "matlab"], "default": "none", "sbatch": "--licenses"},
    "card": {"type": "radio", "choices": [("a", "<b>A</b>"), ("b", "B")], "default": "a"},
    "feature": {"sbatch": "--constraint", "folded": True},
    "remark": {"pattern": "", "env": "REMARK"},
    "factor": {"type": "number", "minimum": -1.5, "maximum": 1.5},
    "scratch": {"type": "memory", "maximum": "100G"},
    "pause": {"type": "duration", "maximum": "1h"},
    "exclusive": {"type": "checkbox", "sbatch": "--exclusive"},
    "big": {"type": "checkbox", "on": "huge", "sbatch": "--constraint"},
    "secret": {"type": "hidden", "default": "kept"},
    "never": {"visible": False, "default": "x"},
    "fixed": {"type": "integer", "locked": True, "default": 3},
}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "python": {"title": "Python"},
    "torch": {"title": "Torch", "needs_gpu": True},
    "knl": {"title": "R & <i>KNL</i>", "partitions": ["sknl"]},
}
SETTINGS: dict[str, dict[str, Any]] = {"memory": {"maximum": "12G"}, "nodes": {"maximum": 4}}
FORM = slurm_form(SETTINGS, {"summit": {}, "blanca": {}}, ENVIRONMENTS, OWN)
SITE_PRESETS = {
    "small": Preset("Small & <b>quick</b>", {"cpus": 1, "memory": "1500M", "gpus": "0"}, "<i>1 core</i>"),
    "gpu": Preset("GPU", {"gpus": "1", "environment": "torch"}),
}
TYPED = ("cpus", "memory", "runtime", "nodes", "ntasks", "threads", "feature", "remark", "factor", "scratch")
"""Options whose inputs hold whatever was typed."""

GOOD = {"cluster": "summit", "partition": "shas", "account": "general", "qos": "normal", "gpus": "0"}


@pytest.fixture(scope="module")
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, slurm: FakeSlurm) -> AsyncIterator[JupyterHub]:
    config = pretending(
        FORM,
        tmp_path_factory.mktemp("state"),
        environments=ENVIRONMENTS,
        own=OWN,
        site_presets=SITE_PRESETS,
        named_server_limit_per_user=3,
    )
    async with running(config) as hub:
        with_slurm(hub, slurm)
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    visitor = await Visitor(hub, "alice").log_in()
    yield visitor
    await visitor.http.aclose()


# -- what is sent

PAGES_OWN = ["_xsrf", "_boxes", "_preset", "_save_preset", "_forget_preset", "_preset_name"]
PRESET_KEYS = ["site:small", "site:gpu", "own:", "own:mine", "last", "defaults", "site:nosuch", "own:../../x"]
sendable = texts.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
names = st.one_of(
    st.sampled_from(list(FORM.fields)),
    st.sampled_from(list(FORM.fields)),
    st.sampled_from([*PAGES_OWN, "options", "display_name", "next", "user_options"]),
    sendable.filter(lambda text: len(text) < 1000),
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "cluster": st.sampled_from(["summit", "blanca"]),
        "partition": st.sampled_from(["shas", "sknl", "bobs", "lesson", ""]),
        "account": st.sampled_from(["general", "knl", "bobs", ""]),
        "qos": st.sampled_from(["normal", "long", "debug", "high"]),
        "reservation": st.sampled_from(["workshop", "bobsday", ""]),
        "environment": st.sampled_from(["python", "torch", "knl"]),
        "cpus": st.integers(-1, 80).map(str),
        "nodes": st.integers(0, 5).map(str),
        "ntasks": st.integers(0, 20).map(str),
        "memory": st.from_regex(r"[0-9]{1,2}(\.[0-9])?[GMT]", fullmatch=True),
        "gpus": st.sampled_from(["0", "1", "2", "v100:1", "a100:4", "k80:3", "5"]),
        "runtime": st.sampled_from(["30m", "1h", "1-00:00:00", "3d", "99999d", "2:00"]),
        "threads": st.integers(-1, 70).map(str),
        "licence": st.sampled_from(["none", "matlab", "maple"]),
        "remark": sendable,
        "_boxes": st.sampled_from(["exclusive,big", "exclusive", ""]),
    },
)
clicks = st.fixed_dictionaries(
    {},
    optional={
        "_preset": st.sampled_from(PRESET_KEYS) | sendable,
        "_save_preset": st.just("1") | sendable,
        "_forget_preset": st.sampled_from(PRESET_KEYS) | sendable,
        "_preset_name": st.just("mine") | sendable,
        "_boxes": sendable,
    },
)
pairs = st.builds(
    lambda good, evil: [*good.items(), *evil],
    st.just({}) | plausible | st.just(GOOD),
    st.lists(st.tuples(names, sendable), max_size=4),
)
multiparts = pairs.map(lambda body: [pair for pair in body if pair[0] and pair[0].isprintable()])
"""Without the names that tornado takes for no header of a part."""

bodies = st.tuples(pairs, st.just(False)) | st.tuples(multiparts, st.just(True))
"""What is posted, and whether as multipart."""


def hostile(quick: int, full: int) -> Any:
    """How many bodies: 600 and 10,000 in all."""
    return settings(
        max_examples=full if IS_FULL else quick,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def lists(body: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The body as JupyterHub passes it on."""
    found: dict[str, list[str]] = {}
    for name, text in body:
        found.setdefault(name, []).append(text)
    return found


# -- what comes back


class Page(HTMLParser):
    """Elements of a page: how many of each, their attributes' names, inputs by id, texts by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.inputs: dict[str, dict[str, str | None]] = {}
        self.texts: dict[str, str] = {}
        self.scripts: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(re.sub(r'xsrf_token: "[^"]*"', "", text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        self.attributes |= set(given)
        if tag in ("input", "select"):
            self.inputs[given.get("id") or given.get("name") or ""] = given
        if tag == "option" and "selected" in given:
            self.inputs[self._within("select")]["value"] = given.get("value")
        if tag not in VOID:
            self._open.append((tag, given.get("id") or ""))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "script":
            self.scripts[-1] += data
        for _, key in self._open:
            if key:
                self.texts[key] = self.texts.get(key, "") + data

    def _within(self, tag: str) -> str:
        return next(key for name, key in reversed(self._open) if name == tag)

    def message(self, option: str) -> str:
        return self.texts.get(f"error-{option}", "").strip()

    def value(self, option: str) -> str | None:
        return self.inputs.get(f"option-{option}", {}).get("value")


VOID = {"input", "img", "meta", "link", "br", "hr", "col", "source"}
TAGS = {
    *(
        "html",
        "head",
        "body",
        "title",
        "meta",
        "link",
        "script",
        "style",
        "noscript",
        "div",
        "span",
        "p",
        "b",
    ),
    *(
        "form",
        "fieldset",
        "legend",
        "label",
        "input",
        "select",
        "option",
        "optgroup",
        "button",
        "details",
        "i",
    ),
    *(
        "summary",
        "ul",
        "li",
        "a",
        "nav",
        "img",
        "br",
        "h1",
        "h2",
        "code",
        "svg",
        "path",
        "main",
        "header",
        "footer",
    ),
}
ATTRIBUTES = {
    *(
        "id",
        "name",
        "value",
        "type",
        "class",
        "style",
        "href",
        "src",
        "rel",
        "for",
        "method",
        "action",
        "alt",
    ),
    *(
        "placeholder",
        "autocomplete",
        "spellcheck",
        "selected",
        "checked",
        "disabled",
        "hidden",
        "min",
        "max",
        "step",
    ),
    *("role", "tabindex", "title", "lang", "charset", "content", "media", "enctype", "open", "size", "label"),
    *("autofocus", "maxlength", "formaction", "formnovalidate", "defer", "height", "width", "integrity"),
    *("http-equiv", "crossorigin", "onsubmit", "onclick"),
}
PREFIXES = ("aria-", "hx-", "data-")


def well_made(answer: httpx.Response, benign: Page | None = None) -> Page:
    """The answer's elements; fails when anything in it isn't from a template."""
    page = Page(answer.text)
    assert set(page.count) <= TAGS, set(page.count) - TAGS
    strange = {name for name in page.attributes if name not in ATTRIBUTES and not name.startswith(PREFIXES)}
    assert not strange, strange
    assert not any(0xD800 <= ord(char) <= 0xDFFF or char == "\x00" for char in answer.text)
    if benign:
        for tag in ("script", "style", "img", "form", "link", "meta", "i", "svg"):
            assert page.count.get(tag) == benign.count.get(tag), tag
        assert page.scripts == benign.scripts
    return page


V100 = {"0", "v100:1", "v100:2"}
KNL_GPUS = {*map(str, range(7)), *(f"a100:{n}" for n in range(1, 5)), "k80:1", "k80:2"}


def holds(options: Mapping[str, Any]) -> None:
    """Fails for options that alice may not have."""
    assert options.keys() == FORM.fields.keys()
    assert (options["never"], options["fixed"]) == ("x", 3)
    assert options["cluster"] in ("summit", "blanca")
    assert options["threads"] is None or 1 <= options["threads"] <= 64
    assert options["licence"] in ("none", "matlab", None)
    for name in ("feature", "remark", "secret", "account", "partition", "qos", "reservation"):
        assert options[name] is None or options[name].isprintable()
    assert (options["memory"] or 1) in range(1, 12289) and (options["nodes"] or 1) in range(1, 5)
    if options["cluster"] == "summit":
        on_summit(options)


def on_summit(options: Mapping[str, Any]) -> None:
    """The same according to her rights, written a second time, independently."""
    partition, account, qos = (options[name] for name in ("partition", "account", "qos"))
    assert (partition, account) in {
        ("shas", "general"),
        ("shas", "knl"),
        ("sknl", "knl"),
        ("lesson", "general"),
        ("lesson", "knl"),
    }
    assert qos in {"general": {"normal", "debug", "long"}, "knl": {"normal", "debug"}}[account]
    assert options["reservation"] in ({"workshop"} if partition == "lesson" else {"workshop", None})
    assert partition != "sknl" or options["reservation"] is None
    assert options["gpus"] in {"shas": V100, "lesson": V100, "sknl": KNL_GPUS}[partition]
    most = {"normal": 1440, "long": 7 * 1440, "debug": 60}[qos]
    most = min(most, {"shas": 7 * 1440, "sknl": 1440, "lesson": 240}[partition])
    assert (options["runtime"] or 1) in range(1, most + 1)
    cores = (options["cpus"] or 1) * (options["ntasks"] or options["nodes"] or 1)
    limit = 4 if qos == "debug" else {"shas": 16, "sknl": 64, "lesson": 8}[partition]
    assert cores <= limit
    assert (options["environment"] == "knl") <= (partition == "sknl")
    assert options["environment"] != "torch" or options["gpus"] != "0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def benign(alice: Visitor) -> Page:
    """The page after a harmless request."""
    return Page((await alice.page()).text)


async def sent(alice: Visitor, path: str, body: list[tuple[str, str]], multipart: bool, **more: Any) -> Any:
    whole = [*body, ("_xsrf", alice.xsrf)]
    if multipart:
        given: dict[str, Any] = {"files": [(name, (None, text)) for name, text in whole], **more}
    else:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **more.pop("headers", {})}
        given = {"content": urlencode(whole), "headers": headers}
    return await alice.http.post(path, **given)


async def verdict(body: Mapping[str, Any], alice: Visitor, *, from_page: bool = True) -> dict[str, str]:
    """The form's messages for the body, {} if it accepts it."""
    try:
        await FORM.parse(body, summit.context("alice"), from_page=from_page)
    except OptionsRefused as refused:
        return refused.messages
    return {}


@hostile(200, 3500)
@given(bodies)
async def test_any_body_posted_to_the_page_starts_what_alice_may_or_returns_messages(
    alice: Visitor, benign: Page, body_and_way: tuple[list[tuple[str, str]], bool]
) -> None:
    Pretending.started.clear()
    body, multipart = body_and_way
    answer = await sent(alice, "/hub/spawn/alice", body, multipart)
    event(str(answer.status_code))
    assert answer.status_code in (400, STARTED), answer.text
    if answer.status_code == STARTED:
        [options] = Pretending.started
        holds(options)
        return
    assert Pretending.started == []
    page, posted = well_made(answer, benign), lists(body)
    for name, message in (await verdict(posted, alice)).items():
        if name in FORM.fields and f"option-{name}" in page.inputs and name != "secret":
            assert page.message(name) == message
        elif name in FORM.fields:
            assert message in page.texts["flatirons-problems"]
    for name in TYPED:
        if len(posted.get(name, [])) == 1:
            assert page.value(name) == printable(posted[name][0])


@hostile(80, 1500)
@given(pairs.map(lambda body: [pair for pair in body if len(pair[1]) < 5000]), st.booleans())
async def test_any_link_fills_the_form_in_and_starts_nothing(
    alice: Visitor, benign: Page, body: list[tuple[str, str]], has_prefix: bool
) -> None:
    Pretending.started.clear()
    prefix = "opt-" if has_prefix else ""
    query = urlencode([(f"{prefix}{name}", text) for name, text in body])
    answer = await alice.page(query=f"?{query}")
    event(str(answer.status_code))
    assert answer.status_code in (200, 422), answer.text
    assert Pretending.started == []
    if answer.status_code == 200:
        well_made(answer, benign)


@hostile(60, 1500)
@given(st.one_of(plausible, st.dictionaries(names | texts, jsons, max_size=6), jsons), st.booleans())
async def test_any_json_by_rest_starts_what_alice_may_or_is_refused_with_a_sentence(
    alice: Visitor, body: Any, is_wrapped: bool
) -> None:
    Pretending.started.clear()
    answer = await alice.rest({"user_options": body, "display_name": "x"} if is_wrapped else body)
    event(str(answer.status_code))
    assert answer.status_code in (400, STARTED), answer.text
    assert answer.json()["message"].isprintable()
    assert len(Pretending.started) == (answer.status_code == STARTED)
    for options in Pretending.started:
        holds(options)


@hostile(200, 2500)
@given(bodies, clicks, st.booleans())
async def test_any_body_posted_while_choosing_renders_the_form_again(
    hub: JupyterHub,
    alice: Visitor,
    benign: Page,
    body_and_way: tuple[list[tuple[str, str]], bool],
    clicked: dict[str, str],
    is_live: bool,
) -> None:
    Pretending.started.clear()
    body, multipart = body_and_way
    headers = {"HX-Request": "true"} if is_live else {}
    answer = await sent(alice, "/hub/flatirons/form", [*body, *clicked.items()], multipart, headers=headers)
    assert answer.status_code == 200, answer.text
    page = well_made(answer, None if is_live else benign)
    assert ("html" in page.count) != is_live
    assert Pretending.started == [] and not hub.users["alice"].active
    own = FormHooks.of(hub.users["alice"].spawner)._presets.saved("alice")  # type: ignore[union-attr]
    assert len(own) <= MOST_SAVED
    posted = lists([*body, *clicked.items()])
    if "_preset" not in posted:
        for name in TYPED:
            if len(posted.get(name, [])) == 1:
                assert page.value(name) == printable(posted[name][0])


@hostile(60, 1000)
@given(bodies)
async def test_any_body_asked_for_an_estimate_gets_a_sentence_or_nothing(
    alice: Visitor, slurm: FakeSlurm, body_and_way: tuple[list[tuple[str, str]], bool]
) -> None:
    slurm.calls.clear()
    answer = await sent(alice, "/hub/flatirons/estimate", *body_and_way)
    assert answer.status_code == 200, answer.text
    page = well_made(answer)
    assert set(page.count) <= {"p", "span", "div", "button"}
    event(f"Slurm was asked {len(slurm.calls)} times")
    for call in slurm.calls:
        assert call.command == "sbatch" and "--test-only" in call.argv
        assert all(word.startswith("--") and word.isprintable() for word in call.argv[1:])
        assert not [word for word in call.argv if word.startswith(("--uid", "--wrap"))]


# -- what hypothesis would rarely generate


@pytest.mark.parametrize("path", ["/hub/flatirons/form", "/hub/flatirons/estimate"])
@pytest.mark.parametrize("body", [b"remark=%ff%fe", b"%ff=1", b"remark=\xc3\x28"])
async def test_what_isnt_utf_8_is_refused_by_the_forms_own_calls(
    alice: Visitor, path: str, body: bytes
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-XSRFToken": alice.xsrf}
    answer = await alice.http.post(path, content=body, headers=headers)
    assert answer.status_code in (200, 400)
    well_made(answer)


async def test_what_isnt_utf_8_is_jupyterhubs_500_on_its_own_page_and_starts_nothing(alice: Visitor) -> None:
    """SpawnHandler decodes the body before it calls any hook of a spawner's (handlers/pages.py, 6.1)."""
    Pretending.started.clear()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-XSRFToken": alice.xsrf}
    answer = await alice.http.post("/hub/spawn/alice", content=b"remark=%ff", headers=headers)
    assert answer.status_code == 500
    assert (await alice.page(query="?opt-remark=%ff")).status_code == 500
    assert Pretending.started == []


async def test_a_megabyte_of_text_is_refused_at_its_field(alice: Visitor, benign: Page) -> None:
    for name in ("remark", "feature", "account", "cpus", "runtime", "memory", "gpus", "environment"):
        answer = await sent(alice, "/hub/spawn/alice", [(name, "x<" * 500_000)], False)
        page = well_made(answer, benign)
        assert answer.status_code == 400
        assert page.message(name), name
        assert len(answer.text) < 200_000


async def test_hundreds_of_keys_are_refused_with_one_sentence(alice: Visitor, benign: Page) -> None:
    answer = await sent(alice, "/hub/spawn/alice", [(f"k{n}", "<b>") for n in range(900)], False)
    assert answer.status_code == 400
    assert "Too many options were sent: 901." in well_made(answer, benign).texts["flatirons-problems"]


@pytest.mark.parametrize("path", ["/hub/spawn/alice", "/hub/flatirons/form", "/hub/flatirons/estimate"])
async def test_a_body_that_isnt_a_forms_is_refused_before_any_handler_runs(alice: Visitor, path: str) -> None:
    """Tornado refuses it, with the page and the cookie of a stranger; the next page sets a new cookie."""
    thousands = await sent(alice, path, [(f"k{n}", "<b>") for n in range(5000)], False)
    well_made(thousands)
    await alice.page()
    broken = {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    garbage = await alice.http.post(path, **broken)  # type: ignore[arg-type]
    well_made(garbage)
    await alice.page()
    assert (thousands.status_code, garbage.status_code) == (400, 400)


@pytest.mark.parametrize("depth", [50, 500, 800, 900, 950, 990])
async def test_deeply_nested_json_is_refused(alice: Visitor, depth: int) -> None:
    body = b'{"cpus": ' + b"[" * depth + b"]" * depth + b"}"
    answer = await alice.rest(body)
    assert answer.status_code == 400, answer.text


async def test_another_users_account_partition_and_reservation_are_refused_at_their_fields(
    alice: Visitor, benign: Page
) -> None:
    theirs = {"account": "bobs", "partition": "bobs", "reservation": "bobsday", "runtime": "8d"}
    for name, text in theirs.items():
        body = {**GOOD, "threads": "7", name: text}
        page = well_made(await alice.post(body), benign)
        assert page.message(name), name
        assert page.value("threads") == "7"
        refused = await alice.rest({**GOOD, name: text})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith(f"{name}: {page.message(name)}"), refused.text


async def test_many_hostile_posts_at_once_each_get_their_own_page(alice: Visitor, benign: Page) -> None:
    evil = [text for text in NASTY if len(text) < 900 and "\ud800" not in text]
    answers = await asyncio.gather(*(alice.post({"remark": text, "cpus": "x"}) for text in evil))
    for text, answer in zip(evil, answers, strict=True):
        assert well_made(answer, benign).value("remark") == printable(text)


@settings(max_examples=300, deadline=None)
@given(plausible)
async def test_what_the_page_shows_without_a_message_is_accepted(body: dict[str, str]) -> None:
    """Except empty required fields, which have no message while the user is choosing."""
    context = summit.context("alice")
    answers = await FORM.answers(body, context, from_page=True, live=True)
    shown = {}
    for answer in answers:
        value = answer.given if answer.rules.choices is None else answer.value
        if not (answer.rules.is_fixed or answer.message):
            shown[answer.field.name] = text_of(answer.field, value)
    if any(answer.message for answer in answers):
        return
    again = await FORM.answers(shown, context)
    assert {answer.field.name for answer in again if answer.message and shown.get(answer.field.name)} == set()


@settings(max_examples=300, deadline=None)
@given(plausible)
async def test_accepted_options_are_the_same_by_link_by_rest_and_at_the_next_start(
    body: dict[str, str],
) -> None:
    context = summit.context("alice")
    try:
        options = await FORM.parse(lists(list(body.items())), context)
    except OptionsRefused:
        return
    link = parse_qs(FORM._query(await FORM.answers(options, context)), keep_blank_values=True)
    posted = {name.removeprefix("opt-"): values for name, values in link.items()}
    assert await FORM.parse(posted, context, from_page=False) == options
    assert await FORM.check(options, context) == options
    assert await FORM.initial(options, context) == options


async def test_a_link_with_only_the_pages_own_keys_fills_nothing_in(alice: Visitor) -> None:
    page = await alice.page(query="?opt-_boxes=x&opt-_preset=last")
    assert "Filled in from the link" not in page.text


@pytest.mark.parametrize("key", ["_boxes", "_preset", "_save_preset", "_forget_preset", "_preset_name"])
async def test_rest_refuses_the_pages_own_keys(alice: Visitor, key: str) -> None:
    answer = await alice.rest({**GOOD, key: "x"})
    assert answer.status_code == 400
    assert f'There is no option "{key}"' in answer.json()["message"]
