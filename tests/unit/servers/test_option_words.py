"""Options as users read them: in words, with the labels of the form."""

from __future__ import annotations

import pytest

from flatirons.forms import Checkbox, Field, Integer, Memory, Select, Text
from flatirons.servers.option_words import in_a_row, phrase


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("memory", "16000M", "16 GB of memory"),
        ("mem_per_cpu", "2G", "2 GB of memory for each core"),
        ("runtime", "2:00:00", "2 hours"),
        ("cpus", "1", "1 core"),
        ("cpus", "4", "4 cores"),
        ("gpus", "1", "1 GPU"),
        ("gpus", "v100:2", "2 v100 GPUs"),
        ("gpus", "0", "no GPU"),
        ("nodes", "2", "2 nodes"),
        ("ntasks", "8", "8 tasks"),
    ],
)
def test_amounts_are_said_with_what_they_are_of(name: str, text: str, words: str) -> None:
    assert phrase(name, text) == words


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        (Text("partition", "Partition"), "shas", "partition shas"),
        (Text("qos", "QOS"), "long", "QOS long"),
        (Select("tier", "Tier", choices=[("a", "Fast disks")]), "a", "tier Fast disks"),
        (Memory("scratch", "Scratch space"), "10G", "scratch space 10 GB"),
        (Checkbox("exclusive", "Whole node"), "on", "whole node"),
        (Checkbox("exclusive", "Whole node"), "off", "no whole node"),
        (Integer("licences", ""), "3", "licences 3"),
        (Text("runtime", "Run time"), "as long as it takes", "run time as long as it takes"),
    ],
)
def test_other_options_have_the_label_of_their_form(field: Field, text: str, words: str) -> None:
    assert phrase(field.name, text, field) == words


def test_a_name_is_said_as_its_title() -> None:
    assert phrase("environment", "py313", Text("environment", "Environment"), "Python 3.13") == (
        "environment Python 3.13"
    )


def test_without_a_form_the_name_stands_for_the_label() -> None:
    assert phrase("some_thing", "7") == "some thing 7"


def test_several_are_said_in_a_row() -> None:
    assert (in_a_row([]), in_a_row(["a"]), in_a_row(["a", "b"])) == ("", "a", "a and b")
    assert in_a_row(["a", "b", "c"]) == "a, b and c"
