"""`carina demo`."""

from __future__ import annotations

from pathlib import Path

import click

from carina.demo.run import Options, run


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("carina-demo"),
    show_default=True,
    help="Where it keeps everything between two starts.",
)
@click.option("--fresh", is_flag=True, help="Begin anew: remove what an earlier start has left there.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own DICOM files instead of the made-up cohort; spread over the three nodes by patient.",
)
@click.option("--seed", type=int, help="Of the made-up cohort; 2026 if not given.")
@click.option("--once", is_flag=True, help="Go the journey by HTTP, end, and exit with 0 if all was well.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write times and counts there.")
def demo(folder: Path, fresh: bool, data: Path | None, seed: int | None, once: bool, report: Path | None) -> None:
    """Run a federation on this machine: a hub, three nodes, and images that arrive while you watch."""
    run(Options(folder=folder.resolve(), fresh=fresh, data=data, seed=seed, once=once, report=report))
