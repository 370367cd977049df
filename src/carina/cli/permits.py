"""`carina permits`."""

from __future__ import annotations

import json

import click

from carina.cli.research import connected, hub_option, json_option
from carina.cli.tables import print_facts, print_table
from carina.interfaces.api.access_documents import Permit, permit_to_json


@click.group(invoke_without_command=True)
@click.pass_context
def permits(context: click.Context) -> None:
    """See what you may do with which datasets; without a command, list your permits."""
    if context.invoked_subcommand is None:
        with list_.make_context("list", [], parent=context) as listing:
            list_.invoke(listing)


@permits.command("list")
@hub_option
@json_option
def list_(url: str | None, as_json: bool) -> None:
    """List your permits, newest first, with those that are over."""
    with connected(url) as client:
        found = client.permits()
    if as_json:
        click.echo(json.dumps([permit_to_json(permit) for permit in found], indent=1))
        return
    headings = ("Permit", "Dataset", "Node", "Actions", "Version", "Last day", "State")
    print_table(headings, map(permit_row, found), "1 permit." if len(found) == 1 else f"{len(found)} permits.")


def permit_row(permit: Permit) -> tuple[str, ...]:
    """A permit's line of the table."""
    what = (permit.id, permit.title, permit.node_title, ", ".join(permit.actions), permit.version)
    return *what, permit.last_day, permit.condition


@permits.command("show")
@click.argument("id_", metavar="ID")
@hub_option
@json_option
def show(id_: str, url: str | None, as_json: bool) -> None:
    """Show the permit ID: its conditions, what the node says of it, and its use."""
    with connected(url) as client:
        permit = client.permit_state(id_)
    if as_json:
        click.echo(json.dumps(permit_to_json(permit), indent=1))
        return
    facts = {
        "Permit": permit.id,
        "Dataset": f"{permit.title} ({permit.dataset})",
        "Node": permit.node_title,
        "Address": permit.public_url or "none: search and analysis only",
        "Project": permit.project,
        "Actions": ", ".join(permit.actions),
        "Version": permit.version,
        "Conditions": permit.conditions or "none",
        "State": permit.condition,
        "Last day": permit.last_day,
        "Words": permit.ended_why or permit.node_reason or "none",
        "Used": ", ".join(f"{action} {permit.use.get(action, 0)}" for action in permit.actions),
    }
    print_facts(facts)


@permits.command("revoke")
@click.argument("id_", metavar="ID")
@click.option("--why", default="", help="For the other side; a member of the committee must say it.")
@hub_option
def revoke(id_: str, why: str, url: str | None) -> None:
    """End the permit ID before its time: give yours back, or end it as a member of its committee."""
    with connected(url) as client:
        client.revoke(id_, why)
    click.echo("Ended; within a minute its node opens nothing for it.")
