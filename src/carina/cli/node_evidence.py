"""`carina node evidence` and `carina node reveal`: what was done to a dataset, and the way back from a pseudonym."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import click

from carina.app.site import open_node
from carina.cli.tables import plain, print_table
from carina.node.evidence import evidence as evidence_of
from carina.node.reveal import reveal as reveal_at

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@_folder
@click.argument("dataset")
@click.option("--snapshot", "number", type=int, help="Of this snapshot, not of what the dataset holds now.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there instead of printing it.")
def evidence(folder: Path, dataset: str, number: int | None, out: Path | None) -> None:
    """Give the signed evidence of DATASET (its IRI): actions by reason, versions, k-anonymity; as JSON."""
    with open_node(folder) as node:
        found = evidence_of(node, dataset, number)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        click.echo(f"Written to {out}.")


@click.command()
@_folder
@click.argument("pseudonym")
@click.option("--actor", help="Who looks, for the audit trail.  [default: your account's name]")
def reveal(folder: Path, pseudonym: str, actor: str | None) -> None:
    """Show what PSEUDONYM, or a UID of a clean image, stands for: it identifies a person, and the look is audited."""
    with open_node(folder) as node:
        originals = reveal_at(node, actor or getpass.getuser(), pseudonym)
    print_table(("Kind", "Original", "Issuer"), [(one.kind, plain(one.value), plain(one.issuer)) for one in originals])
