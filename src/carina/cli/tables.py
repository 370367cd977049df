"""Records for people at a terminal: as a table, or one of them line by line.

What records say was written by others. It is shown as it is: no word of it counts as markup, and none of it can give
the terminal a command or turn the reading direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from carina.node.part import Part  # what a researcher's commands do not need

_PIPE = 100_000
"""Columns where nobody looks: in a pipe nothing is folded."""


def plain(text: str) -> str:
    """A text on one line. What does not print becomes the replacement character, and all space one blank.

    >>> plain("Lung CT\\x1b[2J of\\n two sites")
    'Lung CT\ufffd[2J of two sites'
    """
    shown = (letter if letter.isprintable() or letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return " ".join("".join(shown).split())


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], line: str = "", *, numbers: Sequence[int] = ()
) -> None:
    """A table, and a line that sums it up. `numbers`: columns that are written to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE
    console.print(table)
    if line:
        console.print(Text(line))


def print_facts(facts: Mapping[str, str]) -> None:
    """A record, a fact in each line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {plain(value)}")


_MARKS = {"good": ("ok", "green"), "warn": ("look", "yellow"), "bad": ("TROUBLE", "red")}


def print_parts(parts: Iterable[Part]) -> None:
    """How the parts of a node are, one in each line, and below it what to do about those that are not well."""
    for part in parts:
        word, colour = _MARKS[part.state]
        click.echo(f"{click.style(f'{word:8}', fg=colour)} {part.name}: {plain(part.sentence)}")
        if part.hint and part.state != "good":
            click.echo(f"{'':8} -> {plain(part.hint)}")
