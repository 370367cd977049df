"""The command line: `carina`. Each room is imported when its command is called, so that `carina search` stays light."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

import click

from carina.errors import (
    BadInput,
    BadSettings,
    Busy,
    CarinaError,
    Conflict,
    FinderUnavailable,
    Full,
    NotAllowed,
    NotFound,
    TooMany,
    Unreachable,
)

EXIT_CODES: dict[type[CarinaError], int] = {  # after BSD's sysexits.h
    BadInput: 65,
    NotFound: 66,
    Unreachable: 69,
    FinderUnavailable: 69,
    Conflict: 73,
    Full: 74,
    Busy: 75,
    TooMany: 75,
    NotAllowed: 77,
    BadSettings: 78,
    CarinaError: 70,
}

_COMMANDS = {
    "login": ("research", "Sign in to a hub and keep a token."),
    "logout": ("research", "Forget the token of a hub."),
    "datasets": ("research", "List the datasets of a hub."),
    "search": ("research", "Count patients and studies over all nodes of a hub."),
    "request": ("request", "Ask for access to datasets, and see what became of it."),
    "permits": ("permits", "See what you may do with which datasets."),
    "run": ("runs", "Run an analysis at the nodes that hold the images."),
    "node": ("node", "Run a node: a site that holds images."),
    "hub": ("hub", "Run a hub: the centre of a federation."),
    "send": ("send", "Send DICOM files to a PACS."),
    "deid": ("deid", "De-identify a folder of DICOM files, without a node."),
    "sample": ("sample", "Write a made-up cancer cohort as DICOM."),
    "demo": ("demo", "Run a whole federation on this machine."),
}
_EXTRAS = {"node": "node", "send": "node", "hub": "hub", "deid": "node", "sample": "demo", "demo": "demo"}


class Commands(click.Group):
    """The commands by name; a command whose extra is not installed says which one it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = _COMMANDS[cmd_name][0]
        try:
            command: click.Command = getattr(importlib.import_module(f"carina.cli.{module}"), cmd_name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("carina"):
                raise
            raise BadSettings(
                f"`carina {cmd_name}` needs a part that is not installed ({error.name}).",
                f"Install it with: pip install 'carina[{_EXTRAS.get(cmd_name, 'hub')}]'",
            ) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of the help page, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=Commands)
@click.version_option(package_name="carina")
def carina() -> None:
    """Carina opens cancer images to research without giving them away."""


def exit_code(error: CarinaError) -> int:
    """The exit code of the nearest class in the table."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def main() -> None:
    """Run the command; say an error in one sentence, with what to do, and end with a fitting code."""
    try:
        carina.main(standalone_mode=False)
    except CarinaError as error:
        click.echo(f"carina: {error.message} {error.hint}", err=True)
        sys.exit(exit_code(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:  # its file's name may say more than it should
        click.echo(f"carina: A file cannot be used: {error.strerror}. Check the rights and the room there.", err=True)
        sys.exit(EXIT_CODES[Full])
    except (click.Abort, KeyboardInterrupt):
        click.echo("carina: ended.", err=True)
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  its words may quote values, so only its kind and place are shown
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {place.name}, {Path(place.filename).name} line {place.lineno}"
        click.echo(f"carina: Something failed that should not have ({where}). Please report this line.", err=True)
        sys.exit(EXIT_CODES[CarinaError])
