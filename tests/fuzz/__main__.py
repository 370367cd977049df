"""Fuzz what reads bytes from outside: `python -m tests.fuzz TARGET … [--seconds 600] [--seeds DIR] [--findings DIR]`.

Needs the extra `fuzz` (atheris). It ends with an error when an input makes a target raise anything but Carina's own
errors, warns, takes more than 10 s or more than 2 GB; the input is left among the findings, to become a test. Several
targets run one after another, each for so many seconds in a process of its own; none named: all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

SLOWEST = 10  # s for one input
MEMORY = 2048  # MB
NAMES = ("walker", "sealed", "multipart", "association", "request", "query", "headers", "identifier", "service")
_INSIDE = "CARINA_FUZZ_FOLDER"
"""Environment of the process that fuzzes one target: its folder."""


def main() -> None:
    """Parse, and fuzz the targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--seeds", type=Path, help="a folder of real files to begin with")
    parser.add_argument("--findings", type=Path, default=Path.cwd(), help="where inputs are left")
    options = parser.parse_args()
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if _INSIDE in os.environ:
        _fuzz(options.targets[0], options, Path(os.environ[_INSIDE]))
    found = [name for name in options.targets or NAMES if _apart(name)]
    sys.exit(f"Findings in: {', '.join(found)}" if found else 0)


def _apart(name: str) -> int:
    """One target in a process of its own, for the fuzzer ends its process; what it made goes with its folder."""
    others = [argument for argument in sys.argv[1:] if argument not in NAMES]
    with tempfile.TemporaryDirectory(prefix="carina-fuzz-") as folder:
        environment = {**os.environ, _INSIDE: folder, "TMPDIR": folder}
        sys.stderr.write(f"Fuzzing {name}.\n")
        command = [sys.executable, "-m", "tests.fuzz", name, *others]
        return subprocess.run(command, env=environment, check=False).returncode


def _fuzz(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Fuzz one; does not return."""
    with atheris.instrument_imports(include=["carina"]):
        from tests.fuzz.targets import TARGETS
        from tests.support import CORPUS
    assert tuple(TARGETS) == NAMES
    target = TARGETS[name]
    inputs, work = folder / "inputs", folder / "work"
    inputs.mkdir()
    work.mkdir()
    for number, seed in enumerate(target.seeds(options.seeds or CORPUS)):
        (inputs / f"seed-{number:04}").write_bytes(seed)
    limits = [f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", f"-max_len={target.longest}"]
    prefix = options.findings.resolve() / f"{name}-"
    end = f"-max_total_time={options.seconds}"
    run = _keeping(target.run(work), prefix)
    atheris.Setup([sys.argv[0], str(inputs), end, *limits, f"-artifact_prefix={prefix}"], run)
    warnings.simplefilter("error")  # pydicom's quote values; whoever reads by it keeps them inside
    atheris.Fuzz()


def _keeping(run: Callable[[bytes], None], prefix: Path) -> Callable[[bytes], None]:
    """Leave what fails among the findings; the fuzzer itself does so only of what takes too long or too much."""

    def kept(data: bytes) -> None:
        try:
            run(data)
        except BaseException:
            Path(f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    return kept


if __name__ == "__main__":
    main()
