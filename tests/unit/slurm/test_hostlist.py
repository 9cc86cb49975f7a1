"""Lists of hosts as Slurm writes them, and the names in them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.hostlist import expanded


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("login", ("login",)),
        ("c[1-3,07-08],login,gpu[9]", ("c1", "c2", "c3", "c07", "c08", "login", "gpu9")),
        ("login[1-2]-ib", ("login1-ib", "login2-ib")),
        ("login[1-2].example.org,hub", ("login1.example.org", "login2.example.org", "hub")),
        ("r[1-2]n[1-2]", ("r1n1", "r1n2", "r2n1", "r2n2")),
        ("c[09-11]", ("c09", "c10", "c11")),
        ("a,,b,", ("a", "b")),
    ],
)
def test_a_list_of_hosts_gives_every_name(text: str, names: tuple[str, ...]) -> None:
    assert expanded(text) == names


@pytest.mark.parametrize(
    "text",
    ["c[1-99999999]", "c[1-1000][1-1000][1-1000]", "c[1-", "c]", "c[a-b]", "c[1-2-3]", "c[,]"],
)
def test_a_list_that_makes_no_sense_is_not_an_answer(text: str) -> None:
    with pytest.raises(SlurmUnreachable):
        expanded(text)


@given(st.text(alphabet="ab1,[]-0", max_size=20))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(SlurmUnreachable):
        expanded(text)
