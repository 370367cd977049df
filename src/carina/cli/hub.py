"""`carina hub`."""

from __future__ import annotations

from pathlib import Path

import click

from carina.app.found import NewHub, found_hub
from carina.app.hub import open_hub, serve
from carina.app.rekey import replace_hub_signing_key
from carina.cli.backup import HELP, PROMPT, backup_place, save_backup
from carina.cli.hub_committee import committee
from carina.cli.tables import print_table
from carina.hub import nodes
from carina.storage import accounts

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def hub() -> None:
    """Run a hub: the centre of a federation."""


@hub.command("init")
@_folder
@click.option("--title", prompt="Name of the federation", help="What people call the hub.")
@click.option(
    "--public-url",
    prompt="Address that people will use",
    default="http://localhost:8700",
    show_default=True,
    help="Stands in invitations and decides on secure cookies.",
)
@click.option(
    "--keys",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the key file goes; outside FOLDER.",
)
@click.option("--key-backup", prompt=PROMPT, help=HELP)
@click.option("--port", type=int, default=8700, show_default=True, help="Of the web site.")
@click.option("--broker-port", type=int, default=8701, show_default=True, help="Where nodes connect.")
@click.option(
    "--broker-name",
    "broker_names",
    multiple=True,
    help="Name or address by which nodes on other machines reach the broker; the first is told to them. "
    "The broker then listens on every address of this machine.",
)
def init(
    folder: Path,
    title: str,
    public_url: str,
    keys: Path | None,
    key_backup: str,
    port: int,
    broker_port: int,
    broker_names: tuple[str, ...],
) -> None:
    """Make a hub in FOLDER: settings, keys, records.

    A hub whose public address is not this machine's own needs a --broker-name before it can serve or invite.
    """
    keys = keys or folder.resolve().parent / f"{folder.resolve().name}-keys" / "hub.json"
    place = backup_place(keys, key_backup, folder)
    made = found_hub(folder, keys, NewHub(title, public_url, port, broker_port, broker_names))
    save_backup(keys, place)
    click.echo(f"The hub {made} is ready in {folder}.")
    click.echo(f"Next: carina hub account add {folder} NAME --role operator, then carina hub serve {folder}")


@hub.command("serve")
@_folder
def serve_(folder: Path) -> None:
    """Run the hub in FOLDER until Ctrl-C."""
    serve(folder)


@hub.command()
@_folder
@click.option("--hours", type=float, default=72, show_default=True, help="How long it is good.")
def invite(folder: Path, hours: float) -> None:
    """Print an invitation for one node. Whoever has it can join once: send it by a private way."""
    with open_hub(folder) as opened:
        click.echo(nodes.invite(opened, hours))


@hub.group("nodes")
def nodes_() -> None:
    """The nodes that have joined."""


@nodes_.command("list")
@_folder
def list_(folder: Path) -> None:
    """List the nodes of the hub in FOLDER."""
    with open_hub(folder) as opened:
        found = nodes.list_nodes(opened, joined_only=False)
    rows = []
    for node in found:
        state = "online" if node.online() else node.state
        rows.append((node.id, node.title, node.institution, node.country, state, node.last_seen or "never"))
    print_table(("Node", "Title", "Institution", "Country", "State", "Last seen"), rows)


@nodes_.command()
@_folder
@click.argument("node")
def remove(folder: Path, node: str) -> None:
    """Remove NODE from the hub in FOLDER: it can neither connect nor be heard any more."""
    with open_hub(folder) as opened:
        nodes.remove(opened, node)
    click.echo("The node is removed; the running hub disconnects it at once.")


@hub.group()
def account() -> None:
    """The people who may sign in."""


@account.command("add")
@_folder
@click.argument("name")
@click.option("--role", type=click.Choice(["researcher", "operator"]), default="researcher", show_default=True)
@click.option("--display-name", default="", help="As pages show it.")
@click.password_option(help="Asked for when not given.")
def add_account(folder: Path, name: str, role: str, display_name: str, password: str) -> None:
    """Make the account NAME at the hub in FOLDER."""
    with open_hub(folder) as opened:
        accounts.add_account(opened.engine, name, password, {role}, display_name)
        opened.audit.append("account-added", "operator", name, role=role)
    click.echo(f"{name} can sign in.")


@account.command("password")
@_folder
@click.argument("name")
@click.password_option(help="Asked for when not given.")
def set_password(folder: Path, name: str, password: str) -> None:
    """Give the account NAME another password; its sessions end."""
    with open_hub(folder) as opened:
        accounts.set_password(opened.engine, name, password)
        opened.audit.append("password-set", "operator", name)
    click.echo(f"{name} has a new password.")


@account.command()
@_folder
@click.argument("name")
def disable(folder: Path, name: str) -> None:
    """Shut the account NAME out: its sessions and tokens end at once, its permits with the next list of states."""
    with open_hub(folder) as opened:
        accounts.set_disabled(opened.engine, name, True)
        opened.audit.append("account-disabled", "operator", name)
    click.echo(f"{name} is shut out.")


@account.command()
@_folder
@click.argument("name")
def enable(folder: Path, name: str) -> None:
    """Let the account NAME in again; permits that have not expired hold again."""
    with open_hub(folder) as opened:
        accounts.set_disabled(opened.engine, name, False)
        opened.audit.append("account-enabled", "operator", name)
    click.echo(f"{name} can sign in.")


@hub.group()
def key() -> None:
    """The key that signs messages."""


@key.command("replace")
@_folder
def replace_key(folder: Path) -> None:
    """Replace the signing key, under the old one's signature. Stop the hub first."""
    file = replace_hub_signing_key(folder)
    click.echo(f"The new key is in force. Make a new back-up of {file} now.")


@hub.command()
@_folder
def audit(folder: Path) -> None:
    """Check the audit trail of the hub in FOLDER from its first row."""
    with open_hub(folder) as opened:
        click.echo(f"The audit trail is whole, up to row {opened.audit.verify()}.")


hub.add_command(committee)
