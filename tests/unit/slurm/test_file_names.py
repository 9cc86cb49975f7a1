"""Paths in options of sbatch and in lines #SBATCH, read back as Slurm's own sources read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.slurm import argv

PATHS = [
    "/home/ann smith/x.log",
    "/home/100%j/%%/%u.log",
    '/home/o\'brien/"x"#1.log',
    "/home/a,b:c;d$HOME`id`/x.log",
    "/home/münchen/日本/🙂.log",
    "/home/" + "very-long/" * 300 + "x.log",
    "/home/tab and  two blanks /x",
    "/home/%10j%5",
    "/home/%",
]
paths = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).map("/{}".format)


def expand(pattern: str) -> str:
    """The file that Slurm opens for --output, where no character of the pattern is a backslash.

    As _create_batch_fname of slurmd/common/fname.c (22.05 to 25.11) and expand_stdio_fields of
    common/print_fields.c (26.05): %% is a percent sign, and what follows another one is replaced.
    """
    assert "\\" not in pattern
    found, letters = "", iter(pattern)
    for letter in letters:
        after = next(letters, "") if letter == "%" else ""
        found += letter if letter != "%" or after == "%" else "(replaced)"
    return found


@pytest.mark.parametrize("path", PATHS)
def test_slurm_writes_to_the_very_path(path: str) -> None:
    assert expand(argv.output_file(path)) == path


@given(paths)
def test_any_path_is_meant_literally_or_has_no_value(path: str) -> None:
    value = argv.output_file(path)
    assert expand(value) == path if value else "\\" in path


def get_argument(line: str) -> list[str]:
    """The words of a line #SBATCH, as get_argument of sbatch/opt.c reads them."""
    words, word, quote, escaped, begun = [], "", "", False, False
    letters = list(line)
    while letters:
        letter = letters.pop(0)
        if escaped:
            escaped, word = False, word + letter
        elif letter == "\\":
            if letters and letters[0] == " ":
                word += letters.pop(0)
            else:
                escaped = True
        elif quote:
            quote, word = ("", word) if letter == quote else (quote, word + letter)
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter == "#":
            break
        elif letter.isspace() and letter.isascii():
            if word or begun:
                words.append(word)
            word, begun = "", False
        else:
            word += letter
    assert not quote, "sbatch ends with: Unmatched quote"
    return [*words, word] if word or begun else words


@pytest.mark.parametrize("path", [*PATHS, r"/home/DOM\ann/x", "\\", "\\ ", '\\"', "a\\\\ b"])
def test_sbatch_reads_one_word_from_a_directive(path: str) -> None:
    assert get_argument(f"-o {argv.directive(path)}") == ["-o", path]


@given(paths)
def test_any_word_survives_a_directive(path: str) -> None:
    assert get_argument(argv.directive(path)) == [path]


@pytest.mark.parametrize("path", ["/a\nb", "/a\0b", "/a\x7fb", "/a\udce9b"])
def test_a_path_that_no_line_can_hold_is_refused(path: str) -> None:
    for function in (argv.output_file, argv.directive):
        with pytest.raises(ValueError, match="control character"):
            function(path)
