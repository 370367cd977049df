"""`carina node init`: asks the few things a node must know, looks whether it can run here, and makes it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from carina.app.found import NewNode, found_node
from carina.app.surroundings import broker_answers, clock, disk, hub_answers, port, worst
from carina.cli.backup import HELP, backup_place, save_backup
from carina.cli.tables import plain, print_parts
from carina.errors import BadInput, CarinaError, Conflict, InvalidInvitation
from carina.federation.invitation import Invitation, parse_invitation
from carina.model.clock import now
from carina.node.part import Part
from carina.settings import AeTitle, Country, Name, Port, ProjectName, load_node
from carina.storage.accounts import SHORTEST_PASSWORD, account_name

Settings = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One thing that is asked: its option, why it is asked, what is taken when nothing is typed, and what fits.

    `default` is a text, or None where there must be an answer.
    """

    option: str
    why: str
    text: str
    default: str | None
    fits: Any
    hint: str


QUESTIONS = (
    Question(
        "title", "The name under which people meet this node, at the hub and in its pages.",
        "Name of the site", None, Name, "Type a name of at most 200 letters.",
    ),
    Question(
        "institution", "Who holds the images, as the catalogue shows it.",
        "Institution", None, Name, "Type a name of at most 200 letters.",
    ),
    Question(
        "country", "Where it is: two letters, as in ES.",
        "Country", None, Country, "Type two letters of ISO 3166-1, as ES, NL or DE.",
    ),
    Question(
        "project", "Images belong to a project, which has a profile and keys of its own. The name never changes.",
        "Short name of the first project", "main", ProjectName, "Small letters, digits and hyphens; a letter first.",
    ),
    Question(
        "project_title", "What the project is about, in words.",
        "Title of the project", "Cancer imaging", Name, "Type a title of at most 200 letters.",
    ),
    Question(
        "ae_title", "The name to which scanners and PACS send on the DICOM network.",
        "AE title", "CARINA", AeTitle, "At most 16 letters and digits.",
    ),
    Question(
        "dimse_port", "The port to which they send.",
        "DICOM port", "11112", Port, "A number up to 65535; 11112 is usual.",
    ),
)  # fmt: skip
"""Asked in this order; the defaults are taken without asking where nobody can answer."""
FATAL = ("disk", "clock")  # parts without which no node is made
REQUIRED = ("title", "institution", "country", "key_backup")


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Ask nothing: defaults for all that is not given.")
@click.option("--title", help="What people call the node.")
@click.option("--institution", help="Who holds the images, as the catalogue shows it.")
@click.option("--country", help="ISO 3166-1 code, two letters.")
@click.option("--project", help="Short name of the first project.  [default: main]")
@click.option("--project-title", help="What it is about.  [default: Cancer imaging]")
@click.option("--issuer", default="", help="Of patient identifiers, where an image names none.")
@click.option(
    "--keys", type=click.Path(dir_okay=False, path_type=Path), help="Where the key file goes; outside FOLDER."
)
@click.option("--key-backup", help=HELP)
@click.option("--inside-port", type=int, default=8721, show_default=True, help="Console, ingest, staff.")
@click.option("--outside-port", type=int, default=8722, show_default=True, help="What others may reach.")
@click.option("--dimse-port", type=int, help="DICOM network.  [default: 11112]")
@click.option("--ae-title", help="The node's AE title.  [default: CARINA]")
@click.option("--aet", "aets", multiple=True, help="A calling AE title that is a source; repeatable.")
@click.option("--source-folder", "folders", multiple=True, type=click.Path(path_type=Path), help="A folder likewise.")
@click.option("--invitation", help="Of a hub's operator: join that hub at once.")
@click.option("--account", help="Name of the first account, a data manager; its password is shown once.")
def init(folder: Path, yes: bool, aets: tuple[str, ...], folders: tuple[Path, ...], **given: Any) -> None:
    """Make a node in FOLDER: settings, keys, records.

    At a terminal, what is not given is asked for. Nothing is left behind when it is broken off or fails.
    """
    _nothing_there(folder)
    keys = given.pop("keys") or folder.resolve().parent / f"{folder.resolve().name}-keys" / "node.json"
    _check_given(given, (folder.resolve(), keys, *(path.resolve() for path in folders)), aets)
    asks = sys.stdin.isatty() and not yes
    password = _ask(folder, keys, given) if asks else _take_defaults(given)
    place = backup_place(keys, given.pop("key_backup"), folder)
    text, name = given.pop("invitation"), given.pop("account")
    invitation = None if not text else _good(text)
    sources = [("aet", aet) for aet in aets] + [("folder", str(path.resolve())) for path in folders]
    new = NewNode(
        **{**given, "country": given["country"].upper(), "dimse_port": int(given["dimse_port"])},
        sources=tuple(sources),
        manager=(name, password or secrets.token_urlsafe(12)) if name else None,
    )
    _require_own_ports(new)
    _look_around(folder, new, invitation, asks)
    made = found_node(folder, keys, new)
    _tell(folder, keys, place, new, made, shown=bool(name) and not password)
    if text:
        _join(folder, text)


def _nothing_there(folder: Path) -> None:
    """Say what is there, if it is a node already."""
    if not (folder / "node.toml").exists():
        return
    hint = "Choose another folder. To start this one: carina node serve; to look what it lacks: carina node doctor."
    try:
        title = load_node(folder)
    except CarinaError:
        raise Conflict("There is a node in this folder already, whose settings are wrong.", hint) from None
    raise Conflict(f"There is a node in this folder already: {plain(title.title)} ({title.id}).", hint)


def _check_given(given: Settings, places: Iterable[Path], aets: Iterable[str]) -> None:
    """Refuse options that make no node, before anything is asked or made; the rest of them fits one by one."""
    for item in QUESTIONS:
        value = given[item.option]
        if value is not None:
            value = value.upper() if item.option == "country" else value
            _fitting(item.fits, value, f"--{item.option.replace('_', '-')}", item.hint)
    for aet in aets:
        _fitting(AeTitle, aet, "--aet", "An AE title has at most 16 letters and digits.")
    for name in ("inside_port", "outside_port"):
        _fitting(Port, given[name], f"--{name.replace('_', '-')}", "A number up to 65535.")
    if given["account"]:
        account_name(given["account"])
    for place in places:
        if not str(place).isprintable():
            raise BadInput("The name of a folder has signs that no text can hold.", "Choose a folder by another name.")


def _require_own_ports(new: NewNode) -> None:
    """Each listener has a port of its own; 0 lets the system choose."""
    ports = [port for port in (new.inside_port, new.outside_port, new.dimse_port) if port]
    if len(set(ports)) < len(ports):
        raise BadInput("Two listeners would have the same port.", "Give each its own.")


def _take_defaults(given: Settings) -> str:
    """Fill in what may be left out; say which options may not."""
    missing = [f"--{name.replace('_', '-')}" for name in REQUIRED if given[name] is None]
    if missing:
        raise BadInput(
            f"These options are missing: {', '.join(missing)}.",
            "Give them, or run this at a terminal, which asks for what is needed.",
        )
    given.update({item.option: item.default for item in QUESTIONS if given[item.option] is None})
    return ""


def _ask(folder: Path, keys: Path, given: Settings) -> str:
    """Ask for what was not given, each until it fits; gives the first account's password, if one was typed."""
    click.echo(f"This makes a node in {folder.resolve()}: its settings, keys, images and records rest there.")
    click.echo("Return takes what stands in brackets; Ctrl-C ends this, and nothing is left behind.\n")
    for item in QUESTIONS:
        if given[item.option] is None:
            click.echo(item.why)
            given[item.option] = _until(item.text, item.default, _checked(item))
    if given["key_backup"] is None:
        click.echo("Without a back-up of the keys the records are lost with them. Name a file on another disk, or -")
        click.echo("to print them here for your password safe.")
        given["key_backup"] = _until("Back-up of the keys", None, lambda text: _backup(text, keys, folder))
    if given["invitation"] is None:
        click.echo("A hub's operator may have given you an invitation. You can join later: carina node join.")
        given["invitation"] = _until("Invitation", "", lambda text: text and _good(text) and text)
    return _ask_account(given)


def _ask_account(given: Settings) -> str:
    """The name of the first account, and a password typed twice; empty for one that is to be made."""
    if given["account"] is None:
        click.echo("Somebody must be able to sign in to the console. Return for none now; you can add accounts later.")
        given["account"] = _until("Name of the first account", "", lambda name: name and account_name(name))
    if not given["account"]:
        return ""
    click.echo(f"A password of at least {SHORTEST_PASSWORD} letters, or Return for one that is made and shown once.")
    while True:
        typed = click.prompt("Password", default="", show_default=False, hide_input=True)
        if typed and len(typed) < SHORTEST_PASSWORD:
            click.echo(f"  It is too short: at least {SHORTEST_PASSWORD} letters.")
        elif not typed or click.prompt("The same again", default="", show_default=False, hide_input=True) == typed:
            click.echo()
            return str(typed)
        else:
            click.echo("  These were two different ones.")


def _until(text: str, default: str | None, checked: Callable[[str], Any]) -> Any:
    """Ask until the answer fits, and say each time why one does not."""
    while True:
        typed = click.prompt(text, default=default, show_default=bool(default), type=str)
        try:
            value = checked(typed.strip())
        except CarinaError as error:
            click.echo(f"  {error.message} {error.hint}")
        else:
            click.echo()
            return value


def _checked(item: Question) -> Callable[[str], Any]:
    return lambda typed: _fitting(item.fits, typed.upper() if item.option == "country" else typed, "This", item.hint)


def _fitting(kind: Any, value: Any, what: str, hint: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        raise BadInput(f"{what} does not fit.", hint) from None


def _backup(typed: str, keys: Path, folder: Path) -> str:
    """What was typed, if a back-up can be there."""
    backup_place(keys, typed, folder)
    return typed


def _good(text: str) -> Invitation:
    """The invitation, if it is whole and has not expired."""
    invitation = parse_invitation(text.strip())
    if invitation.expires <= now():
        raise InvalidInvitation("This invitation has expired.")
    return invitation


def _look_around(folder: Path, new: NewNode, invitation: Invitation | None, asks: bool) -> None:
    """Show what is found around. A person decides whether to go on in spite of trouble; else only a port that is taken
    and a hub that is silent are no reason to end, for both may change until the node starts."""
    parts = list(_parts(folder, new, invitation))
    print_parts(parts)
    if asks and worst(parts) == "bad":
        click.confirm("Make the node all the same?", abort=True)
    elif any(part.state == "bad" and part.name in FATAL for part in parts):
        raise BadInput("A node cannot run here as it is.", "The list above says what to do; then run this again.")


def _parts(folder: Path, new: NewNode, invitation: Invitation | None) -> Iterator[Part]:
    yield from disk(folder)
    yield port("the console", "--inside-port", "127.0.0.1", new.inside_port)
    yield port("the outside listener", "--outside-port", "127.0.0.1", new.outside_port)
    if new.dimse_port is not None:
        yield port("the DICOM network", "--dimse-port", "127.0.0.1", new.dimse_port)
    yield clock()
    if invitation is not None:
        yield from hub_answers(invitation.url)


def _tell(folder: Path, keys: Path, place: Path | None, new: NewNode, made: str, *, shown: bool) -> None:
    """What is there now, and the next command."""
    save_backup(keys, place)
    at = quote(str(folder))
    click.echo(f"The node {made} is ready in {folder}; its settings are in {folder / 'node.toml'}.")
    if new.manager is None:
        click.echo(f"Next: carina node account add {at} NAME, then carina node serve {at}")
        return
    name, password = new.manager
    if shown:
        click.echo(f"The password of {name}, shown this once: {password}")
    click.echo(f"Next: carina node serve {at}, then sign in as {name} at http://127.0.0.1:{new.inside_port}")


def _join(folder: Path, text: str) -> None:
    """Join the hub; the node is whole without, so a hub that refuses is only told."""
    from carina.app.node import join  # with all doors; not before the questions

    try:
        joined = join(folder, text.strip())
    except CarinaError as error:
        again = f"carina node join {quote(str(folder))}"
        click.echo(f"It has not joined the hub: {error.message} Try again: {again}", err=True)
        return
    click.echo(f"Joined {plain(joined.title)} ({joined.id}).")
    print_parts([broker_answers(joined.broker, joined.broker_ca)])
