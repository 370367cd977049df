"""`carina hub committee`: who decides on requests for the datasets of a node."""

from __future__ import annotations

from pathlib import Path

import click

from carina.app.hub import open_hub
from carina.cli.tables import print_table
from carina.hub import committee as committees
from carina.hub import nodes

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_node = click.argument("node")
_account = click.argument("account")


@click.group()
def committee() -> None:
    """The people who decide on access to a node's datasets."""


@committee.command()
@_folder
@_node
@_account
def add(folder: Path, node: str, account: str) -> None:
    """Let ACCOUNT decide on requests for the datasets of NODE, at the hub in FOLDER."""
    with open_hub(folder) as opened:
        committees.add(opened, node, account)
    click.echo(f"{account} is on the committee.")


@committee.command()
@_folder
@_node
@_account
def remove(folder: Path, node: str, account: str) -> None:
    """Let ACCOUNT no longer decide on them; what it has decided stands."""
    with open_hub(folder) as opened:
        committees.remove(opened, node, account)
    click.echo(f"{account} is no longer on the committee.")


@committee.command("list")
@_folder
@click.argument("node", required=False)
def list_(folder: Path, node: str | None) -> None:
    """List the committees of the hub in FOLDER, or that of NODE."""
    with open_hub(folder) as opened:
        chosen = [nodes.get_node(opened, node)] if node else nodes.list_nodes(opened)
        rows = [
            (one.id, one.title, account)
            for one in chosen
            for account in committees.members(opened, one.id) or ["nobody"]
        ]
    print_table(("Node", "Title", "Account"), rows)
