"""`carina node account | token | alias | hub`: who may sign in and send, who is the same person, who is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from carina.app.site import open_node
from carina.cli.tables import print_table
from carina.deid.person import person
from carina.errors import BadInput, InvalidTable
from carina.model.permit import Action
from carina.model.principal import EVERYTHING, Service
from carina.node import aliases, datasets, membership
from carina.storage import accounts

ACTOR = "operator"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def account() -> None:
    """The staff who may sign in."""


@account.command("add")
@_folder
@click.argument("name")
@click.option("--display-name", default="", help="As pages show it.")
@click.password_option(help="Asked for when not given.")
def add_account(folder: Path, name: str, display_name: str, password: str) -> None:
    """Make the account NAME for a data manager."""
    with open_node(folder) as node:
        accounts.add_account(node.engine, name, password, {"data-manager"}, display_name)
        node.audit.append("account-added", ACTOR, name)
    click.echo(f"{name} can sign in.")


@account.command("password")
@_folder
@click.argument("name")
@click.password_option(help="Asked for when not given.")
def set_password(folder: Path, name: str, password: str) -> None:
    """Give the account NAME another password; its sessions end."""
    with open_node(folder) as node:
        accounts.set_password(node.engine, name, password)
        node.audit.append("password-set", ACTOR, name)
    click.echo(f"{name} has a new password.")


@click.group()
def token() -> None:
    """What programs may send, find and fetch."""


@token.command("create")
@_folder
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["sender", "service", "operator", "data-manager"]),
    default="sender",
    show_default=True,
    help="sender: STOW-RS, as the source of this name in node.toml; service: what --may and --dataset say;"
    " operator: the figures at /metrics; data-manager: read all by DICOMweb, as a person of the staff would.",
)
@click.option(
    "--may",
    multiple=True,
    type=click.Choice(accounts.SERVICE_ACTIONS),
    help="Of a service. view: search, headers and pictures; retrieve: search, headers and the objects. Repeatable.",
)
@click.option("--dataset", "iris", multiple=True, help="Of a service: a dataset's IRI, repeatable; * for all there is.")
@click.option("--days", type=int, help="How long it is good; without, until it is revoked.")
def create_token(
    folder: Path, name: str, role: str, may: tuple[Action, ...], iris: tuple[str, ...], days: int | None
) -> None:
    """Make the token NAME and print its secret, once. A service may do nothing but what is named."""
    if role != "service" and (may or iris):
        raise BadInput("Only a service is bound to actions and datasets.", "Add --role service.")
    service = Service(frozenset(may), frozenset(iris)) if role == "service" else None
    with open_node(folder) as node:
        for iri in sorted(set(iris) - {EVERYTHING}):
            datasets.get(node, iri)
        secret = accounts.add_token(node.engine, name, {role}, days=days, service=service)
        bound: dict[str, Any] = {"may": sorted(set(may)), "datasets": sorted(set(iris))} if service else {}
        node.audit.append("token-created", ACTOR, name, role=role, **bound)
    click.echo(secret)


@token.command("list")
@_folder
def list_tokens(folder: Path) -> None:
    """List the tokens and what each is bound to; their secrets are not kept."""
    with open_node(folder) as node:
        found = accounts.list_tokens(node.engine)
    rows = []
    for item in found:
        may, bound = (item.service.actions, item.service.datasets) if item.service else ((), ())
        roles, end = ", ".join(sorted(item.roles)), item.expires_at[:16] if item.expires_at else "never"
        rows.append(
            (item.name, roles, ", ".join(sorted(may)), ", ".join(sorted(bound)), item.created_at[:10], end, item.state)
        )
    print_table(("Name", "Roles", "May", "Datasets", "Created", "Expires", "State"), rows)


@token.command("revoke")
@_folder
@click.argument("name")
def revoke_token(folder: Path, name: str) -> None:
    """End the token NAME at once."""
    with open_node(folder) as node:
        accounts.revoke_token(node.engine, name)
        node.audit.append("token-revoked", ACTOR, name)
    click.echo(f"{name} is revoked.")


@click.group()
def alias() -> None:
    """Identifiers that were merged: the same person under two of them."""


@alias.command("import")
@_folder
@click.argument("table", type=click.File("rb"))
def import_aliases(folder: Path, table: BinaryIO) -> None:
    """Read merges from the CSV file TABLE (- for standard input): old_issuer, old_id, new_issuer, new_id.

    They are kept encrypted and hold for what arrives from now on. All are taken, or none. An empty issuer means the
    project's own.
    """
    try:
        text = table.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidTable("The file is not UTF-8.", "Save it as CSV in UTF-8.") from None
    with open_node(folder) as node:
        count = aliases.import_table(node, text, ACTOR)
    click.echo(f"{count} merged identifiers are kept.")


@alias.command()
@_folder
@click.option("--issuer", default="", help="Of the old identifier; without, the project's own.")
def separate(folder: Path, issuer: str) -> None:
    """Let an old identifier, read from standard input, stand for itself again, for what arrives from now on."""
    old = person(issuer, sys.stdin.readline())
    if old is None:
        raise BadInput("There is no identifier on standard input.")
    with open_node(folder) as node:
        aliases.separate(node, old, ACTOR)
    click.echo("The identifier stands for itself again.")


@alias.command("status")
@_folder
def alias_status(folder: Path) -> None:
    """Show how many identifiers are merged; which ones is shown nowhere."""
    with open_node(folder) as node:
        click.echo(f"{aliases.count(node)} merged identifiers are kept.")


@click.group()
def hub() -> None:
    """The hubs that the node has joined."""


@hub.command("list")
@_folder
def list_hubs(folder: Path) -> None:
    """List the hubs, also those left, with their state."""
    with open_node(folder) as node:
        found = membership.list_hubs(node, joined_only=False)
    rows = [(item.id, item.title, item.state, item.url, (item.last_contact or "never")[:19]) for item in found]
    print_table(("Id", "Title", "State", "Address", "Last heard"), rows)


@hub.command()
@_folder
@click.argument("hub_id", metavar="HUB")
def leave(folder: Path, hub_id: str) -> None:
    """Leave the hub of the id HUB: it hears nothing of this node any more. A running node notices by itself."""
    with open_node(folder) as node:
        membership.leave(node, hub_id, ACTOR)
    click.echo(f"Left {hub_id}.")
