"""`carina node doctor`: what ails a node, and what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from carina.app.doctor import examine
from carina.app.surroundings import worst
from carina.cli.tables import print_parts


@click.command("doctor")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(folder: Path, as_json: bool) -> None:
    """Look for common faults and say what to do. Nothing is changed; the node may run or not.

    Ends with 1 when something is in trouble, else with 0; what wants a look only, does not count.
    """
    parts = examine(folder)
    if as_json:
        found = [{name: value for name, value in asdict(part).items() if name != "link"} for part in parts]
        click.echo(json.dumps({"state": worst(parts), "parts": found}, indent=1, ensure_ascii=False))
    else:
        print_parts(parts)
        bad, look = (sum(part.state == state for part in parts) for state in ("bad", "warn"))
        click.echo("All is well." if not bad + look else f"{bad} in trouble, {look} to look at, of {len(parts)}.")
    sys.exit(1 if worst(parts) == "bad" else 0)
