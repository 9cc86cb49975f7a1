"""The records that scontrol and sacctmgr print -> their values by key; pure.

scontrol prints the values of a record as they are: a comment may hold line breaks, and any text may look like
`Key=value`. So a record isn't a line, and a word isn't a value. What holds from Slurm 22.05 to 26.05 is the
order: what Slurm itself computes comes first, and free text (reason, comment ...) at the end. Source:
node_info.c, partition_info.c and reservation_info.c in Slurm's src/api. `--json` would be free of this, but
scontrol has it only since 23.02, and only where Slurm was built with a JSON library.

A text that can't be read completely raises SlurmUnreachable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.parse import NO_ANSWER

_KEY = re.compile(r"(?:^|(?<=\s))([A-Za-z][\w/:]*)=")


@dataclass(frozen=True)
class Layout:
    """How scontrol prints one kind of record.

    `first` is the key that each record begins with, and every record has the keys `always`. The values of
    `texts` may hold blanks: each ends where one of the given keys comes next. At the first key of `free`,
    only free text follows; that of `broken` may hold line breaks.
    """

    first: str
    always: frozenset[str]
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODE = Layout(
    "NodeName",
    _words("CPUTot RealMemory State CfgTRES AllocTRES"),
    {
        "AvailableFeatures": _words("ActiveFeatures"),
        "ActiveFeatures": _words("Gres"),
        "OS": _words("RealMemory"),
        "Owner": _words("MCS_label"),
        "MCS_label": _words("NextState Partitions BootTime"),
    },
    _words(
        "Reason Comment Extra InstanceId InstanceType ReservationName TLSCertTokenSet Topology Parameters"
    ),
    _words("Comment Extra InstanceId InstanceType Parameters"),
)
PARTITION = Layout(
    "PartitionName",
    _words("State"),
    {
        "AllowGroups": _words("AllowAccounts DenyAccounts"),
        "AllowAccounts": _words("AllowQos DenyQos"),
        "DenyAccounts": _words("AllowQos DenyQos"),
        "AllowQos": _words("AllocNodes"),
        "DenyQos": _words("AllocNodes"),
        "AllocNodes": _words("Alternate Default"),
        "Alternate": _words("Default"),
        "QoS": _words("DefaultTime"),
        "NodeSets": _words("Nodes"),
        "Nodes": _words("PriorityJobFactor"),
        "Topology": _words("State"),
        "JobDefaults": _words("DefMemPerCPU DefMemPerNode"),
    },
    _words("TRESBillingWeights"),
)
RESERVATION = Layout(
    "ReservationName",
    _words("StartTime EndTime Nodes State"),
    {
        "ReservationName": _words("StartTime"),
        "Features": _words("PartitionName"),
        "PartitionName": _words("Flags"),
        "Flags": _words("TRES"),
        "AllowedPartitions": _words("QOS"),
        "QOS": _words("Users"),
        "Users": _words("Groups"),
        "Groups": _words("Accounts"),
        "Accounts": _words("Licenses"),
        "Licenses": _words("State"),
    },
    _words("BurstBuffer Comment"),
    _words("Comment"),
)


@dataclass(frozen=True, slots=True)
class TextRecord:
    """The values that Slurm itself computed, and the free text after them, "" where there is none."""

    values: Mapping[str, str]
    rest: str = ""


def records(text: str, layout: Layout) -> list[TextRecord]:
    """The records, in their order. A record that is quoted in the free text of another isn't one.

    When two have the same name, one of them is a quotation: then the one that doesn't follow free text
    counts, else the first.
    """
    refuse_cut(text)
    found: dict[str, tuple[bool, TextRecord]] = {}
    is_sure = True
    for record in _all_records(text, layout):
        name = record.values[layout.first]
        known = found.get(name)
        if known is None or (is_sure and not known[0]):
            found[name] = (is_sure, record)
        is_sure = not _may_break(record, layout)
    return [record for _, record in found.values()]


def _all_records(text: str, layout: Layout) -> Iterator[TextRecord]:
    """Each record begins with a line that begins with its first key, and has all that a record always has."""
    starts = [match.start() for match in re.finditer(rf"^{layout.first}=", text, re.MULTILINE)]
    if text[: starts[0] if starts else None].strip():
        raise _unreadable(text)
    parts = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    known: tuple[str, TextRecord] | None = None
    for part in parts:
        record = read(part, layout)
        if _is_whole(record, layout):
            if known:
                yield _checked(*known, layout)
            known = part, record
        elif known is None:
            raise _unreadable(text)
        else:  # a quotation, in the free text of the record before
            known = known[0].partition("\n")[0] + "\n" + part, known[1]
    if known:
        yield _checked(*known, layout)


def _checked(text: str, record: TextRecord, layout: Layout) -> TextRecord:
    """The record, if its lines after the first one can be free text."""
    line, _, more = text.partition("\n")
    if more.strip() and not _may_break(record, layout) and _is_whole(read(line, layout), layout):
        raise _unreadable(more)
    return record


def _may_break(record: TextRecord, layout: Layout) -> bool:
    """May the free text of the record hold line breaks?"""
    return any(key[1] in layout.broken for key in _KEY.finditer(record.rest.partition("\n")[0]))


def _is_whole(record: TextRecord, layout: Layout) -> bool:
    return layout.always <= record.values.keys()


def read(text: str, layout: Layout) -> TextRecord:
    """The values of one record, complete or not. When a key comes twice, the first one counts."""
    _, *parts = _KEY.split(text)
    keys, texts = parts[::2], parts[1::2]
    values: dict[str, str] = {}
    place, end = 0, len(keys)
    while place < end:
        key, after = keys[place], place + 1
        if key in layout.free:
            return TextRecord(values, _joined(keys, texts, place, end))
        ends = layout.texts.get(key)
        if ends:
            after = next((each for each in range(after, end) if keys[each] in ends), after)
            value = _joined(keys, texts, place, after)[len(key) + 1 :].strip()
        else:
            value = texts[place].partition(" ")[0].strip()
        values.setdefault(key, value)
        place = after
    return TextRecord(values)


def _joined(keys: Sequence[str], texts: Sequence[str], first: int, end: int) -> str:
    return "".join(f"{keys[each]}={texts[each]}" for each in range(first, end))


def rows(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of sacctmgr, whose values are separated by "|"; a name in them may hold a line break.

    Rows in which a name holds the separator are left out: nobody can tell their values apart.
    """
    refuse_cut(text)
    row = ""
    for line in text.split("\n")[:-1]:
        row = f"{row}\n{line}" if row else line
        values = row.split("|")
        if len(values) >= len(fields):
            row = ""
        if len(values) == len(fields):
            yield dict(zip(fields, values, strict=True))
    if row:
        raise SlurmUnreachable(NO_ANSWER, f"sacctmgr printed a line that can't be read: {row!r}")


def refuse_cut(text: str) -> None:
    """Raises SlurmUnreachable when the end of the text is missing."""
    if text and not text.endswith("\n"):
        raise SlurmUnreachable(NO_ANSWER, f"Slurm's answer is incomplete: ...{text[-200:]!r}")


def _unreadable(text: str) -> SlurmUnreachable:
    return SlurmUnreachable(NO_ANSWER, f"scontrol printed a text that can't be read: {text[:200]!r}")
