"""`carina node forget` and `carina node patient merge`: a person leaves, or turns out to be two."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from carina.app.site import open_node
from carina.errors import BadInput
from carina.model.ids import ProjectId, project_id
from carina.node import forget as forgetting
from carina.node import merge as merging
from carina.node.removal import Counts

ACTOR = "operator"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_projects = click.option("--project", "projects", multiple=True, help="Only there; repeatable. Without, in all.")


@click.command()
@_folder
@_projects
@click.option("--issuer", default="", help="Of the identifier; without, each project's own.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@click.option("--lift", is_flag=True, help="Take the person's images in again from now on; what is gone stays gone.")
def forget(folder: Path, projects: tuple[str, ...], issuer: str, yes: bool, lift: bool) -> None:
    """Delete a person everywhere in the node, and refuse whatever comes of them later.

    The patient's identifier, or a pseudonym, is read from standard input. What is gone comes back from no back-up of
    this node: a restored one forgets the person before it starts. Repeat the command when it was interrupted.
    """
    identifier = _asked("Patient identifier")
    with open_node(folder) as node:
        chosen = [project_id(name) for name in projects]
        marks = forgetting.marks_of(node, identifier, issuer, chosen, actor=ACTOR)
        if lift:
            forgetting.lift(node, ACTOR, marks)
            click.echo("What comes of this person from now on is taken in.")
            return
        found = forgetting.count(node, marks)
        _tell("Found", found)
        if not yes:
            click.confirm("Delete this for good, and refuse what comes later?", abort=True)
        _tell("Deleted", forgetting.forget(node, ACTOR, marks))
    click.echo("The person is forgotten. A node that runs tells its hubs the new numbers at once.")


@click.group()
def patient() -> None:
    """Persons under their pseudonyms."""


@patient.command()
@_folder
@click.argument("old")
@click.argument("new")
@click.option("--old-issuer", default="", help="Of the old identifier; without, each project's own.")
@click.option("--new-issuer", default="", help="Of the new one.")
@_projects
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
def merge(
    folder: Path, old: str, new: str, old_issuer: str, new_issuer: str, projects: tuple[str, ...], yes: bool
) -> None:
    """Let OLD be the same person as NEW, also in what is stored: it is written anew under NEW's pseudonym and dates.

    OLD and NEW are pseudonyms; `- -` reads both identifiers from standard input, the old one first, one in each line.
    """
    if (old == "-") != (new == "-"):
        raise BadInput("One of both was named, the other is to be read.", "Write two pseudonyms, or - for both.")
    with open_node(folder) as node:
        if old == "-":
            old, new = _asked("Old patient identifier"), _asked("New patient identifier")
            pair = merging.Pair.of_identifiers((old_issuer, old), (new_issuer, new))
        else:
            pair = merging.pair_of_pseudonyms(node, old, new, ACTOR)
        chosen: Sequence[ProjectId] = [project_id(name) for name in projects]
        found = merging.count(node, pair, chosen)
        click.echo(f"Stored under the old one: {found.studies} studies, {found.instances} instances.")
        if not yes:
            click.confirm("Write them anew under the new one?", abort=True)
        done = merging.merge(node, ACTOR, pair, chosen)
    click.echo(f"{done.instances} instances of {done.studies} studies belong to the new one now.")


def _asked(prompt: str) -> str:
    """A line of standard input; a person at a terminal is asked for it, and it is not shown."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True)).strip()
    line = sys.stdin.readline().strip()
    if not line:
        raise BadInput("There is no identifier on standard input.")
    return line


def _tell(word: str, counts: Counts) -> None:
    click.echo(
        f"{word}: {counts.instances} instances in {counts.series} series of {counts.studies} studies, "
        f"{counts.received} waiting in the spool, {counts.quarantined} in quarantine, {counts.clinical} clinical rows, "
        f"{counts.aliases} merged identifiers."
    )
    if counts.unread:
        click.echo(f"{counts.unread} files in spool or quarantine do not say whose they are: look at them yourself.")
