"""Commands for researchers: sign in to a hub, see its datasets, search over all its nodes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import click

from carina.cli.tables import plain, print_table
from carina.errors import BadInput
from carina.interfaces.api.documents import dataset_to_json
from carina.interfaces.client.client import Client, connect
from carina.interfaces.client.connection import origin
from carina.interfaces.client.result import SearchResult, row_of, total_line
from carina.interfaces.client.tokens import forget_token, last_hub, save_token, saved_token
from carina.model.cohort import from_pairs
from carina.model.dataset import DatasetDescription
from carina.model.variables import RANGES, VARIABLES, Variable

hub_argument = click.argument("url", required=False, envvar="CARINA_HUB")
hub_option = click.option("--hub", "url", envvar="CARINA_HUB", help="URL of the hub, if not that of the last login.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def connected(url: str | None) -> Client:
    """A client of the hub at `url`, or else of the last login's."""
    return connect(_address(url))


def _address(url: str | None) -> str:
    address = url or last_hub()
    if address is None:
        raise BadInput("No hub is named.", "Sign in with `carina login URL`, or name its URL.")
    return address


@click.command()
@click.argument("url")
@click.option("--account", prompt=True, help="The account's name.")
def login(url: str, account: str) -> None:
    """Sign in to the hub at URL and keep a token.

    The password is asked for, or taken from CARINA_PASSWORD. The token lies in the user's configuration folder,
    readable by the user only, and is good for twelve hours.
    """
    password = os.environ.get("CARINA_PASSWORD") or click.prompt("Password", hide_input=True)
    with connect(url, account=account, password=password) as client:
        assert client.token is not None
        save_token(client.url, client.token)
        click.echo(plain(f"Signed in to {client.info()['name']} as {account}."))


@click.command()
@hub_argument
def logout(url: str | None) -> None:
    """End the session at the hub at URL and forget its token.

    Without URL, or CARINA_HUB, it is the hub of the last `carina login`.
    """
    address = str(origin(_address(url)))
    token = saved_token(address)
    if token is None:
        click.echo("No token of this hub is kept.")
        return
    forget_token(address)
    with connect(address, token=token) as client:
        client.sign_out()
    click.echo("Signed out.")


@click.command()
@hub_argument
@json_option
def datasets(url: str | None, as_json: bool) -> None:
    """List the datasets of the hub at URL.

    Without URL, or CARINA_HUB, it is the hub of the last `carina login`.
    """
    with connected(url) as client:
        found = client.datasets()
    if as_json:
        click.echo(json.dumps([dataset_to_json(dataset) for dataset in found], indent=1))
        return
    headings = ("Title", "Institution", "Country", "Patients", "Studies", "IRI")
    line = "1 dataset." if len(found) == 1 else f"{len(found)} datasets."
    print_table(headings, map(dataset_row, found), line, numbers=(3, 4))


def dataset_row(dataset: DatasetDescription) -> tuple[str, ...]:
    """A dataset's line of the table."""
    patients = f"fewer than {dataset.threshold}" if dataset.patients is None else f"{dataset.patients:,}"
    studies = "not shown" if dataset.studies is None else f"{dataset.studies:,}"
    return dataset.title, dataset.institution, dataset.country, patients, studies, dataset.iri


def _search(url: str | None, as_json: bool, **chosen: Any) -> None:
    """Count patients and studies over all nodes of the hub at URL.

    Each node answers from its own records. Patients below a node's threshold read "fewer than" it, zero included,
    and their studies "not shown".
    Give an option several times for any one of its values. Without URL, or CARINA_HUB, it is the hub of the last
    `carina login`.
    """
    query = from_pairs(_pairs(chosen), RANGES)
    with connected(url) as client:
        result = client.search(query)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        _show(result)


def _pairs(chosen: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in chosen.items():
        values = (value,) if isinstance(value, str) else value or ()
        yield from ((name, item) for item in values)


def _show(result: SearchResult) -> None:
    headings = ("Node", "Country", "Patients", "Studies", "Note")
    print_table(headings, map(row_of, result.answers), total_line(result.total), numbers=(2, 3))


def _option(variable: Variable) -> click.Option:
    """The option of one variable, with its values in the help."""
    flag = f"--{variable.name.replace('_', '-')}"
    if variable.kind == "number":
        text = f"{variable.label}, {variable.unit}: a number, or a range as 40-60, 40- or -60."
        return click.Option([flag, variable.name], metavar="RANGE", help=text)
    words = ", ".join(value for value, _ in variable.values)
    return click.Option([flag, variable.name], multiple=True, metavar="VALUE", help=f"{variable.label}: {words}.")


search = json_option(hub_argument(click.command("search")(_search)))
search.params[:0] = [_option(variable) for variable in VARIABLES]

commands: list[click.Command] = [login, logout, datasets, search]
