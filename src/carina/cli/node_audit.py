"""`carina node audit` and `carina node job`: what was done here, and what is computed here now."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from carina.app.site import open_node
from carina.cli.tables import print_table
from carina.errors import BadInput, Conflict, Full, NotFound
from carina.interfaces.api.audit import note_export, wanted_of
from carina.node import asked, jobs
from carina.node.site import Node
from carina.storage import trail

ACTOR = "operator"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@_folder
@click.option("--action", default="", help="Only rows of this action, as viewed.")
@click.option("--actor", default="", help="Only what this account, token or hub did.")
@click.option("--subject", default="", help="Only rows about this.")
@click.option("--permit", default="", help="Only rows under this permit, or about it.")
@click.option("--since", default="", help="From this day on, as 2026-03-31 (UTC).")
@click.option("--until", default="", help="Until this day, included.")
@click.option("--list", "listed", is_flag=True, help="Show the newest 100 rows instead of checking the chain.")
@click.option("--json", "as_json", is_flag=True, help="For programs; of rows the newest 1000.")
@click.option("--export", "place", help="Write all rows to this new file, or - for the terminal; itself written down.")
@click.option("--form", type=click.Choice(["json", "csv"]), default="json", help="JSON lines (default), or CSV.")
def audit(
    folder: Path, action: str, actor: str, subject: str, permit: str, since: str, until: str,
    listed: bool, as_json: bool, place: str | None, form: str,
) -> None:  # fmt: skip
    """Check the audit trail from its first row; or show or export the rows that the options leave."""
    given = {"action": action, "actor": actor, "subject": subject, "permit": permit, "since": since, "until": until}
    wanted = wanted_of({name: value for name, value in given.items() if value})
    with open_node(folder) as opened:
        if place is not None:
            _export(opened, wanted, place, form)
        elif listed or wanted != trail.Wanted():
            _print_rows(trail.find(opened.engine, wanted, 1000 if as_json else 100), as_json)
        elif as_json:
            click.echo(json.dumps({"state": "whole", "seq": opened.audit.verify()}))
        else:
            click.echo(f"The audit trail is whole, up to row {opened.audit.verify()}.")


def _export(opened: Node, wanted: trail.Wanted, place: str, form: str) -> None:
    with _file(place) as file:
        note_export(opened, ACTOR, wanted, form)
        count = 0
        for line in trail.lines(trail.every(opened.engine, wanted), trail.form_of(form)):
            file.write(line)
            count += 1
    if place != "-":
        click.echo(f"Rows written to {place}: {count - (form == 'csv')}.")


def _print_rows(found: trail.Found, as_json: bool) -> None:
    if as_json:
        told = {"entries": [asdict(one) for one in found.entries], "before": found.before}
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    rows = [(str(one.seq), one.at[:19], one.action, one.actor, one.subject, json.dumps(dict(one.details)))
            for one in found.entries]  # fmt: skip
    more = f"Older ones were not looked for; use --export, or --until a day before row {found.before}."
    headings = ("Row", "When (UTC)", "Action", "Who", "About", "Details")
    print_table(headings, rows, more if found.before is not None else "", numbers=(0,))


def _file(place: str) -> AbstractContextManager[TextIO]:
    if place == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(place).open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise Conflict("There is a file of this name already.", "Name a new one.") from None
    except OSError as error:
        raise Full("The file cannot be written there.", f"The system says: {error.strerror}.") from None


@click.group()
def job() -> None:
    """Analyses that hubs have asked of this node."""


@job.command("list")
@_folder
@click.option("--all", "every", is_flag=True, help="Those that have ended, too; the newest 1000.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_jobs(folder: Path, every: bool, as_json: bool) -> None:
    """List the jobs that wait or run, with how far they are."""
    with open_node(folder) as opened:
        found = jobs.list_jobs(opened, 1000) if every else jobs.open_jobs(opened)
    if as_json:
        click.echo(json.dumps([asked.cell_of(one) for one in found], indent=1, ensure_ascii=False))
    elif found:
        rows = [(one.id, one.state, f"{one.percent} %", one.analysis, one.subject, one.received_at[:19], one.hub_title)
                for one in found]  # fmt: skip
        print_table(("Job", "State", "Done", "Analysis", "Account", "Asked (UTC)", "Hub"), rows, numbers=(2,))
    else:
        click.echo("No job waits or runs." if not every else "There are no jobs.")


@job.command()
@_folder
@click.argument("job_id", metavar="JOB")
@click.option("--hub", help="Whose job; needed only when two hubs gave the same id.")
def cancel(folder: Path, job_id: str, hub: str | None) -> None:
    """End a job for good. The process of one that runs is killed within seconds, and the hub is told."""
    with open_node(folder) as opened:
        mine = [one for one in jobs.open_jobs(opened) if one.id == job_id and hub in (None, one.hub)]
        if len(mine) > 1:
            raise BadInput("Two hubs gave this id.", "Name one with --hub.")
        if not mine:
            raise NotFound("No job of this id waits or runs.", "`carina node job list` shows those that do.")
        ended = jobs.cancel(opened, ACTOR, mine[0].hub, job_id)
    click.echo(f"Cancelled: {ended.analysis} for {ended.subject}.")
