"""The program `carina` as a person meets it: arguments in; exit code, output and complaint out."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from carina.app.found import NewHub, NewNode, found_hub, found_node
from carina.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended. `error`: what it said on standard error."""

    code: int
    output: str
    error: str

    def complaint(self, code: int, *words: str) -> str:
        """The error, which must be one line that has these words, with this exit code and no traceback."""
        assert self.code == code, self
        lines = self.error.splitlines()
        assert len(lines) == 1, self.error
        assert lines[0].startswith("carina: ") and lines[0].endswith((".", ")")), self.error
        assert "Traceback" not in self.error + self.output
        assert all(word in lines[0] for word in words), self.error
        return lines[0]


Run = Callable[..., Said]


class Keyboard(io.TextIOWrapper):
    """Standard input of a person at a terminal."""

    def isatty(self) -> bool:
        return True


def _run(*arguments: object, typed: bytes = b"", terminal: bool = False) -> Said:
    output, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["carina", *map(str, arguments)])
        opened = Keyboard if terminal else io.TextIOWrapper
        patch.setattr(sys, "stdin", opened(io.BytesIO(typed), encoding="utf-8"))
        patch.setenv("COLUMNS", "250")
        try:
            with redirect_stdout(output), redirect_stderr(error):
                main()
            code = 0
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
    return Said(code, output.getvalue(), error.getvalue())


@pytest.fixture
def run() -> Run:
    """Runs `carina` with these arguments, in this process; `typed`: what it reads, in a pipe or at a `terminal`."""
    return _run


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node and a hub to copy, and their keys."""
    folder = tmp_path_factory.mktemp("founded")
    new = NewNode(
        title="Hospital Ficticio",
        institution="Hospital Ficticio",
        country="ES",
        project="lung",
        issuer="HOSPITAL",
        inside_port=0,
        outside_port=0,
        dimse_port=0,
        sources=(("folder", "/nowhere/inbox"), ("aet", "SCANNER")),
    )
    found_node(folder / "node", folder / "keys" / "node.json", new)
    found_hub(
        folder / "hub",
        folder / "keys" / "hub.json",
        NewHub("Test hub", "http://hub.localhost:8700", port=0, broker_port=0),
    )
    return folder


@pytest.fixture
def node(founded: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a node."""
    yield Path(shutil.copytree(founded / "node", tmp_path / "node"))


@pytest.fixture
def hub(founded: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a hub."""
    yield Path(shutil.copytree(founded / "hub", tmp_path / "hub"))
