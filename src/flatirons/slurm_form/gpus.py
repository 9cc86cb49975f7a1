"""GPUs on each node, as the form takes them: a count with or without a type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from flatirons.errors import Refusal, quoted
from flatirons.forms import Choice, Text
from flatirons.forms.fields import as_text
from flatirons.forms.values import Value

_GPUS = re.compile(r"(?:([A-Za-z0-9_][A-Za-z0-9_.-]*):)?([0-9]{1,4})")


@dataclass(frozen=True, eq=False)
class Gpus(Text):
    """GPUs on each node: `0`, `2`, or of one type, `v100:2`. The value is such a text; bounds are counts."""

    _: KW_ONLY
    longest: int = 64
    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        """The text in its shortest form: `v100:02` gives `v100:2`, no GPUs of a type give `0`."""
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        text = as_text(given, self.longest)
        match = _GPUS.fullmatch(text)
        if match is None:
            raise Refusal(f"{quoted(text)} isn't a number of GPUs. Write 0, 1, or with a type, v100:2.")
        kind, count = match[1], int(match[2])
        return f"{kind}:{count}" if kind and count else str(count)

    def measure(self, value: Value) -> Value:
        """The count, of whatever type."""
        return int(str(value).rpartition(":")[2])

    def in_words(self, value: Value) -> str:
        """`2`, or with a type, `2 v100`; `none` for 0."""
        kind, _, count = str(value).rpartition(":")
        return f"{count} {kind}".strip() if count != "0" else "none"

    def chosen(self, given: object, choices: Sequence[Choice]) -> Value | None:
        """The choice that is meant. A count without a type means the one type that is offered."""
        value = super().chosen(given, choices)
        if value is not None or not re.fullmatch("[0-9]{1,4}", str(given)):
            return value
        meant = [each.value for each in choices if each.value.rpartition(":")[2] == str(int(str(given)))]
        return meant[0] if len(meant) == 1 else None


def job_attributes(value: Value) -> Mapping[str, int | str]:
    """The attributes of a JobSpec that ask for these GPUs."""
    kind, _, count = str(value).rpartition(":")
    return {"gpus": int(count or 0), "gpu_type": kind}
