"""`carina node verify`, `export` and `import`: whether all is as it was stored, and its back-up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shlex import quote

import click

from carina.app.site import open_node
from carina.cli.backup import save_backup
from carina.cli.tables import print_table
from carina.errors import BadInput, BadSettings, Conflict
from carina.node.verify import KINDS, Finding, Verified
from carina.node.verify import verify as verify_node
from carina.settings import load_node

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_SHOWN = 50  # findings of each kind in the table; all are in the JSON


@click.command()
@_folder
@click.option("--rate", type=click.FloatRange(min=0.1), help="Read at most so many MB a second.")
@click.option("--json", "as_json", is_flag=True, help="For programs; names every finding.")
def verify(folder: Path, rate: float | None, as_json: bool) -> None:
    """Read every stored file and compare it with the records; the node may run meanwhile.

    Ends with 0 when all is whole, else with 73. Files are named by the digest of their content or the id of their
    arrival.
    """
    with open_node(folder) as opened:
        tell = None if as_json or not sys.stderr.isatty() else _progress
        found = verify_node(opened, rate * 1e6 if rate else None, tell)
    if as_json:
        click.echo(json.dumps(_verified_to_json(found), indent=1))
    else:
        _show(found)
    if not found.whole:
        raise Conflict(
            f"{len(found.findings)} things are not as they were stored.",
            "docs/how-to/back-up.md says for each kind what to do.",
        )


def _progress(found: Verified) -> None:
    click.echo(f"\r{found.files} files, {found.size / 1e9:.1f} GB, {len(found.findings)} findings", nl=False, err=True)


def _verified_to_json(found: Verified) -> dict[str, object]:
    return {
        "files": found.files,
        "size": found.size,
        "sealed": found.sealed,
        "audit": found.audit,
        "way_back": found.way_back,
        "orphans": found.orphans,
        "unclaimed": found.unclaimed,
        "counts": found.counts(),
        "findings": [{"kind": finding.kind, "subject": finding.subject} for finding in found.findings],
    }


def _show(found: Verified) -> None:
    click.echo(f"{found.files} stored files ({found.size / 1e9:.2f} GB) and {found.sealed} encrypted ones were read.")
    click.echo(f"The audit trail has {found.audit} rows, the map of the way back {found.way_back} lines.")
    if found.orphans:
        click.echo(f"{found.orphans} stored files have no row; they do no harm.")
    if found.unclaimed:
        click.echo(f"{found.unclaimed} encrypted files have no row; the next start of the node takes them up.")
    if found.whole:
        click.echo("All is whole.")
    else:
        _show_findings(found.findings)


def _show_findings(findings: list[Finding]) -> None:
    rows = []
    for kind, meaning in KINDS.items():
        of_kind = [finding.subject for finding in findings if finding.kind == kind]
        rows += [(kind, subject, meaning) for subject in of_kind[:_SHOWN]]
        if len(of_kind) > _SHOWN:
            rows.append((kind, f"and {len(of_kind) - _SHOWN} more", meaning))
    print_table(("Kind", "Subject", "Meaning"), rows)


@click.command("export")
@_folder
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--since",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier back-up: what it has of the store is left out.",
)
@click.option("--with-keys", type=click.Path(dir_okay=False, path_type=Path), help="Copy the key file there, too.")
def export_(folder: Path, archive: Path, since: Path | None, with_keys: Path | None) -> None:
    """Write a back-up of the node to the new file ARCHIVE, all of one moment; the node may run meanwhile.

    The keys are not in it: they have a back-up of their own, and without them no back-up opens. Ends with 73 when the
    back-up was made, but files of the node were missing or damaged.
    """
    from carina.app.export import export_node

    keys = _key_file(folder) if with_keys else None
    made = export_node(folder, archive, since)
    earlier = f", {made.earlier} of them in earlier back-ups" if made.earlier else ""
    click.echo(f"{made.files} stored files{earlier} and {made.sealed} encrypted ones; {made.size / 1e9:.2f} GB.")
    if keys is not None and with_keys is not None:
        if with_keys.exists():
            raise BadInput("The back-up is made, but there is a file at the place for the keys.", "Copy them yourself.")
        save_backup(keys, with_keys)
    if made.absent or made.damaged:
        rows = [("missing", one) for one in made.absent] + [("damaged", one) for one in made.damaged]
        print_table(("Kind", "Content"), rows[:_SHOWN])
        raise Conflict(
            f"The back-up is made, but {len(rows)} files of the node are missing or damaged.",
            "Run carina node verify; an older back-up may have them.",
        )


def _key_file(folder: Path) -> Path:
    kind, _, name = load_node(folder).keys.partition(":")
    if kind != "file":
        raise BadSettings("The keys of this node are not in a file.", "Back them up where they are.")
    return folder / name


@click.command("import")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_folder
@click.option(
    "--earlier",
    "earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A back-up since which ARCHIVE was made; repeatable.",
)
@click.option("--keys", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Where the key file is now.")
@click.option("--records", help="Address of an empty database for the records; 'sqlite' for a file in FOLDER.")
def import_(archive: Path, folder: Path, earlier: tuple[Path, ...], keys: Path | None, records: str | None) -> None:
    """Make the node of the back-up ARCHIVE in FOLDER, which is empty or not there.

    Whoever was forgotten since the back-up was made is forgotten again.
    """
    from carina.app.import_ import import_node

    made = import_node(archive, folder, earlier, keys=keys, records="" if records == "sqlite" else records)
    click.echo(f"The node {made.node} is in {folder} as it was at {made.made_at}: {made.files} stored files, verified.")
    if not made.forgotten.nothing:
        click.echo(f"{made.forgotten.patients} persons who were forgotten since then were removed again.")
    if made.known:
        click.echo("These were missing or damaged already when the back-up was made:")
        _show_findings(made.known)
    click.echo(f"Next: carina node serve {quote(str(folder))}")
