"""The form's hooks on JupyterHub's own pages and REST API, with JupyterHub's own spawner."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Integer, Unicode
from traitlets.config import Config

from flatirons.forms import Checkbox, Form, Select, Text
from flatirons.forms import Integer as IntegerField
from flatirons.spawners.form.hooks import FormHooks
from tests.hub.hub_in_process import (
    JupyterHub,
    NoProxy,
    Visitor,
    configuration,
    message,
    running,
    selected,
    value,
)
from tests.unit.forms.test_hostile import NASTY
from tests.waiting import until

__all__ = ["NoProxy"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = Form(
    [
        Select("partition", "Partition", choices=["shas", "sknl"], default="shas"),
        IntegerField("nodes", "Nodes", minimum=1, maximum=4, default=1),
        Text(
            "account",
            "Account",
            must=lambda value, user: f"{user} has no account {value}." if value == "closed" else None,
        ),
        Checkbox("verbose", "Verbose", default=True),
    ]
)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'"


class AnySpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """JupyterHub's own local spawner, with two traits of options' names and one that breaks a start."""

    partition = Unicode("as configured").tag(config=True)
    nodes = Integer(7)
    account = Unicode()

    async def start(self) -> Any:
        if self.account == "broken":
            raise RuntimeError("this start was told to fail")
        return await super().start()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = configuration(spawner_class=AnySpawner, allow_named_servers=True)
    config.Spawner.cmd = [sys.executable, "-m", "jupyterhub.tests.mocksu"]
    config.SimpleLocalProcessSpawner.home_dir_template = str(tmp_path_factory.mktemp("hub") / "{username}")
    FormHooks(FORM).attach(config.Spawner)
    return config


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(config: Config) -> AsyncIterator[JupyterHub]:
    async with running(config) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub, request: pytest.FixtureRequest) -> AsyncIterator[Visitor]:
    visitor = await Visitor(hub, f"alice{abs(hash(request.node.name))}").log_in()
    yield visitor
    user = hub.users[visitor.name]
    for name, spawner in list(user.spawners.items()):
        if spawner.active:
            await user.stop(name)
    await visitor.http.aclose()


async def test_the_page_shows_the_form_with_its_defaults(alice: Visitor) -> None:
    page = await alice.page()
    assert page.status_code == 200
    assert (selected(page, "partition"), value(page, "nodes")) == ("shas", "1")
    assert "spawn-error-msg" not in page.text


async def test_a_good_post_starts_the_server_with_typed_options(alice: Visitor) -> None:
    answer = await alice.post({"partition": "sknl", "nodes": "3", "account": "csdms"})
    assert answer.status_code == 302, answer.text
    spawner = alice.spawner()
    assert spawner.active
    assert (spawner.partition, spawner.nodes, spawner.account) == ("sknl", 3, "csdms")
    assert spawner.user_options == {"partition": "sknl", "nodes": 3, "account": "csdms", "verbose": False}


@pytest.mark.parametrize("server", ["", "named"])
async def test_a_refused_post_returns_the_filled_in_form_with_messages_at_the_fields(
    alice: Visitor, server: str
) -> None:
    page = await alice.post({"partition": "sknl", "nodes": "99", "account": "csdms"}, server)
    assert page.status_code == 400
    assert message(page, "nodes") == "Must be between 1 and 4."
    assert (selected(page, "partition"), value(page, "account")) == ("sknl", "csdms")
    assert value(page, "nodes") == "99"
    assert not re.search(r'id="option-verbose"[^>]* checked', page.text)
    assert "spawn-error-msg" not in page.text
    assert alice.has_started_nothing()


async def test_rules_see_the_user(alice: Visitor) -> None:
    page = await alice.post({"account": "closed"})
    assert message(page, "account") == f"{alice.name} has no account closed."


async def test_a_request_doesnt_see_what_another_posted(alice: Visitor) -> None:
    await alice.post({"account": "one", "nodes": "0"}, "named")
    page = await alice.page()
    assert (value(page, "account"), message(page, "nodes")) == ("", "")


async def test_two_bad_posts_at_once_each_get_their_own_values(alice: Visitor) -> None:
    bodies = [{"account": f"account{n}", "nodes": "0"} for n in range(6)]
    pages = await asyncio.gather(*(alice.post(body, f"s{n}") for n, body in enumerate(bodies)))
    assert [value(page, "account") for page in pages] == [body["account"] for body in bodies]


async def test_hostile_text_comes_back_escaped(alice: Visitor) -> None:
    page = await alice.post({"account": HOSTILE, HOSTILE: HOSTILE, "partition": HOSTILE})
    assert page.status_code == 400
    assert "onerror" in page.text and "<img src=x" not in page.text


async def test_an_unknown_and_a_repeated_option_are_refused(alice: Visitor) -> None:
    page = await alice.post([("partitoin", "shas"), ("nodes", "1"), ("nodes", "2")])
    assert page.status_code == 400
    assert "Did you mean &#34;partition&#34;?" in page.text
    assert message(page, "nodes") == "Give one value, not 2."


async def test_an_uploaded_file_is_refused(alice: Visitor) -> None:
    file = {"account": ("evil.txt", b"x", "text/plain")}
    page = await alice.http.post(f"/hub/spawn/{alice.name}?_xsrf={alice.xsrf}", files=file)
    assert page.status_code == 400
    assert "There is no option &#34;account_file&#34;" in page.text


async def failed(alice: Visitor, body: dict[str, str], server: str) -> httpx.Response:
    """The page of a start that failed within a second.

    JupyterHub waits no longer before it sends the user on to the page of a start under way, so a busy machine
    may need several starts.
    """
    for _ in range(20):
        page = await alice.post(body, server)
        if page.status_code != 302:
            break
        await until(lambda: not alice.spawner(server).pending)
    return page


@pytest.mark.parametrize("server", ["", "named"])
async def test_a_failed_start_brings_the_form_back_filled_in(alice: Visitor, server: str) -> None:
    page = await failed(alice, {"partition": "sknl", "nodes": "2", "account": "broken"}, server)
    assert page.status_code == 500
    assert "spawn-error-msg" in page.text
    assert (selected(page, "partition"), value(page, "account")) == ("sknl", "broken")
    again = await alice.page(server)
    assert (selected(again, "partition"), value(again, "account")) == ("sknl", "broken")


@pytest.mark.parametrize("server", ["", "named"])
async def test_a_link_fills_the_form_in_and_starts_nothing(alice: Visitor, server: str) -> None:
    page = await alice.page(server, "?opt-partition=sknl&opt-nodes=3")
    assert page.status_code == 200
    assert (selected(page, "partition"), value(page, "nodes")) == ("sknl", "3")
    assert "Filled in from the link: Partition, Nodes. Nothing has been started." in page.text
    assert "spawn-error-msg" not in page.text
    assert alice.has_started_nothing()


async def test_a_link_gets_messages_only_for_its_own_mistakes(alice: Visitor) -> None:
    page = await alice.page(query="?opt-partition=evil&opt-nodes=2&opt-color=red")
    assert "isn&#39;t offered here" in message(page, "partition")
    assert "There is no option &#34;color&#34;" in page.text
    assert "Filled in from the link: Nodes." in page.text
    assert message(page, "account") == ""
    assert alice.has_started_nothing()


@pytest.mark.parametrize("query", ["?partition=sknl", "?_xsrf=whatever", "?utm_source=mail", "?opt-=x"])
async def test_no_link_of_any_kind_starts_a_server(alice: Visitor, query: str) -> None:
    assert (await alice.page(query=query)).status_code in (200, 422)
    assert alice.has_started_nothing()


async def test_a_form_that_a_link_filled_in_posts_the_users_changes(alice: Visitor) -> None:
    page = await alice.post({"partition": "shas", "nodes": "9"}, query="?opt-partition=sknl&opt-nodes=3")
    assert (selected(page, "partition"), value(page, "nodes")) == ("shas", "9")
    assert "Filled in from the link" not in page.text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"nodes": 99}, "nodes: Must be between 1 and 4."),
        ({"nodes": "two"}, 'nodes: "two" isn\'t a whole number.'),
        ({"nodes": [1]}, "nodes: One line of text is expected here."),
        ({"nodes": {"a": 1}}, "nodes: One line of text is expected here."),
        ({"nodes": True}, "nodes: One line of text is expected here."),
        ({"partition": 5}, "partition: One line of text is expected here."),
        ({"color": "red"}, 'color: There is no option "color".'),
        ({"account": "100%s\n"}, "account: It holds invisible characters"),
        ({"account": "x" * 1_000_000}, "account: Too long: at most 256 characters, not 1,000,000."),
        ({f"k{n}": n for n in range(5000)}, "options: Too many options were sent: 5,000."),
    ],
)
async def test_rest_gets_the_same_sentences_as_the_page_and_starts_nothing(
    alice: Visitor, body: dict[str, Any], sentence: str
) -> None:
    answer = await alice.rest(body)
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]
    assert alice.has_started_nothing()


async def test_rest_accepts_typed_values_and_texts_and_fills_in_defaults(alice: Visitor) -> None:
    answer = await alice.rest({"nodes": "2", "verbose": False, "account": None}, "typed")
    assert answer.status_code == 201, answer.text
    spawner = alice.spawner("typed")
    assert spawner.user_options == {"partition": "shas", "nodes": 2, "account": None, "verbose": False}


async def test_an_option_left_empty_leaves_the_trait_as_configured(alice: Visitor) -> None:
    user = alice.hub.users[alice.name]
    await alice.post({"partition": "sknl", "nodes": "3"})
    await user.stop()
    await alice.post({"partition": "", "nodes": ""})
    assert (alice.spawner().partition, alice.spawner().nodes) == ("as configured", 7)


async def test_invalid_options_in_the_database_neither_break_the_form_nor_start_a_server(
    alice: Visitor,
) -> None:
    stored = {"nodes": [[]], "account": "\ud800", "partition": HOSTILE, "__jupyterhub_x": 1}
    alice.spawner().orm_spawner.user_options = stored  # by an earlier release
    alice.hub.db.commit()
    page = await alice.page()
    assert (page.status_code, selected(page, "partition"), value(page, "nodes")) == (200, "shas", "1")
    assert (await alice.rest(b"")).status_code == 400
    assert alice.has_started_nothing()


async def test_a_refusal_is_one_line_in_the_log(alice: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    await alice.post({"nodes": "99"})
    await alice.rest({"nodes": 98})
    await alice.page(query="?opt-nodes=2")
    records = [record for record in caplog.records if "No server is started" in record.message]
    assert [record.levelname for record in records] == ["INFO"] * 3
    assert not any(record.exc_info for record in caplog.records)


async def test_lone_surrogates_in_options_are_refused(alice: Visitor) -> None:
    answer = await alice.rest(b'{"account": "\\ud800", "\\udfff": 1}')
    assert answer.status_code == 400
    assert "account: It holds invisible characters" in answer.json()["message"]


async def test_hostile_requests_cause_no_error_of_the_hub_and_start_nothing(alice: Visitor) -> None:
    for text in (evil for evil in NASTY if evil.strip() != "shas"):
        for option in ("nodes", "partition"):
            assert (await alice.rest({option: text})).status_code == 400, (option, text)
            if "\ud800" in text:
                continue
            assert (await alice.post({option: text, "nodes": text})).status_code == 400, (option, text)
            if len(text) < 10_000:
                query = "?" + urlencode({f"opt-{option}": text})
                assert (await alice.page(query=query)).status_code == 200, (option, text)
        assert alice.has_started_nothing()
