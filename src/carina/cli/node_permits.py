"""`carina node permit` and `carina node dataset snapshot`: what researchers may do here, and with what."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import timedelta
from pathlib import Path

import click

from carina.app.site import open_node
from carina.cli.tables import print_facts, print_table
from carina.errors import BadInput, Conflict, NotFound
from carina.node import datasets, membership, permits, snapshots
from carina.node.permits import HeldPermit
from carina.node.site import Node

ACTOR = "operator"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_permit = click.argument("permit_id", metavar="PERMIT")
_hub = click.option("--hub", help="Whose permit; needed only when two hubs gave the same id.")
_reason = click.option("--reason", required=True, help="One sentence, which the researcher reads.")


@click.group()
def permit() -> None:
    """What committees have granted researchers here; PERMIT is an id of the list."""


@permit.command("list")
@_folder
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_permits(folder: Path, as_json: bool) -> None:
    """List the permits, newest first: who may do what until when, and whether it holds here."""
    with open_node(folder) as node:
        found = permits.listed(node)
    if as_json:
        click.echo(json.dumps([_plain(item) for item in found], indent=1, ensure_ascii=False))
        return
    if not found:
        click.echo("There are no permits.")
        return
    rows = [
        (
            item.visa.id,
            item.state,
            item.hub_state or "nothing",
            item.visa.subject,
            item.visa.dataset,
            ", ".join(item.visa.actions),
            f"{item.visa.expires:%Y-%m-%d %H:%M} UTC",
            item.hub_title,
        )
        for item in found
    ]
    print_table(("Permit", "State", "Hub says", "Account", "Dataset", "Actions", "Ends", "Hub"), rows)


@permit.command()
@_folder
@_permit
@_hub
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(folder: Path, permit_id: str, hub: str | None, as_json: bool) -> None:
    """Show all that a permit says, and what this node and its hub say of it."""
    with open_node(folder) as node:
        found = permits.get(node, _hub_of(node, permit_id, hub), permit_id)
        facts = _facts(node, found)
    if as_json:
        click.echo(json.dumps(_plain(found), indent=1, ensure_ascii=False))
    else:
        print_facts(facts)


@permit.command()
@_folder
@_permit
@_hub
@click.option("--yes", is_flag=True, help="Sign without being asked: you have read the permit elsewhere.")
def countersign(folder: Path, permit_id: str, hub: str | None, yes: bool) -> None:
    """Agree to a permit: show it, ask, and sign it with this node's own key."""
    with open_node(folder) as node:
        found = permits.get(node, _hub_of(node, permit_id, hub), permit_id)
        print_facts(_facts(node, found))
        if not yes:
            _require_terminal()
            click.confirm("Sign this permit?", abort=True)
        visa = permits.countersign(node, ACTOR, found.hub, permit_id).visa
    click.echo(f"In force: {visa.subject} may {', '.join(visa.actions)} until {_last_day(found)}.")


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise BadInput(
            "Nothing is signed: there is no terminal to ask whether to.",
            "Read the permit above; then sign it with --yes.",
        )


@permit.command()
@_folder
@_permit
@_hub
@_reason
def decline(folder: Path, permit_id: str, hub: str | None, reason: str) -> None:
    """Do not agree to a permit that waits."""
    with open_node(folder) as node:
        permits.decline(node, ACTOR, _hub_of(node, permit_id, hub), permit_id, reason)
    click.echo("Declined.")


@permit.command()
@_folder
@_permit
@_hub
@_reason
def withdraw(folder: Path, permit_id: str, hub: str | None, reason: str) -> None:
    """End a permit here at once, whatever its hub says."""
    with open_node(folder) as node:
        permits.withdraw(node, ACTOR, _hub_of(node, permit_id, hub), permit_id, reason)
    click.echo("Withdrawn. It opens nothing any more.")


@click.command()
@_folder
@click.argument("iri")
def snapshot(folder: Path, iri: str) -> None:
    """Keep what the dataset holds now under a number, so that permits and results can name it."""
    with open_node(folder) as node:
        taken = snapshots.take(node, ACTOR, iri)
    images = "1 image" if taken.instances == 1 else f"{taken.instances} images"
    click.echo(f"Snapshot {taken.number}: {images}. The hubs are told if the node runs.")


def _hub_of(node: Node, permit_id: str, named: str | None) -> str:
    """Whose permit this is, of all hubs or of the one that was named."""
    hubs = []
    for hub in membership.list_hubs(node):
        with contextlib.suppress(NotFound):
            hubs.append(permits.get(node, hub.id, permit_id).hub)
    fitting = [hub for hub in hubs if named in (None, hub)]
    if not fitting:
        raise NotFound("This node holds no such permit.", "See `carina node permit list`.")
    if len(fitting) > 1:
        raise Conflict("Two hubs gave a permit of this id.", "Name one with --hub.")
    return fitting[0]


def _facts(node: Node, item: HeldPermit) -> dict[str, str]:
    """What one must know of a permit before signing it."""
    visa, use = item.visa, item.use
    return {
        "Permit": visa.id,
        "State": f"{item.state} here; the hub says {item.hub_state or 'nothing'}",
        "Hub": f"{item.hub_title} ({item.hub})",
        "Account": f"{visa.subject} ({visa.name})",
        "Organisation": visa.organisation,
        "Project": visa.project,
        "Purpose": visa.purpose,
        "Dataset": f"{_title(node, visa.dataset)} ({visa.dataset})",
        "Actions": ", ".join(visa.actions),
        "Version": visa.version,
        "Last day": f"{_last_day(item)} (UTC)",
        "Conditions": visa.conditions or "none",
        "Received": item.received_at[:19],
        "Decided": f"{(item.decided_at or '')[:19]} by {item.decided_by}" if item.decided_at else "not yet",
        "Reason": item.reason or "none",
        "Used": f"view {use.view}, retrieve {use.retrieve}, analyse {use.analyse}",
    }


def _title(node: Node, iri: str) -> str:
    try:
        return datasets.get(node, iri).title
    except NotFound:
        return "not a dataset of this node"


def _last_day(item: HeldPermit) -> str:
    return f"{item.visa.expires - timedelta(seconds=1):%Y-%m-%d}"


def _plain(item: HeldPermit) -> dict[str, object]:
    visa = item.visa
    return {
        "id": visa.id,
        "hub": item.hub,
        "state": item.state,
        "hub_state": item.hub_state,
        "account": visa.subject,
        "name": visa.name,
        "dataset": visa.dataset,
        "version": visa.version,
        "actions": list(visa.actions),
        "purpose": visa.purpose,
        "project": visa.project,
        "organisation": visa.organisation,
        "conditions": visa.conditions,
        "expires": visa.expires.isoformat(),
        "received_at": item.received_at,
        "decided_at": item.decided_at,
        "decided_by": item.decided_by,
        "reason": item.reason,
        "use": item.use.model_dump(),
    }
