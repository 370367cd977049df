"""`carina sample`."""

from __future__ import annotations

from pathlib import Path

import click

from carina.sample.cohort import PATIENTS
from carina.sample.sites import SITES, site
from carina.sample.writing import write_cohort


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--site",
    "key",
    type=click.Choice([each.key for each in SITES]),
    default=SITES[0].key,
    show_default=True,
    help="Whose style of names, machines and cases.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed writes the same files.")
@click.option("--patients", "count", type=int, default=PATIENTS, show_default=True, help="How many persons.")
def sample(folder: Path, key: str, seed: int, count: int) -> None:
    """Write a made-up cancer cohort into FOLDER: clinical DICOM before de-identification, and clinical.csv."""
    click.echo(write_cohort(folder, site(key), seed, count))
