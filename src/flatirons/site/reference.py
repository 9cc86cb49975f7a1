"""The reference manual of site.toml, made from its schema: `python -m flatirons.site.reference [FILE]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flatirons.site.form_settings import FieldSettings, FormSection, SiteFieldSettings
from flatirons.site.problems import section_of
from flatirons.site.schema import Site
from flatirons.slurm_form.fields import FIELDS

HEAD = """\
# site.toml

<!-- Made by `python -m flatirons.site.reference docs/reference/site.md` from site/schema.py. -->

This file describes a site. `flatirons check --site FILE` names every mistake in it by its key, and
`flatirons schema` prints its JSON Schema for editors. A small example:

```toml
{example}```

Unknown keys are mistakes. Write times as `90s`, `30m`, `2h`, `1d12h`.
"""

FORM = """\
Each field of the form may have a table, such as `[form.runtime]`. Without one, a field offers what Slurm lets
the user have with the choices in the fields before it. `cluster`, `environment`, `reservation` and `gpus` are
shown when there is something to choose. These settings narrow what Slurm offers and never widen it.
"""


def reference(example: str) -> str:
    """The manual as Markdown; `example` is the text of a small site file."""
    parts = [HEAD.format(example=example)]
    for name, field in Site.model_fields.items():
        section, is_table = section_of(field.annotation)
        if section is FormSection:
            parts += _form()
        elif section:
            heading = f"[{name}.NAME]" if is_table else f"[{name}]"
            parts += [f"## {heading}\n", f"{_docstring(section)}\n", *_entries(section), ""]
    return "\n".join(parts)


def _form() -> Iterator[str]:
    yield "## [form.FIELD]\n"
    yield FORM
    yield "| field | what it is | kind |"
    yield "|---|---|---|"
    kinds: dict[type[BaseModel], list[str]] = {}
    for each in FIELDS:
        field = FormSection.model_fields[each.name]
        kind, _ = section_of(field.annotation)
        assert kind
        kinds.setdefault(kind, []).append(each.name)
        shown = "" if each.is_shown else " Hidden by default."
        yield f"| `{each.name}` | {field.description}{shown} | {_kind_name(kind)} |"
    yield "\nSettings of every field:\n"
    yield from _entries(FieldSettings)
    for kind, names in kinds.items():
        fields = ", ".join(f"`{name}`" for name in names)
        yield f"\nSettings of {fields} ({_kind_name(kind)}):\n"
        yield from _entries(kind, besides=FieldSettings)
    yield f"\n## [form.own.NAME]\n\n{_docstring(SiteFieldSettings)}\n"
    yield from _entries(SiteFieldSettings)
    yield ""


def _kind_name(kind: type[BaseModel]) -> str:
    return kind.__name__.removesuffix("Settings").lower()


def _entries(section: type[BaseModel], besides: type[BaseModel] | None = None) -> Iterator[str]:
    left_out = besides.model_fields if besides else {}
    properties = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if name not in left_out:
            facts = ", ".join(filter(None, [_type(properties[name]), _default(field, properties[name])]))
            yield f"- **`{name}`** ({facts}): {_one_line(field.description)}"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
        )
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema.get("examples"):
        return f"text such as `{json.dumps(schema['examples'][0])}`"
    if schema.get("format"):
        return {"path": "absolute path", "uri": "URL"}[schema["format"]]
    if schema.get("type") == "array":
        return "list of texts"
    names = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "object": "table",
    }
    return names[schema["type"]]


def _default(field: FieldInfo, schema: dict[str, Any]) -> str:
    if field.is_required():
        return "needed"
    value = schema.get("default")
    return f"default `{json.dumps(value)}`" if value or value is False else ""


def _docstring(section: type[BaseModel]) -> str:
    return _one_line(section.__doc__)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> None:
    """Prints the manual, or writes it to the file that is named; run it in the top folder of the sources."""
    text = reference(Path("deploy/site.example.toml").read_text(encoding="utf-8"))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
