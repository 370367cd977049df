"""`carina node review`: images in which text was found, and what a reader decides on them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from carina.app.site import open_node
from carina.cli.tables import print_facts, print_table
from carina.deid.pixels.findings import Box
from carina.errors import BadInput, Conflict, Full, NotAllowed
from carina.interfaces.api.review import review_to_json
from carina.node import review
from carina.node.site import Node
from carina.storage import accounts

OUTCOMES = {
    "settled": "Decided: the image goes back to the workers.",
    "rejected": "Rejected: for 24 hours the quarantine can take it back.",
    "waits": "Noted: a second reader must say the same.",
}
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_id = click.argument("entry", metavar="ID")
_password = click.option("--password", help="Asked for when not given.")
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group("review")
def review_() -> None:
    """Images in which text was found, and what a reader decides on them."""


@review_.command("list")
@_folder
@click.option("--project", default="", help="Only of this project.")
@_json
def list_reviews(folder: Path, project: str, as_json: bool) -> None:
    """List what waits for a reader, the oldest 1000."""
    with open_node(folder) as opened:
        found = review.flagged(opened, project, 1000)
    if as_json:
        click.echo(json.dumps([review_to_json(one) for one in found], indent=1, ensure_ascii=False))
        return
    rows = [(one.id, one.project, one.modality or "–", f"{one.columns} × {one.rows}", str(one.frames),
             str(len(one.boxes)), f"{len(one.opinions)} of {one.readers}", one.received_at[:19])
            for one in found]  # fmt: skip
    headings = ("Id", "Project", "Modality", "Pixels", "Frames", "Boxes", "Readers", "Received (UTC)")
    print_table(headings, rows, "" if rows else "No image waits for a reader.", numbers=(4, 5))


@review_.command()
@_folder
@_id
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write a frame to this new PNG file.")
@click.option("--frame", type=click.IntRange(1), default=1, help="Which, counted from 1.")
@click.option("--account", help="Whose account looks at the picture; its password is asked for.")
@_password
@_json
def show(
    folder: Path, entry: str, picture: Path | None, frame: int, account: str | None, password: str | None, as_json: bool
) -> None:
    """Show one image's boxes and decisions. A picture of it may identify a person; the look is audited."""
    with open_node(folder) as opened:
        found = review_to_json(review.get(opened, entry))
        if picture is not None:
            reader = _reader(opened, account, password)
            _write(picture, review.picture(opened, reader, entry, frame))
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    told = {name: str(value) for name, value in found.items() if not isinstance(value, list)}
    for name in ("boxes", "proposed"):
        told[name] = "; ".join(_written(box) for box in found[name]) or "none"
    for number, one in enumerate(found["decisions"], 1):
        places = "; ".join(_written(box) for box in one["boxes"]) or "no box"
        told[f"decision {number}"] = f"{one['actor']}, {one['at'][:19]}: {one['verdict']}, {places}"
    print_facts(told)


@review_.command()
@_folder
@_id
@click.argument("verdict", type=click.Choice(["accept", "reject"]))
@click.option("--box", "boxes", multiple=True, metavar="T,L,B,R[,FRAME]", help="To be blanked, in pixels; repeatable.")
@click.option("--proposed", is_flag=True, help="Blank the boxes that `show` proposes.")
@click.option("--no-text", is_flag=True, help="There is no text in it: blank nothing.")
@click.option("--account", help="Who decides: a data manager's account; its password is asked for.")
@_password
def decide(
    folder: Path, entry: str, verdict: str, boxes: tuple[str, ...], proposed: bool, no_text: bool,
    account: str | None, password: str | None,
) -> None:  # fmt: skip
    """Say whether an image may pass, and which places of it are blanked. Look at it before (`show --picture`).

    A box is top, left, bottom, right, the ends left out; a frame is counted from 0, without one it is of all frames.
    """
    if (bool(boxes) + proposed + no_text) != (verdict == "accept"):
        raise BadInput(
            "It is not clear what is to be blanked.", "To accept, give --box, --proposed or --no-text; to reject, none."
        )
    with open_node(folder) as opened:
        one = review.get(opened, entry)
        chosen = list(one.proposed) if proposed else [_box(text) for text in boxes]
        said: review.Verdict = "accept" if verdict == "accept" else "reject"
        reader = _reader(opened, account, password)
        outcome = review.decide(opened, reader, entry, said, chosen, seen=len(one.decisions))
    click.echo(OUTCOMES[outcome])


def _reader(opened: Node, account: str | None, password: str | None) -> str:
    """The account of whoever sits here, by its password: readers are known as persons, wherever they read."""
    if not account:
        raise BadInput("A reader has an account of their own.", "Name it with --account.")
    given = password if password is not None else click.prompt("Password", hide_input=True, err=True)
    who = accounts.check_password(opened.engine, account, given, "terminal", issuer=opened.id)
    if "data-manager" not in who.roles:
        raise NotAllowed("Readers are data managers.", "Use the account of one.")
    return who.subject


def _box(text: str) -> Box:
    parts = text.split(",")
    if len(parts) not in (4, 5) or not all(part.strip().isdecimal() and len(part) < 10 for part in parts):
        raise BadInput("A box is four numbers or five.", "Write it as 12,16,36,232, or 12,16,36,232,0 for frame 0.")
    return Box(*map(int, parts))


def _written(box: list[int | None]) -> str:
    return ",".join(str(number) for number in box if number is not None)


def _write(place: Path, data: bytes) -> None:
    try:
        with place.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise Conflict("There is a file of this name already.", "Name a new one.") from None
    except OSError as error:
        raise Full("The file cannot be written there.", f"The system says: {error.strerror}.") from None
