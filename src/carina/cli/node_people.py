"""`carina node account | token | alias`: who may sign in, what may send, and which identifiers are the same person."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.table import Table

from carina.app.site import open_node
from carina.errors import InvalidTable
from carina.node import aliases
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
    """What programs may send or read."""


@token.command("create")
@_folder
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["sender", "data-manager"]),
    default="sender",
    show_default=True,
    help="sender: STOW-RS, as the source of this name in node.toml; data-manager: read by DICOMweb.",
)
@click.option("--days", type=int, help="How long it is good; without, until it is revoked.")
def create_token(folder: Path, name: str, role: str, days: int | None) -> None:
    """Make the token NAME and print its secret, once."""
    with open_node(folder) as node:
        secret = accounts.add_token(node.engine, name, {role}, days=days)
        node.audit.append("token-created", ACTOR, name, role=role)
    click.echo(secret)


@token.command("list")
@_folder
def list_tokens(folder: Path) -> None:
    """List the tokens; their secrets are not kept."""
    table = Table("Name", "Roles", "Created", "Expires", "State", box=None)
    with open_node(folder) as node:
        for item in accounts.list_tokens(node.engine):
            state = "revoked" if item.revoked else "good"
            roles = ", ".join(sorted(item.roles))
            table.add_row(item.name, roles, item.created_at[:10], item.expires_at or "never", state)
    Console().print(table)


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
