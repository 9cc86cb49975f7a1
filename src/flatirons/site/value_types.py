"""The types of values in a site file: each checks the text that an operator wrote, and normalizes it. Pure.

Each is a pydantic annotation. The text of a ValueError says what was expected; site.problems adds the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from flatirons.environments.catalogue import Bind
from flatirons.errors import ImageError
from flatirons.slurm import spelling

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
_HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_USER = re.compile(r"^[A-Za-z_][A-Za-z0-9_.@-]*\$?$")
_LISTED = re.compile(r"\w(?:[^\x00-\x1f\x7f:/]*[^\x00-\x20\x7f:/])?")


def seconds(value: Any) -> int:
    """The seconds of a text such as "90s", "30m", "2h" or "1d12h"; raises ValueError for anything else."""
    if not isinstance(value, str) or not value or not re.match(_DURATION, value):
        raise ValueError(f'a time such as "90s", "30m", "2h" or "1d12h" is expected, not {value!r}')
    total = sum(int(count) * UNIT_SECONDS[unit] for count, unit in re.findall(r"([0-9]+)([dhms])", value))
    if total < 1:
        raise ValueError("a time longer than zero is expected")
    return total


def as_duration(total: int) -> str:
    """The text that `seconds` reads: "1h30m" for 5400."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, total = divmod(total, UNIT_SECONDS[unit])
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"an absolute path is expected, such as /etc/slurm/slurm.conf, not {path!r}")
    return _one_line(path)


def _one_line(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("text without line breaks and control characters is expected")
    return text


def _named(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(f"a name of letters, digits, '_', '.' and '-' is expected, not {text!r}")
    return text


def _account(text: str) -> str:
    if not _USER.match(text):
        raise ValueError(f"the name of a user or group is expected, not {text!r}")
    return text


def _listed_account(text: str) -> str:
    if not _LISTED.fullmatch(text):
        raise ValueError(f"the name of a user or group is expected, as getent prints it, not {text!r}")
    return text


def _options_of(known: Sequence[str]) -> Callable[[Any], list[str]]:
    """Reads one of these options of sbatch, or a list of them."""

    def read(value: Any) -> list[str]:
        if not isinstance(value, str | list):
            raise ValueError(f"an option of sbatch or a list of them is expected, not {value!r}")
        return list(spelling.options(value, known))

    return read


def _host(text: str) -> str:
    if not _HOST.match(text):
        raise ValueError(f"a host name is expected, such as login.example.org, not {text!r}")
    return text


def _origin(url: str) -> str:
    """`scheme://host:port` with nothing behind it."""
    example = "a URL such as http://hub.example.org:8081 is expected"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{example}, not {url!r}") from error
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{port}")
    if parts.scheme not in ("http", "https") or not _HOST.match(host) or "@" in parts.netloc:
        raise ValueError(f"{example}, not {url!r}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{example}, with nothing behind host and port, not {url!r}")
    return url.rstrip("/")


def _origin_with_port(url: str) -> str:
    if urlsplit(_origin(url)).port is None:
        raise ValueError(f"a URL with a port is expected, such as http://hub.example.org:8081, not {url!r}")
    return _origin(url)


def _prefix(path: str) -> str:
    if not re.match(r"^/([A-Za-z0-9._~-]+/)*$", path):
        raise ValueError(
            f'a path that begins and ends with "/" is expected, such as "/jupyter/", not {path!r}'
        )
    return path


def _dotted(text: str) -> str:
    if not re.match(r"^[A-Za-z_][\w-]*([.:][A-Za-z_][\w-]*)*$", text):
        raise ValueError(
            f'"pam", or a class such as "oauthenticator.github.GitHubOAuthenticator", not {text!r}'
        )
    return text


def _bind(text: str) -> str:
    try:
        return str(Bind.parse(text))
    except ImageError as error:
        raise ValueError(error.user) from error


def _ports(value: Any) -> tuple[int, int]:
    problem = f'a range such as "30000-31000" within 1024-65535 is expected, not {value!r}'
    match = re.match(r"^([0-9]{4,5})-([0-9]{4,5})$", value) if isinstance(value, str) else None
    if not match:
        raise ValueError(problem)
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first <= last <= 65535:
        raise ValueError(problem)
    return first, last


def _limit(value: Any) -> int | bool:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a number of at least 0, true or false is expected, not {value!r}")
    return value


def _text_schema(**facts: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **facts})


def lasting(text: str) -> Any:
    """The default of a Duration. The schema shows it as a site file writes it."""
    return Field(seconds(text), json_schema_extra={"default": text})


Duration = Annotated[
    int,
    BeforeValidator(seconds),
    PlainSerializer(as_duration),
    _text_schema(pattern=_DURATION, examples=["90s", "30m", "2h", "1d12h"]),
]
PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(_ports),
    PlainSerializer(lambda ports: f"{ports[0]}-{ports[1]}"),
    _text_schema(pattern="^[0-9]{4,5}-[0-9]{4,5}$", examples=["30000-31000"]),
]
NamedServers = Annotated[
    int | bool,
    PlainValidator(_limit),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "boolean"}]}),
]
Line = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, AfterValidator(_named)]
Account = Annotated[str, AfterValidator(_account)]
MemoryOption = Annotated[str, AfterValidator(lambda text: "".join(spelling.options(text, spelling.MEMORY)))]
_OneOrSeveral = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
CpuOptions = Annotated[list[str], BeforeValidator(_options_of(spelling.CPUS)), _OneOrSeveral]
GpuOptions = Annotated[list[str], BeforeValidator(_options_of(spelling.GPUS)), _OneOrSeveral]
ListedAccount = Annotated[str, AfterValidator(_listed_account)]  # such as "domain users" and "DOM\\user"
AbsolutePath = Annotated[str, AfterValidator(_absolute), _text_schema(format="path")]
Origin = Annotated[str, AfterValidator(_origin), _text_schema(format="uri")]
OriginWithPort = Annotated[str, AfterValidator(_origin_with_port), _text_schema(format="uri")]
UrlPrefix = Annotated[str, AfterValidator(_prefix)]
DottedName = Annotated[str, AfterValidator(_dotted)]
BindText = Annotated[str, AfterValidator(_bind)]
HostName = Annotated[str, AfterValidator(_host)]
Word = Annotated[Line, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]
