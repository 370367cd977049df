"""`carina node status | arrivals | storage | key list`: whether all is well, what arrives, what there is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from carina.app.around import around
from carina.app.site import open_node
from carina.cli.tables import plain, print_table
from carina.errors import FinderUnavailable
from carina.interfaces.api.console import arrivals_to_json, key_to_json, overview_to_json, storage_to_json
from carina.model.instance import Reason
from carina.node import keylist
from carina.node.arrivals import Arriving, arriving, growing
from carina.node.growth import Storage, growth, storage
from carina.node.overview import Overview, overview
from carina.node.part import Part
from carina.node.status import status as status_of
from carina.storage.arrivals import StudyProgress

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_MARKS = {"good": "ok", "warn": "look", "bad": "BAD"}
_STUDIES = 12  # that grew last
_DAYS = 14  # of growth in the table; all are in the JSON


@click.command()
@_folder
@_json
def status(folder: Path, as_json: bool) -> None:
    """Say whether all is well, and show what the node holds and what waits."""
    with open_node(folder) as opened:
        seen = overview(opened, around(folder))
        found = status_of(opened)
    if as_json:
        click.echo(json.dumps({**overview_to_json(seen), **found}, indent=1, ensure_ascii=False))
        return
    click.echo(f"{found['title']} ({found['id']})")
    click.echo(plain(seen.sentence))
    _print_parts(seen)
    _print_holdings(found)


def _print_parts(seen: Overview) -> None:
    click.echo()
    print_table(("Part", "State", "What"), [(part.name, _MARKS[part.state], _told(part)) for part in seen.parts])
    click.echo()


def _told(part: Part) -> str:
    """The sentence, and what to do where something is wanting."""
    return plain(part.sentence if part.state == "good" or not part.hint else f"{part.sentence} {part.hint}")


def _print_holdings(found: Mapping[str, Any]) -> None:
    archive, spool = found["archive"], found["spool"]
    click.echo("Archive: " + ", ".join(f"{count} {name}" for name, count in archive.items()))
    click.echo(
        f"Studies: {found['studies']['complete']} complete, {found['studies']['receiving']} may still get images; "
        f"complete after {found['quiet']} s without one"
    )
    click.echo(_spool_line(spool))
    for reason, count in found["quarantine"].items():
        click.echo(f"Quarantine: {count} {reason}. {Reason(reason).sentence}")
    for line in _pixel_lines(found):
        click.echo(line)
    for known in found["hubs"]:
        heard = known["last_contact"] or "never"
        click.echo(plain(f"Hub: {known['title']} ({known['state']}, last heard {heard})"))
    click.echo(f"Disk: {found['disk_free'] / 1e9:.1f} of {found['disk_size'] / 1e9:.1f} GB free")


def _spool_line(spool: Mapping[str, Any]) -> str:
    line = f"Spool: {spool['waiting']} waiting"
    if spool["waiting"]:
        line += f" ({spool['size'] / 1e6:.1f} MB), the oldest since {spool['oldest']}"
        line += f", worked on by {', '.join(spool['workers'])}" if spool["workers"] else ", worked on by nobody now"
    return line


def _pixel_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What became of the search for text in pixels, of `status`; nothing where none was searched or waits."""
    pixels = found["pixels"]
    waits = {"waiting": "wait to be searched", "flagged": "wait for a reader", "failed": "could not be searched"}
    told = [f"{pixels[state]} {what}" for state, what in waits.items() if pixels.get(state)]
    if told or pixels["looked_at"]:
        yield "Pixels: " + ", ".join([f"{pixels['looked_at']} searched for text", *told])
    if found["text_finder"]:
        error = FinderUnavailable()
        yield f"Pixels: what is to be searched waits. {error.message} {error.hint}"


@click.command()
@_folder
@_json
@click.option("--watch", is_flag=True, help="Again every 2 s until Ctrl-C.")
def arrivals(folder: Path, as_json: bool, watch: bool) -> None:
    """Show what each source has sent, what became of it, how fast it comes, and the studies that grew last."""
    with open_node(folder) as opened:
        while True:
            seen = arriving(opened)
            if as_json:
                click.echo(json.dumps(arrivals_to_json(opened, seen), indent=None if watch else 1, ensure_ascii=False))
            else:
                _print_arrivals(seen)
                _print_studies(growing(opened, _STUDIES))
            if not watch:
                return
            time.sleep(2)


def _print_arrivals(seen: Arriving) -> None:
    rows = [
        (
            plain(str(row.source)), row.project or "–", str(row.tally.total), str(row.tally.archived),
            str(row.tally.unchanged), str(row.quarantined), str(row.tally.received), str(row.minute), str(row.quarter),
            row.last_seen[:19] if row.last_seen else "never",
        )
        for row in seen.sources
    ]  # fmt: skip
    names = ("Source", "Project", "Arrived", "Archived", "Known", "Quarantine", "Waiting", "In 1 min", "In 15 min")
    print_table((*names, "Last seen (UTC)"), rows, numbers=(2, 3, 4, 5, 6, 7, 8))


def _print_studies(studies: Sequence[StudyProgress]) -> None:
    if not studies:
        return
    click.echo()
    rows = [
        (one.study_uid, one.project, ", ".join(one.modalities), str(one.series), str(one.instances), one.state,
         one.last_at[:19])
        for one in studies
    ]  # fmt: skip
    names = ("Study", "Project", "Modalities", "Series", "Images", "State", "Last image (UTC)")
    print_table(names, rows, numbers=(3, 4))


@click.command("storage")
@_folder
@_json
def storage_(folder: Path, as_json: bool) -> None:
    """Show where the bytes are, how they grew, and when the disk will be full."""
    with open_node(folder) as opened:
        found = storage(opened, growth(opened), around(folder).disk(folder))
    if as_json:
        click.echo(json.dumps(storage_to_json(found), indent=1, ensure_ascii=False))
    else:
        _print_storage(found)


def _print_storage(found: Storage) -> None:
    grown = found.growth
    held = sum(size for _, size in found.held.values())
    parts = {"archive": grown.size, "spool": found.waiting.size, "quarantine": held}
    parts |= {"discarded": found.discarded[1], "records": found.records, "disk": found.total, "free": found.free}
    print_table(("What", "MB"), [(name, f"{size / 1e6:.1f}") for name, size in parts.items()], numbers=(1,))
    if grown.heaps:
        click.echo()
        rows = [(one.project, plain(one.modality), str(one.images), f"{one.size / 1e6:.1f}") for one in grown.heaps]
        print_table(("Project", "Modality", "Images", "MB"), rows, numbers=(2, 3))
    if grown.days:
        click.echo()
        days = [(f"{one.day}", one.project, str(one.images), f"{one.size / 1e6:.1f}") for one in grown.days[-_DAYS:]]
        print_table(("Day", "Project", "Images", "MB"), days, numbers=(2, 3))
    days_left = grown.days_until(found.free)
    click.echo()
    if days_left is None:
        click.echo("At the pace of the last 30 days the disk lasts for more than ten years.")
    else:
        click.echo(f"At the pace of the last 30 days the disk is full in about {days_left} days.")


@click.command("list")
@_folder
@_json
def list_keys(folder: Path, as_json: bool) -> None:
    """List keys and certificates by their fingerprints, and when they end. Nothing secret is shown."""
    with open_node(folder) as opened:
        found = keylist.listed(opened, around(folder).certificates)
    if as_json:
        click.echo(json.dumps([key_to_json(line) for line in found], indent=1, ensure_ascii=False))
        return
    rows = [
        (line.what, plain(line.of) or "–", line.fingerprint[:16], (line.since or "–")[:10], _end(line))
        for line in found
    ]
    print_table(("What for", "Whose", "Fingerprint", "Since", "Ends"), rows)


def _end(line: keylist.KeyLine) -> str:
    if line.expires is None:
        return line.note or "never"
    return f"{line.expires[:10]}, {line.days} days left" + (f". {line.note}" if line.note else "")
