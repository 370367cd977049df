"""Measure Carina on this machine and print one table: `.venv/bin/python -m benchmarks.run --help`."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.access import access
from benchmarks.ingest import ingest
from benchmarks.search import search
from benchmarks.services import carina
from benchmarks.table import Row, machine, markdown

WANTED = {"hub_answers": 10, "nodes_joined": None, "ten_patients_each": 60, "ready": 180}  # seconds on 2 cores
WORDS = {
    "hub_answers": "the hub's page answers",
    "nodes_joined": "three nodes have joined",
    "ten_patients_each": "ten patients of each can be found",
    "ready": "all images have arrived",
}


def time_to_ready(report: dict[str, Any]) -> list[Row]:
    """Rows from what `carina demo --json` writes."""
    rows = []
    for name, words in WORDS.items():
        seconds, wanted = report["seconds"].get(name), WANTED[name]
        if seconds is not None:
            limit = f"wanted: {wanted} s" if wanted else ""
            rows.append(Row(f"demonstration: {words}", f"{seconds:.1f} s", limit, seconds / wanted if wanted else None))
    return rows


def demonstrate(folder: Path) -> dict[str, Any]:
    """Run the demonstration once, from nothing, and read its report."""
    report = folder / "demo.json"
    with (folder / "demo.log").open("wb") as log:
        command = carina("demo", "--fresh", "--once", "--folder", folder / "demo", "--json", report)
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return dict(json.loads(report.read_text(encoding="utf-8")))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Measure Carina and print one table.")
    parser.add_argument("--quick", action="store_true", help="fewer instances and searches, no demonstration")
    parser.add_argument("--demo", type=Path, metavar="FILE", help="a report of `carina demo --json`, instead of a run")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write table and machine there, too")
    options = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory(prefix="carina-benchmark-") as name:
        folder = Path(name)
        rows: list[Row] = []
        if options.demo:
            rows += time_to_ready(json.loads(options.demo.read_text(encoding="utf-8")))
        elif not options.quick:
            rows += time_to_ready(demonstrate(folder))
        measured, nodes = ingest(folder, 48 if options.quick else 240)
        rows += measured
        rows += search(folder, nodes, 20 if options.quick else 50)
        rows += access(folder, nodes[0], 20 if options.quick else 100)
    text = f"{markdown(rows)}\n\nBefore: {before}.\n\nAfter: {machine()}.\n"
    print(text)
    if options.save:
        options.save.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
