"""`carina node asked`: what hubs and researchers asked of the node, what was answered, and what left, by permit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from carina.app.site import open_node
from carina.cli.tables import print_table
from carina.interfaces.api.asked import asked_to_json, wanted_of

ROWS = 50  # of each table


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hub", default="", help="Only of this hub, by its id.")
@click.option("--permit", default="", help="Only under this permit.")
@click.option("--dataset", default="", help="Only of this dataset, by its IRI.")
@click.option("--account", default="", help="Only of this person's account.")
@click.option("--since", default="", help="From this day on, as 2026-03-31 (UTC); without it 31 days.")
@click.option("--until", default="", help="Until this day, included.")
@click.option("--json", "as_json", is_flag=True, help="For programs: all of it, not the newest only.")
def asked(folder: Path, as_json: bool, **given: str) -> None:
    """Show what was asked of the node, what was answered and handed out, under which permit."""
    wanted = wanted_of({name: value for name, value in given.items() if value})
    with open_node(folder) as opened:
        found = asked_to_json(opened, wanted)
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    jobs = [(one["received_at"][:19], one["analysis"], one["subject"], one["permit"], one["state"], _left(one))
            for one in found["jobs"]]  # fmt: skip
    _print("Analyses", ("Asked (UTC)", "Analysis", "Account", "Permit", "State", "What left the node"), jobs)
    lines = [(one["day"], one["action"], one["account"], one["permit"] or "–", one["dataset"],
              str(one["requests"]), str(one["instances"])) for one in found["given"]]  # fmt: skip
    headings = ("Day", "What", "Account", "Permit", "Dataset", "Requests", "Objects")
    _print("Looked at and fetched", headings, lines, numbers=(5, 6))
    answers = [(one["at"][:19], one["hub"], one.get("state", ""), ", ".join(one.get("variables", [])) or "–")
               for one in found["searches"]]  # fmt: skip
    _print("Searches", ("Answered (UTC)", "Hub", "Answer", "About"), answers)


def _print(
    title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: tuple[int, ...] = ()
) -> None:
    click.echo(f"{title}:" if rows else f"{title}: none.")
    if rows:
        more = f"The newest {ROWS} of {len(rows)}; all with --json." if len(rows) > ROWS else ""
        print_table(headings, rows[:ROWS], more, numbers=numbers)
    click.echo()


def _left(job: dict[str, Any]) -> str:
    return ", ".join(f"{one['group']}: {one['n']}" for one in job["released"]) or "nothing"
