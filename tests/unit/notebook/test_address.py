"""What `flatirons notebook` prints for people to type, with names that a shell or a browser would misread."""

from __future__ import annotations

import shlex
from urllib.parse import parse_qs, urlsplit

import pytest

from flatirons.notebook.address import ServerAddress
from flatirons.notebook.record import Record

SERVER = ServerAddress("shas0101", 30007, 30007)


def test_ordinary_names_are_printed_as_people_know_them() -> None:
    assert SERVER.ssh_line("ann", "login.example.org") == "ssh -L 30007:shas0101:30007 ann@login.example.org"


@pytest.mark.parametrize("user", [r"DOM\ann", "ann smith", "o'brien", "$USER", "ann@example.org", "änn"])
def test_a_shell_reads_the_users_name_as_it_is(user: str) -> None:
    words = shlex.split(SERVER.ssh_line(user, "login"))
    assert words == ["ssh", "-L", "30007:shas0101:30007", f"{user}@login"]


def test_an_ipv6_address_is_in_brackets_as_ssh_reads_it() -> None:
    line = ServerAddress("fd00::7", 30007, 9000).ssh_line("ann", "login")
    assert shlex.split(line)[2] == "9000:[fd00::7]:30007"


@pytest.mark.parametrize(
    ("page", "path", "query"),
    [
        ("/lab", "/lab", {}),
        ("/lab/tree/My notes/é.ipynb", "/lab/tree/My%20notes/%C3%A9.ipynb", {}),
        ("/lab/tree/My%20notes.ipynb", "/lab/tree/My%20notes.ipynb", {}),
        ("/lab?reset&simple=1", "/lab", {"simple": ["1"]}),
        ("/lab#part", "/lab", {}),
    ],
)
def test_the_token_is_in_the_query_of_whatever_page_opens_first(
    page: str, path: str, query: dict[str, list[str]]
) -> None:
    record = Record("1", "summit", "python", page, "t0ken")
    url = urlsplit(SERVER.url(record))
    assert (url.netloc, url.path) == ("localhost:30007", path)
    assert parse_qs(url.query) == {**query, "token": ["t0ken"]}
