"""`node.toml` as a person may read it: every setting with its meaning, what is chosen, and the default of the rest.

The meanings are those of the docstrings in `carina.settings`. A line `# words` explains; `#name = value` is a setting
that has its default, and is in force once its `#` is taken away.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from carina.settings import NodeSettings

HEAD = """\
# A Carina node. A line "# words" explains; "#name = value" is a setting that has its default: take the # away and
# change it. Start the node again after a change; `carina node doctor FOLDER` finds what does not fit.
# Environment variables CARINA_NODE_* win over this file.

"""
WIDTH = 110
_ENTRY = re.compile(r"^(\w+(?:, \w+)*)  +(\S.*)$")
EXAMPLES: Mapping[str, Any] = {  # of settings that have no default
    "public_url": "https://images.hospital.example.org",
    "console_url": "https://carina.hospital.example.org",
    "records": "postgresql+psycopg://carina@db.hospital.example.org/carina",
    "forgotten": "/srv/carina-forgotten",
    "ae_title": "PACS1",
    "identifier": "https://hdl.handle.net/21.T11998/0000-001A-3905-1",
    "station_name": "CT02",
    "kind": "folder",
    "project": "main",
    "name": "/srv/export",
    "may": ("find", "get", "move"),
    "dataset": "*",
}


def node_text(values: Mapping[str, Any]) -> str:
    """The text for settings as `NodeSettings` has them: a mapping for each part that is chosen, lists of them for
    projects, sources and the like. What is not named stands as a comment, with its default."""
    whole = _meanings(NodeSettings)
    made = _parts()
    rows = [part for part in made if part[2]]
    pieces = [HEAD, _lines(NodeSettings, values, {name for name, _, _ in made})]
    for name, kind in ((name, kind) for name, kind, many in made if not many):
        usual = NodeSettings.model_fields[name].default
        pieces.append(_table(f"[{name}]", kind, values.get(name), whole[name], usual))
    for name, kind, _ in rows:
        given = values.get(name) or [None]
        pieces += [_table(f"[[{name}]]", kind, one, whole[name] if not at else "") for at, one in enumerate(given)]
    return "".join(pieces)


def _parts() -> list[tuple[str, type[BaseModel], bool]]:
    """The parts of `NodeSettings`: name, class, and whether there may be several."""
    found = []
    for name, field in NodeSettings.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        kind = next((one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)), None)
        if kind is not None:
            found.append((name, kind, get_origin(field.annotation) is tuple))
    return found


def _table(
    head: str, kind: type[BaseModel], values: Mapping[str, Any] | None, meaning: str, usual: BaseModel | None = None
) -> str:
    """A part of the file; with `values` None all of it is a comment. `usual`: what it is when it is left out."""
    title = _comment(_sentence(meaning)) if meaning else ""
    if values is not None:
        return f"\n{title}{head}\n{_lines(kind, values, set(), usual, again=not meaning)}"
    return f"\n{title}#{head}\n{_lines(kind, {}, set(), usual)}"


def _lines(
    kind: type[BaseModel],
    values: Mapping[str, Any],
    without: set[str],
    usual: BaseModel | None = None,
    *,
    again: bool = False,
) -> str:
    """A line for each setting, with its meaning above; `again`: the meanings stand above already."""
    meanings, made = _meanings(kind), []
    for name, field in kind.model_fields.items():
        if name in without or (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            continue
        chosen = name in values
        default = field.default if field.default is not PydanticUndefined else None
        default = getattr(usual, name, default)
        shown = values[name] if chosen else default
        if shown is None or (shown in ("", ()) and not chosen):
            shown = EXAMPLES.get(name, shown)
        if shown is None or (again and not chosen):
            continue
        made.append("" if again else _comment(meanings[name]))
        made.append(f"{'' if chosen else '#'}{name} = {value_text(shown)}\n")
    return "".join(made)


def value_text(value: Any) -> str:
    """A value in TOML; JSON's escapes are among those of its basic strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Iterable):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _meanings(kind: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a class and of those above it say of each setting."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        last: list[str] = []
        for line in inspect.cleandoc(vars(one).get("__doc__") or "").splitlines():
            entry = _ENTRY.match(line)
            if entry is not None:
                last = entry[1].split(", ")
                found.update(dict.fromkeys(last, entry[2]))
            elif line.startswith("  ") and last:
                found.update({name: f"{found[name]} {line.strip()}" for name in last})
            elif not line.startswith(" "):
                last = []
    return found
