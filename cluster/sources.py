"""The host's apt sources, from which the tree's packages can come as well."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One source of binary packages; a stanza with several URIs or suites gives several."""

    uri: str
    suite: str
    components: tuple[str, ...]


def parse_one_line(text: str) -> Iterator[Source]:
    """The sources of a `.list` file, sources.list(5)."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line.strip())
        if match:
            yield Source(match[1], match[2], tuple(match[3].split()))


def parse_deb822(text: str) -> Iterator[Source]:
    """The sources of a `.sources` file, sources.list(5); disabled stanzas are left out."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                fields[key] += " " + line.strip()
                continue
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() == "no" or "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, tuple(fields.get("components", "").split()))


def read_sources(apt: Path = Path("/etc/apt")) -> list[Source]:
    """Every enabled source of the host."""
    found: list[Source] = []
    main = apt / "sources.list"
    for file in [main] * main.exists() + sorted(apt.glob("sources.list.d/*")):
        if file.suffix == ".sources":
            found += parse_deb822(file.read_text())
        elif file.suffix == ".list":
            found += parse_one_line(file.read_text())
    return found


def read_os_release(text: str) -> dict[str, str]:
    """The fields of os-release(5), unquoted."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def first_mirror(uri: str) -> str:
    """The URI itself, or the first one in the list that a `mirror+file:` URI names."""
    if not uri.startswith("mirror+file:"):
        return uri
    lines = Path(uri.removeprefix("mirror+file:")).read_text().split("\n")
    return next(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))


def debian_mirror(sources: list[Source], release: dict[str, str]) -> str | None:
    """The Debian mirror of this host; None on other distributions, where mmdebstrap knows a mirror."""
    chosen = os.environ.get("FLATIRONS_DEBIAN_MIRROR")
    if chosen:
        return chosen
    if release.get("ID") != "debian":
        return None
    suites = {release.get("VERSION_CODENAME", ""), "stable", "testing", "sid", "unstable"}
    for source in sources:
        if source.suite in suites and "main" in source.components:
            return first_mirror(source.uri).rstrip("/")
    return None
