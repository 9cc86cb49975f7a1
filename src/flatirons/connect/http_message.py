"""HTTP/1.1 messages as they pass through: the head is read, the body is copied.

Source: RFC 9112. Only what a gateway between two others needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CHUNK = 65536
LONGEST_HEAD = 65536
UNTIL_CLOSED, NO_BODY = -1, 0
"""Two lengths of a body besides a number of bytes; None stands for chunks."""


class Malformed(ValueError):
    """Not HTTP, or what a gateway must not pass on."""


class Stream(NamedTuple):
    """Both directions of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_open(self) -> bool:
        """Has neither side closed it?"""
        return not (self.reader.at_eof() or self.writer.is_closing())


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a request or an answer, and its fields in their order."""

    first: tuple[str, str, str]
    fields: tuple[tuple[str, str], ...]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Head | None:
        """The next head; None if the other side closed the connection before it.

        Raises Malformed, or ConnectionError if the connection is cut within it.
        """
        try:
            data = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise ConnectionResetError("cut within a head") from None
            return None
        except asyncio.LimitOverrunError:
            raise Malformed("the head is too long") from None
        first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        parts = first.split(" ", 2)
        return cls(
            (parts[0], parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else ""), _fields(lines)
        )

    def all(self, name: str) -> list[str]:
        """The values of a field, whose name is in lower case."""
        return [value for known, value in self.fields if known.lower() == name]

    def one(self, name: str) -> str:
        """The value of a field that occurs once or not at all (""); raises Malformed for several."""
        found = self.all(name)
        if len(found) > 1:
            raise Malformed(f"{name} occurs more than once")
        return found[0] if found else ""

    @property
    def query(self) -> list[str]:
        """The pairs of a request's query, as they were sent."""
        return [pair for pair in self.first[1].partition("?")[2].split("&") if pair]

    def tokens(self, name: str) -> set[str]:
        """The words of a field that is a list, in lower case."""
        return {word.strip().lower() for value in self.all(name) for word in value.split(",")}

    @property
    def is_upgrade(self) -> bool:
        """Does it ask for, or agree to, a websocket?"""
        return "upgrade" in self.tokens("connection") and self.tokens("upgrade") == {"websocket"}

    @property
    def status(self) -> int:
        """The status of an answer; raises Malformed."""
        version, status, _ = self.first
        if not (version.startswith("HTTP/1.") and len(status) == 3 and status.isdecimal()):
            raise Malformed("no answer of HTTP/1.1")
        return int(status)

    def length(self, default: int) -> int | None:
        """The bytes of the body, None for chunks, `default` if no field says it; raises Malformed."""
        codings, announced = self.tokens("transfer-encoding"), self.one("content-length")
        if codings:
            if codings != {"chunked"} or announced:
                raise Malformed("two lengths, or an unknown coding")
            return None
        if not announced:
            return default
        if not (announced.isascii() and announced.isdecimal()):
            raise Malformed("no length")
        return int(announced)

    def body_length_of_answer(self, method: str) -> int | None:
        """The same for the answer to a request with this method."""
        if method == "HEAD" or self.status in (204, 304):
            return NO_BODY
        return self.length(UNTIL_CLOSED)

    def but(self, without: Iterable[str], *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """The fields without some, whose names are in lower case, and with more."""
        dropped = set(without)
        return (*((name, value) for name, value in self.fields if name.lower() not in dropped), *more)

    def encode(self) -> bytes:
        """The bytes of the head."""
        lines = [" ".join(self.first), *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")


def _fields(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or any(char in line for char in "\r\n\0"):
            raise Malformed("a field without a name")
        found.append((name, value.strip(" \t")))
    return tuple(found)


async def copy_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None) -> None:
    """Copies a body of this length; raises ConnectionError if it is cut, Malformed for bad chunks."""
    if length is None:
        await _copy_chunks(reader, writer)
    elif length == UNTIL_CLOSED:
        await copy_rest(reader, writer)
    else:
        await _copy_bytes(reader, writer, length)


async def copy_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies all that comes until the connection is closed."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _copy_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    while count:
        data = await reader.read(min(CHUNK, count))
        if not data:
            raise ConnectionResetError("cut within a body")
        count -= len(data)
        writer.write(data)
        await writer.drain()


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await _line(reader)
        size_text = line.partition(b";")[0].strip()
        if not size_text or not all(char in b"0123456789abcdefABCDEF" for char in size_text):
            raise Malformed("no size of a chunk")
        writer.write(line)
        size = int(size_text, 16)
        if size == 0:
            break
        await _copy_bytes(reader, writer, size + 2)
    while (line := await _line(reader)) != b"\r\n":
        writer.write(line)  # a trailer
    writer.write(line)
    await writer.drain()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("cut within a body") from None
    except asyncio.LimitOverrunError:
        raise Malformed("a line of a body is too long") from None
