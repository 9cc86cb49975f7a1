"""Job scripts: no shell ever reads the text of an option."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatirons.job.script import StarterConfig, compose, notebook, quote

HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned #",
    '"\n touch pwned\n',
    "\\",
    "é∑🙂",
    "%s",
    "-x",
    "",
]
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def config_of(script: str) -> dict[str, object]:
    """The configuration that the starter gets: runs the head of the script in Python."""
    body = [script.split("\n")[2], "import json", "print(json.dumps(CONFIG))"]
    output = subprocess.run(
        [sys.executable, "-"], input="\n".join(body), capture_output=True, text=True, check=True
    )
    result: dict[str, object] = json.loads(output.stdout)
    return result


@pytest.mark.parametrize("word", HOSTILE)
def test_a_hostile_option_arrives_unchanged(word: str) -> None:
    script = notebook(
        StarterConfig(hub=word, code=word, command=[word], prologue=word, environment={"A": word})
    )
    config = config_of(script)
    assert (config["hub"], config["command"], config["environment"]) == (word, [word], {"A": word})


@given(words, st.lists(words))
def test_no_option_adds_a_line_to_the_script(code: str, command: list[str]) -> None:
    plain = notebook(StarterConfig(hub="h", code="c", command=[]))
    script = notebook(StarterConfig(hub="h", code=code, command=command))
    assert len(script.split("\n")) == len(plain.split("\n"))
    assert script.isascii() == plain.isascii()


def test_the_end_mark_of_the_starter_cannot_be_smuggled_in() -> None:
    with pytest.raises(ValueError, match="can't be part"):
        notebook(StarterConfig(hub="h", code="FLATIRONS_END_OF_STARTER", command=[]))


@given(st.lists(words.filter(lambda word: "\r" not in word), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_quoted_words_come_back_from_bash(argv: list[str]) -> None:
    script = quote(["printf", "%s\\0", *argv])
    output = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert output.decode().split("\0")[:-1] == argv


def test_a_script_ends_with_the_first_command_that_fails() -> None:
    script = compose("echo prologue", [["echo", "one"], ["false"], ["echo", "two"]])
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("prologue\none\n", 1)


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "nowhere_XX.ISO-8859-1"])
def test_paths_are_utf8_whatever_the_locale_of_the_job_is(locale: str) -> None:
    script = notebook(StarterConfig(hub="h", code="c", command=["/srv/∑/é.sif"]), sys.executable)
    head, rest = script.split("\n", 2)[:2], script.split("\n", 2)[2].split("\n")
    program = [rest[0], "import os", "os.write(1, os.fsencode(CONFIG['command'][0]))", rest[-2], ""]
    done = subprocess.run(
        ["bash"], input="\n".join([*head, *program]).encode(), env={"LC_ALL": locale}, capture_output=True
    )
    assert done.stdout.decode() == "/srv/∑/é.sif", done.stderr


def test_a_nul_character_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote(["a\0b"])
