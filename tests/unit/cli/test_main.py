"""Exit codes, and what is said when something fails that no command foresees."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from carina import errors
from carina.cli.main import EXIT_CODES, exit_code


def _kinds() -> list[type[errors.CarinaError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.CarinaError)]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_an_exit_code_that_says_more_than_failure(kind: type[errors.CarinaError]) -> None:
    error = kind("word", "What happened.") if kind is errors.Withheld else kind("What happened.")
    assert 64 <= exit_code(error) <= 78
    assert kind in (errors.CarinaError, errors.Withheld) or exit_code(error) != EXIT_CODES[errors.CarinaError]


def test_a_wrong_option_ends_with_2_and_says_how_to_get_help(run: Run) -> None:
    said = run("node", "status", "--colour", "red")
    assert said.code == 2 and "No such option" in said.error and "Traceback" not in said.error


@pytest.mark.parametrize(
    "command", ["login", "logout", "datasets", "search", "request", "permits", "run", "node", "hub", "sample", "demo"]
)
def test_every_command_has_help(run: Run, command: str) -> None:
    said = run(command, "--help")
    assert said.code == 0 and len(said.output.splitlines()) > 5
    assert f"  {command}" in run("--help").output


def test_an_unknown_command_is_named(run: Run) -> None:
    said = run("fly")
    assert said.code == 2 and "'fly'" in said.error


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    arguments = ("--title", "T", "--institution", "T", "--country", "ES", "--key-backup", "-")
    run("node", "init", tmp_path / "closed" / "node", *arguments).complaint(78, "cannot be made")


def test_a_file_in_the_way_of_a_folder_is_said_without_its_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Garcia_Maria").write_text("a file")
    arguments = ("--title", "T", "--institution", "T", "--country", "ES", "--key-backup", "-")
    said = run("node", "init", tmp_path / "Garcia_Maria" / "node", *arguments)
    assert "Garcia" not in said.complaint(78, "cannot be made")
