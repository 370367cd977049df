"""`carina deid`: de-identify folders of DICOM files, without a node."""

from __future__ import annotations

import getpass
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carina.cli.tables import plain, print_table
from carina.deid.keyfile import read_key, read_or_make_key
from carina.deid.profile import profile_of
from carina.errors import BadInput, BadSettings, NotFound, Withheld
from carina.model.ids import project_id
from carina.model.instance import Reason

if TYPE_CHECKING:
    from carina.deid.engine.handling import Handling
    from carina.deid.evidence.diff import Difference

MAP = "map.sqlite3"
_file = click.Path(dir_okay=False, path_type=Path)
_there = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)


class FolderOrCommand(click.Group):
    """A group whose first word is the name of a command, or else the folder that is to be de-identified."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return ["folder", "diff", "report", "reveal", "key", "profile"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; that of profiles is in a module of its own."""
        if cmd_name == "profile":
            command: click.Command = importlib.import_module("carina.cli.deid_profile").profile
            return command
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As a group; without a command's name, the command `folder` is meant."""
        if args and args[0] not in (*self.list_commands(ctx), *ctx.help_option_names):
            args = ["folder", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of the folder command, then the other commands."""
        folder.format_help(click.Context(folder, parent=ctx.parent, info_name=ctx.info_name), formatter)
        self.format_commands(ctx, formatter)


class Folder(click.Command):
    """The command without a name of its own: whatever it says of itself it says as `carina deid`."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context, in place of the group's."""
        group = parent if parent is not None else click.Context(self)
        return super().make_context(group.info_name, args, group.parent, **extra)


@click.group(cls=FolderOrCommand)
def deid() -> None:
    """De-identify a folder of DICOM files: carina deid IN OUT --key-file KEY."""


@deid.command(cls=Folder, hidden=True)
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--key-file", required=True, type=_file, help="The secret, 32 bytes at least; made if it is not there.")
@click.option("--profile", "profile_name", default="research", show_default=True, help="Its name, or a TOML file.")
@click.option("--project", default="research", show_default=True, help="Two projects share no pseudonym, UID or date.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes.  [default: one for each processor, 8 at most]")
@click.option("--issuer", default="", help="Of patient identifiers, where an image names none.")
@click.option("--strip-leading-zeros", is_flag=True, help="Whether 007 and 7 are the same patient identifier.")
@click.option("--pseudonymised", is_flag=True, help="IN has pseudonyms already: verified, its UIDs and dates stay.")
@click.option("--clinical", type=_there, help="A clinical table that goes with the images: joint risk.")
@click.option("--report", type=_file, help="Where the report goes.  [default: OUT/report.json]")
@click.option("--records", type=_folder, help="Where the key holder's records lie.  [default: KEY.records]")
@click.option("--no-map", is_flag=True, help="Keep no map back to the persons.")
@click.option("--mapping", type=_folder, help="Write the two tables of the MIDI-B validator there. They identify.")
@click.option("--withheld", type=_folder, help="Write a list of the files that were withheld there. It identifies.")
@click.option("--no-sample", is_flag=True, help="Search no plain CT, MR or PET image of each layout for text.")
@click.option("--again", is_flag=True, help="Do also what an earlier run has done.")
@click.option("--json", "as_json", is_flag=True, help="Print the report, for programs.")
def folder(
    source: Path, output: Path, key_file: Path, profile_name: str, project: str, workers: int | None, issuer: str,
    strip_leading_zeros: bool, pseudonymised: bool, clinical: Path | None, report: Path | None, records: Path | None,
    no_map: bool, mapping: Path | None, withheld: Path | None, no_sample: bool, again: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write the clean form of each DICOM file of IN into OUT, under pseudonyms, with a signed report.

    What a second run finds done it leaves. Ends with 0 when each file was written, or withheld for a reason; else with
    65.
    """
    from carina.app.deid import Order, check_places, run

    records = records or key_file.with_name(key_file.name + ".records")
    order = Order(
        source=source, output=output, report=report or output / "report.json", profile=profile_of(profile_name),
        key=b"", key_file=key_file, records=records, project=project_id(project), workers=workers or _processors(),
        way_back=None if no_map else records / MAP, mapping=mapping, withheld=withheld, clinical=clinical,
        issuer=issuer, strip_leading_zeros=strip_leading_zeros, pseudonymised=pseudonymised, sample=not no_sample,
        again=again,
    )  # fmt: skip
    check_places(order)
    key, made = read_or_make_key(key_file)
    if made:
        words = "A key was made in the key file. Keep a copy of it: it alone gives the same persons the same names."
        click.echo(words, err=as_json)
    with _progress() as progress:
        done = run(replace(order, key=key), progress)
    if as_json:
        click.echo(json.dumps(done, indent=1, ensure_ascii=False))
    else:
        _show(done)
    files = done["files"]
    failed = files["withheld"].get("failed", 0) + files["not_copied"].get("unreadable", 0)
    if failed:
        raise BadInput(f"{failed} files could not be worked on.", "Run it again; `--withheld DIR` lists them.")


def _processors() -> int:
    """As many workers as this process may use processors; each has a text finder, which takes memory."""
    return min(len(os.sched_getaffinity(0)), 8)


def _show(done: dict[str, Any]) -> None:
    """What became of the files, in numbers."""
    files = done["files"]
    click.echo(f"{files['written']:6} of {files['given']} files written for {done['written']['patients']} patients")
    for name, count in [*files["withheld"].items(), *files["not_copied"].items()]:
        click.echo(f"{count:6} {name}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A line that counts, where a person looks on; it names no file."""
    if not sys.stderr.isatty():
        yield lambda done, found: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, found: shown.update(task, completed=done, total=found)


@deid.command()
@click.argument("key_file", metavar="KEY", type=_file)
def key(key_file: Path) -> None:
    """Make the key file KEY, unless it is there, and show by which name reports call it."""
    from carina.federation.signing import SigningKey
    from carina.model.keys import derive

    master, made = read_or_make_key(key_file)
    name = SigningKey.from_seed(derive(master, "report")).thumbprint
    click.echo(f"{'Made' if made else 'There'}; its reports are signed by {name}")


@deid.command()
@click.argument("path", metavar="FILE", type=_there)
@click.option("--key-file", type=_file, help="It must be this key's report, not any key's.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def report(path: Path, key_file: Path | None, as_json: bool) -> None:
    """Check the signature of the report FILE and show what it says."""
    from carina.app.deid_report import read_report
    from carina.deid.evidence.report import lines_of

    found, signer = read_report(path, read_key(key_file) if key_file else None)
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for line in lines_of(found):
        click.echo(line)
    whose = "the key file" if key_file else "the key that the report names"
    click.echo(f"Signed by {whose}: {signer}")


@deid.command()
@click.argument("pseudonym")
@click.option("--key-file", required=True, type=_file, help="The key that the images were made with.")
@click.option("--map", "path", type=_file, help="The map.  [default: in KEY.records]")
def reveal(pseudonym: str, key_file: Path, path: Path | None) -> None:
    """Show what PSEUDONYM, or a new UID, stands for. The look is written down in a trail beside the map."""
    from carina.deid.evidence.reveal import WayBack

    master = read_key(key_file)
    path = path or key_file.with_name(key_file.name + ".records") / MAP
    if not path.exists():
        raise NotFound("There is no map there.", "It lies in the key holder's records, unless `--no-map` was given.")
    opened = WayBack(path, master)
    try:
        for original in opened.look(pseudonym, getpass.getuser()):
            of = f" of {original.issuer}" if original.issuer else ""
            click.echo(plain(f"{original.kind}: {original.value}{of}"))
    finally:
        opened.close()


@deid.command()
@click.argument("path", metavar="FILE", type=_there)
@click.option("--key-file", required=True, type=_file, help="As for a folder.")
@click.option("--profile", "profile_name", default="research", show_default=True, help="Its name, or a TOML file.")
@click.option("--project", default="research", show_default=True, help="As for a folder.")
@click.option("--issuer", default="", help="As for a folder.")
@click.option("--strip-leading-zeros", is_flag=True, help="As for a folder.")
@click.option("--pseudonymised", is_flag=True, help="As for a folder.")
@click.option("--all", "everything", is_flag=True, help="Show also what stays as it is.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def diff(
    path: Path, key_file: Path, profile_name: str, project: str, issuer: str, strip_leading_zeros: bool,
    pseudonymised: bool, everything: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show each element of the DICOM file FILE before and after, with the rule's reason; nothing is written."""
    from carina.deid.engine.handling import Handling
    from carina.deid.pseudonyms import ProjectKeys

    name = project_id(project)
    if not key_file.exists():
        raise BadSettings("There is no key file there.", "`carina deid key KEY` makes one.")
    keys = ProjectKeys.of(read_key(key_file), name)
    handling = Handling(name, profile_of(profile_name), keys, issuer, strip_leading_zeros, pseudonymised)
    try:
        found = _searched_differences(path.read_bytes(), handling)
    except Withheld as error:
        raise BadInput(f"The file would be withheld: {error.reason}.", error.message) from None
    shown = [each for each in found if each.changed or everything]
    if as_json:
        click.echo(json.dumps([each.to_json() for each in shown], indent=1, ensure_ascii=False))
        return
    rows = [(each.path, each.keyword, each.action, each.reason, each.before or "", each.after or "") for each in shown]
    headings = ("Element", "Keyword", "Rule", "Reason", "Before", "After")
    print_table(headings, rows, f"{sum(each.changed for each in found)} of {len(found)} elements change.")


def _searched_differences(data: bytes, handling: Handling) -> list[Difference]:
    """The differences; where the profile cleans pixels, and this image's must be, they are searched for text first."""
    from carina.deid.evidence.diff import differences
    from carina.deid.pixels.examine import examine
    from carina.deid.pixels.finder import TextFinder
    from carina.deid.profile import PIXEL_DATA

    try:
        return differences(data, handling)
    except Withheld as error:
        if error.reason != Reason.PIXELS_NOT_CHECKED or PIXEL_DATA not in handling.profile.options:
            raise
    with TextFinder() as finder:
        return differences(data, handling, examine(data, finder))
