"""Write docs/reference/{commands,settings,errors}.md from the code; with `--check` only compare them."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from carina import errors, settings
from carina.cli.main import carina, exit_code
from carina.interfaces.api.problems import status_of

ROOT = Path(__file__).parent.parent
NOTE = "Made from the code by `make docs`; change the code, not this page.\n"


def commands_page() -> str:
    """Every command with its help, in the order of the command line."""
    parts = [f"# Commands\n\n{NOTE}"]

    def add(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> None:
        context = click.Context(command, info_name=path[-1], parent=parent, terminal_width=100)
        text = command.get_help(context)
        parts.append(f"## `{' '.join(path)}`\n\n```\n{text}\n```\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None and not child.hidden:
                    add(child, (*path, name), context)

    add(carina, ("carina",), None)
    return "\n".join(parts)


def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    parts = [f"# Settings\n\n{NOTE}"]
    for title, model, prefix in (
        ("Node: `node.toml`", settings.NodeSettings, "CARINA_NODE_"),
        ("Hub: `hub.toml`", settings.HubSettings, "CARINA_HUB_"),
    ):
        note = f"Environment variables that begin with `{prefix}` win over the file."
        parts.append(f"## {title}\n\n{note}\n\n{_table(model)}")
    for name, part in (
        ("[inside], [outside], [listen], [broker]", settings.Listen),
        ("[dimse]", settings.Dimse),
        ("[[projects]]", settings.ProjectSettings),
        ("[[sources]]", settings.SourceSettings),
        ("[[instruments]]", settings.InstrumentSettings),
        ("[pixels]", settings.PixelSettings),
        ("[deid]", settings.DeidSettings),
    ):
        parts.append(f"## `{name}`\n\n{inspect.getdoc(part)}\n\n{_table(part)}")
    return "\n".join(parts)


def _table(model: type[BaseModel]) -> str:
    meanings = _meanings(model)
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        default = "required" if field.default is PydanticUndefined else _shown(field.default)
        rows.append(f"| `{name}` | {default} | {meanings.get(name, '')} |")
    return "\n".join(rows) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"`{value.model_dump()}`"
    return f"`{value!r}`"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The lines `name  meaning` of a class's docstring and its bases'."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        for line in (kind.__doc__ or "").splitlines():
            names, gap, meaning = line.strip().partition("  ")
            if gap and meaning.strip():
                for name in names.split(","):
                    found[name.strip()] = meaning.strip()
    return found


def errors_page() -> str:
    """Every error with its meaning, what to do, its HTTP status and its exit code."""
    rows = ["| error | meaning | what to do | HTTP | exit code |", "| --- | --- | --- | --- | --- |"]
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    for item in tree.body:
        if isinstance(item, ast.ClassDef):
            kind = getattr(errors, item.name)
            shown = kind.__new__(kind)
            rows.append(
                f"| `{item.name}` | {(kind.__doc__ or '').splitlines()[0]} | {kind.hint} "
                f"| {status_of(shown)} | {exit_code(shown)} |"
            )
    return f"# Errors\n\n{NOTE}\n" + "\n".join(rows) + "\n"


PAGES = {"commands.md": commands_page, "settings.md": settings_page, "errors.md": errors_page}


def main() -> int:
    """Write the pages, or with `--check` compare them."""
    folder = ROOT / "docs" / "reference"
    stale = []
    for name, page in PAGES.items():
        path = folder / name
        text = page().rstrip() + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"Not as the code has it: {', '.join(stale)}. Run `make docs`.")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
