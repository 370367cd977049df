"""`carina run`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from carina.cli.research import connected, hub_option, json_option
from carina.cli.tables import plain, print_table
from carina.compute.moments import std
from carina.interfaces.api.exports import POOLED, Job, Run, run_to_json
from carina.interfaces.client.client import Client
from carina.model.job import SIGNAL_STATISTICS, Moments

_POLL = 2.0  # seconds


@click.group()
def run() -> None:
    """Run an analysis at the nodes that hold the images; only checked sums come back."""


@run.command("start")
@click.argument("permits", nargs=-1, required=True, metavar="PERMIT...")
@click.option("--analysis", default=SIGNAL_STATISTICS.name, show_default=True, help="What to compute.")
@click.option("--title", default="", help="Your own name for the run.")
@click.option("--wait", is_flag=True, help="Wait until every node has done its part or will not.")
@hub_option
@json_option
def start(permits: tuple[str, ...], analysis: str, title: str, wait: bool, url: str | None, as_json: bool) -> None:
    """Begin an analysis over the datasets of these permits, one job for each.

    A node that is down does its job after its return, within seven days.
    """
    with connected(url) as client:
        begun = client.run(permits, analysis, title)
        while wait and not begun.ended:
            time.sleep(_POLL)
            begun = client.run_state(begun)
    _show(begun, as_json)


@run.command("list")
@hub_option
@json_option
def list_(url: str | None, as_json: bool) -> None:
    """List your runs, newest first."""
    with connected(url) as client:
        found = client.runs()
    if as_json:
        click.echo(json.dumps([run_to_json(item) for item in found], indent=1))
        return
    headings = ("Run", "Title", "Analysis", "Begun", "Nodes", "Done", "State")
    line = "1 run." if len(found) == 1 else f"{len(found)} runs."
    print_table(headings, map(run_row, found), line, numbers=(4, 5))


def run_row(item: Run) -> tuple[str, ...]:
    """A run's line of the table."""
    state = "cancelled" if item.cancelled_at else "ended" if item.ended else "going on"
    done = sum(job.state == "done" for job in item.jobs)
    begun = item.created_at[:16].replace("T", " ")
    return item.id, item.title, item.analysis, begun, str(len(item.jobs)), str(done), state


@run.command("show")
@click.argument("id_", metavar="ID")
@hub_option
@json_option
def show(id_: str, url: str | None, as_json: bool) -> None:
    """Show the run ID: each node's part, its numbers, and the pooled ones."""
    with connected(url) as client:
        found = client.run_state(id_)
    _show(found, as_json)


@run.command("cancel")
@click.argument("id_", metavar="ID")
@hub_option
def cancel(id_: str, url: str | None) -> None:
    """Stop what has not ended of the run ID; what nodes have given stays."""
    with connected(url) as client:
        client.cancel(id_)
    click.echo("Cancelled.")


@run.command("export")
@click.argument("id_", metavar="ID")
@click.option("--format", "form", type=click.Choice(("csv", "json")), default="csv", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; without it, standard output.")
@hub_option
def export(id_: str, form: str, output: Path | None, url: str | None) -> None:
    """Write the numbers of the run ID, with all their digits."""
    with connected(url) as client:
        text = client.run_csv(id_) if form == "csv" else _json(client, id_)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_bytes(text.encode())


def _json(client: Client, id_: str) -> str:
    return json.dumps(run_to_json(client.run_state(id_)), indent=1) + "\n"


def _show(item: Run, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(run_to_json(item), indent=1))
        return
    click.echo(plain(f"Run {item.id}: {item.title or item.analysis}"))
    jobs = [(job.node_title, job.dataset_title, state_of(job)) for job in item.jobs]
    done = sum(job.state == "done" for job in item.jobs)
    print_table(("Node", "Dataset", "State"), jobs, f"{done} of {len(item.jobs)} done.\n")
    rows = [(moments.group, job.node_title, *_numbers(moments), "") for job in item.jobs for moments in job.groups]
    for pooled in item.pooled:
        withheld = ", ".join(pooled.withheld) or "–"
        rows.append((pooled.moments.group, POOLED, *_numbers(pooled.moments), withheld))
    if item.pooled:
        headings = ("Group", "Node", "n", "Mean", "Standard deviation", "Withheld by")
        print_table(headings, rows, "A person known to two nodes counts twice.", numbers=(2, 3, 4))


def state_of(job: Job) -> str:
    """How a job is, in words."""
    if job.state == "running":
        return f"running, {job.percent} %"
    if job.state in ("waiting", "taken") and not job.node_online:
        return f"{job.state}; the node is silent"
    return f"{job.state} ({job.reason})" if job.reason else job.state


def _numbers(moments: Moments) -> tuple[str, str, str]:
    spread = std(moments)
    return f"{moments.n:,}", f"{moments.mean:.6g}", "–" if spread is None else f"{spread:.6g}"
