"""Times and amounts of memory, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons import units
from flatirons.errors import Refusal


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90m", 90),
        ("90 min", 90),
        ("2h", 120),
        ("1h30m", 90),
        ("1h 30m", 90),
        ("1d", 1440),
        ("1d12h", 2160),
        ("2:00:00", 120),
        ("0:00:01", 1),
        ("1:30:00", 90),
        ("36:00:00", 2160),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:00:00", 2160),
        ("0-0:0:0", 0),
        (" 2H ", 120),
    ],
)
def test_a_time_is_read_as_slurm_reads_it(text: str, minutes: int) -> None:
    assert units.minutes(text) == minutes


@pytest.mark.parametrize(
    "text",
    ["", "m", "-5", "1.5h", "1:60:00", "1:00:60", "soon", "1:2:3:4", "2h1d", "٣", "1-", "1:", "UNLIMITED"],
)
def test_an_invalid_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(Refusal, match=r"isn't a time"):
        units.minutes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("3600", 3600), ("90.5", 90.5), ("90s", 90), ("15 sec", 15), ("30m", 1800), ("1h30m15s", 5415)),
        *(("2:00:00", 7200), ("0:00:30", 30), ("1-12:00:05", 129605), ("1d 12h", 129600)),
    ],
)
def test_seconds_are_exact_and_a_number_alone_is_seconds(text: str, seconds: float) -> None:
    assert units.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "soon", "1.5s", "5s 1h", "1:00:00 5s", "-1"])
def test_invalid_seconds_are_refused_with_how_to_write_a_time(text: str) -> None:
    with pytest.raises(Refusal, match=r"isn't a time"):
        units.seconds(text)


def test_two_numbers_could_mean_hours_or_minutes_and_are_not_guessed() -> None:
    with pytest.raises(Refusal, match=r"Write 2:00:00 or 2m\."):
        units.minutes("2:00")


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [
        ("500", 500),
        ("500M", 500),
        ("4G", 4096),
        ("4 GB", 4096),
        ("4GiB", 4096),
        ("1.5g", 1536),
        ("1T", 1048576),
        ("1k", 1),
        ("2049K", 3),
        ("0", 0),
    ],
)
def test_memory_is_read_as_slurm_reads_it(text: str, mebibytes: int) -> None:
    assert units.mebibytes(text) == mebibytes


@pytest.mark.parametrize("text", ["", "G", "-4G", "4X", "1.5", "4 5G", "1e3M", "٤G", "4Gi b", "."])
def test_an_invalid_amount_of_memory_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(Refusal, match=r"isn't an amount of memory"):
        units.mebibytes(text)


@given(st.integers(0, 10**8))
def test_what_is_written_is_read_back(value: int) -> None:
    assert units.minutes(units.clock(value)) == value
    assert units.mebibytes(units.memory(value)) == value


@given(st.text(max_size=60))
def test_any_text_gives_a_number_or_a_refusal(text: str) -> None:
    for read in (units.minutes, units.mebibytes):
        try:
            assert read(text) >= 0
        except Refusal as refusal:
            assert str(refusal).isprintable()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1.2, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (120, "2 minutes"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (7260, "2 hours 1 minute"),
        (86400, "1 day"),
        (129600, "1 day 12 hours"),
        (90300, "1 day 1 hour 5 minutes"),
    ],
)
def test_a_time_span_is_written_in_words(seconds: float, words: str) -> None:
    assert units.time_in_words(seconds) == words


@pytest.mark.parametrize(
    ("mebibytes", "words"),
    [(0, "0 MB"), (500, "500 MB"), (1024, "1 GB"), (1536, "1.5 GB"), (16000, "16 GB"), (2**21, "2 TB")],
)
def test_an_amount_of_memory_is_written_in_words(mebibytes: int, words: str) -> None:
    assert units.memory_in_words(mebibytes) == words
