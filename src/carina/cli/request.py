"""`carina request`."""

from __future__ import annotations

import json

import click

from carina.cli.research import connected, hub_option, json_option
from carina.cli.tables import plain, print_table
from carina.interfaces.api.access_documents import AccessRequest, Item, request_to_json
from carina.model.permit import ACTIONS, Action

_TURNS = {
    "committee": "the committee's",
    "researcher": "yours",
    "data-manager": "the node's data manager's",
    "nobody": "–",
}


@click.group()
def request() -> None:
    """Ask for access to datasets, and see what became of it.

    Each dataset of a request is decided by its own data holder, with a reason.
    """


@request.command("new")
@click.argument("datasets", nargs=-1, required=True, metavar="IRI...")
@click.option("--project", required=True, help="Title of your project.")
@click.option("--purpose", required=True, help="What the data are for.")
@click.option("--organisation", required=True, help="Yours.")
@click.option("--last-day", required=True, metavar="YYYY-MM-DD", help="The last one on which you need access.")
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=click.Choice(ACTIONS),
    default=("analyse",),
    show_default=True,
    help="view: pictures; retrieve: DICOM objects; analyse: runs. Several times for several.",
)
@click.option("--description", default="", help="More about the project.")
@click.option(
    "--person", "people", multiple=True, help="Name of one who works with the data; several times for several."
)
@hub_option
@json_option
def new(
    datasets: tuple[str, ...],
    project: str,
    purpose: str,
    organisation: str,
    last_day: str,
    actions: tuple[Action, ...],
    description: str,
    people: tuple[str, ...],
    url: str | None,
    as_json: bool,
) -> None:
    """Ask for access to the datasets with these IRIs, as `carina datasets` shows them."""
    with connected(url) as client:
        made = client.request(
            datasets,
            project=project,
            purpose=purpose,
            organisation=organisation,
            last_day=last_day,
            actions=actions,
            description=description,
            people=people,
        )
    _show(made, as_json)


@request.command("list")
@hub_option
@json_option
def list_(url: str | None, as_json: bool) -> None:
    """List your requests, newest first."""
    with connected(url) as client:
        found = client.requests()
    if as_json:
        click.echo(json.dumps([request_to_json(item) for item in found], indent=1))
        return
    headings = ("Request", "Project", "Asked", "Until", "Datasets", "Granted", "Refused", "Open")
    line = "1 request." if len(found) == 1 else f"{len(found)} requests."
    print_table(headings, map(request_row, found), line, numbers=(4, 5, 6, 7))


def request_row(made: AccessRequest) -> tuple[str, ...]:
    """A request's line of the table."""
    states = [item.state for item in made.items]
    numbers = (
        len(states),
        states.count("granted"),
        states.count("refused"),
        sum(state in ("waiting", "asked") for state in states),
    )
    return made.id, made.project, made.created_at[:10], made.last_day, *map(str, numbers)


@request.command("show")
@click.argument("id_", metavar="ID")
@hub_option
@json_option
def show(id_: str, url: str | None, as_json: bool) -> None:
    """Show the request ID: whose turn each dataset is, and what was said."""
    with connected(url) as client:
        found = client.request_state(id_)
    _show(found, as_json)


def _show(made: AccessRequest, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(request_to_json(made), indent=1))
        return
    click.echo(plain(f"Request {made.id}: {made.project}, {', '.join(made.actions)} until {made.last_day}."))
    headings = ("Item", "Dataset", "Node", "State", "Turn", "Since", "Permit", "Last words")
    line = "1 dataset." if len(made.items) == 1 else f"{len(made.items)} datasets."
    print_table(headings, map(item_row, made.items), line)


def item_row(item: Item) -> tuple[str, ...]:
    """An item's line of the table."""
    words = next((event.words for event in reversed(item.events) if event.words), "")
    place = (item.id, item.title, item.node_title, item.state, _TURNS[item.turn])
    return *place, item.since[:16].replace("T", " "), item.permit or "–", words


@request.command("answer")
@click.argument("item")
@click.argument("words")
@hub_option
def answer(item: str, words: str, url: str | None) -> None:
    """Answer with WORDS what the committee asked about ITEM."""
    with connected(url) as client:
        client.answer(item, words)
    click.echo("Answered; it is the committee's turn.")


@request.command("withdraw")
@click.argument("item")
@hub_option
def withdraw(item: str, url: str | None) -> None:
    """Take ITEM of a request back, before it is decided."""
    with connected(url) as client:
        client.withdraw(item)
    click.echo("Withdrawn.")
