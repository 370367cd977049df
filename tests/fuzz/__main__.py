"""Fuzz what reads bytes from outside: `python -m tests.fuzz TARGET [--seconds 600] [--seeds DIR …]`.

Needs the extra `fuzz` (atheris). It ends with an error when an input makes a target raise anything but Carina's own
errors, takes more than 10 s, or more than 2 GB; the input is left beside it, to become a test.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

SLOWEST = 10  # s for one input
MEMORY = 2048  # MB


def main() -> None:
    """Parse, instrument, fuzz."""
    with atheris.instrument_imports(include=["carina"]):
        from tests.fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seeds", type=Path, help="a folder of inputs to begin with")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    target = TARGETS[options.target]
    with tempfile.TemporaryDirectory(prefix="carina-fuzz-") as name:
        folder = Path(name)
        for number, seed in enumerate(target.seeds(options.seeds)):
            (folder / f"seed-{number:04}").write_bytes(seed)
        atheris.Setup(
            [
                sys.argv[0],
                str(folder),
                f"-max_total_time={options.seconds}",
                f"-timeout={SLOWEST}",
                f"-rss_limit_mb={MEMORY}",
                f"-max_len={target.longest}",
                f"-artifact_prefix={options.findings}/{options.target}-",
            ],
            target.run,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
