"""The first run of a node: at a terminal it asks, elsewhere it takes options."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from carina.app.site import open_node
from carina.settings import load_node
from carina.storage.accounts import check_password

PASSWORD = "correct horse battery"
LONG = 20.0  # s that a program at a terminal may take to say something
PORTS = ("--inside-port", "0", "--outside-port", "0", "--dimse-port", "0")
GIVEN = ("--title", "Hospital", "--institution", "Hospital", "--country", "ES", "--key-backup", "-", *PORTS)


def test_at_a_terminal_each_thing_is_asked_with_its_reason_until_it_fits(run: Run, tmp_path: Path) -> None:
    typed = ["Hospital Ficticio", "Fundación Ficticia", "Spain", "es", "Lung Cancer", "lung", "", "A" * 17, "CT", "-"]
    typed += ["carina-invitation:broken", "", "", ""]
    said = run("node", "init", tmp_path / "node", *PORTS, typed="\n".join(typed).encode(), terminal=True)
    assert said.code == 0, said
    assert "Type two letters" in said.output and "hyphens" in said.output and "At most 16" in said.output
    assert "invitation" in said.output and "carina node account add" in said.output
    assert (tmp_path / "node-keys" / "node.json").read_text().strip() in said.output
    made = load_node(tmp_path / "node")
    assert (made.title, made.institution, made.country) == ("Hospital Ficticio", "Fundación Ficticia", "ES")
    assert [project.id for project in made.projects] == ["lung"]
    assert made.dimse is not None and made.dimse.ae_title == "CT"


def test_without_a_terminal_what_is_missing_is_named_as_options_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    said = run("node", "init", tmp_path / "node", "--title", "T", typed=b"Hospital\nES\n")
    said.complaint(65, "--institution", "--country", "--key-backup")
    run("node", "init", tmp_path / "node", "--yes", terminal=True).complaint(65, "--title")
    assert list(tmp_path.iterdir()) == []


def test_the_first_account_gets_a_password_that_is_shown_once(run: Run, tmp_path: Path) -> None:
    said = run("node", "init", tmp_path / "node", *GIVEN, "--account", "ana")
    password = re.search(r"password of ana, shown this once: (\S+)", said.output)
    assert password is not None, said
    with open_node(tmp_path / "node") as node:
        assert check_password(node.engine, "ana", password[1], "test").subject == "ana"
        assert node.audit.verify() == 1


def test_a_port_that_another_program_has_is_told_and_is_no_reason_to_stop(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = str(other.getsockname()[1])
        said = run("node", "init", tmp_path / "node", *GIVEN, "--inside-port", number)
    assert said.code == 0 and "Another program has 127.0.0.1" in said.output and "--inside-port" in said.output


def test_a_damaged_invitation_is_refused_before_anything_is_made(run: Run, tmp_path: Path) -> None:
    said = run("node", "init", tmp_path / "node", *GIVEN, "--invitation", "carina-invitation:AAAA")
    assert said.code != 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--title", " ", "--title does not fit"),
        ("--country", "E1", "two letters"),
        ("--ae-title", "A" * 17, "--ae-title does not fit"),
        ("--aet", "A" * 17, "--aet does not fit"),
        ("--project", "Größe 1", "hyphens"),
        ("--account", "Ana", "small letters"),
        ("--inside-port", "70000", "65535"),
        ("--outside-port", "8721", "same port"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_is_made(
    run: Run, tmp_path: Path, option: str, value: str, said: str
) -> None:
    same = ("--inside-port", "8721") if said == "same port" else ()
    run("node", "init", tmp_path / "node", *GIVEN, *same, option, value).complaint(65, said)
    assert list(tmp_path.iterdir()) == []


def test_a_place_of_the_back_up_and_a_name_that_will_not_do_are_asked_for_again(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    typed = [str(folder / "keys"), "-", "", "Ana Lopez", "", ""]
    given = ("--title", "T", "--institution", "I", "--country", "ES", "--project", "a", "--project-title", "A")
    rest = ("--ae-title", "A", *PORTS)
    said = run("node", "init", folder, *given, *rest, typed="\n".join(typed).encode(), terminal=True)
    assert said.code == 0 and "no place for a back-up" in said.output and "small letters" in said.output, said


def test_commands_that_are_told_can_be_pasted_whatever_the_folder_is_called(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "our nöde"
    title = 'Ünï "x" \\ \x7f'
    said = run("node", "init", folder, *GIVEN[2:], "--title", title)
    assert f"carina node serve '{folder}'" in said.output and said.code == 0, said
    assert load_node(folder).title == title
    assert f"carina node serve '{folder}'" in run("node", "doctor", folder).output


LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""For tests that run in the background, whose processes would be deaf to it."""


class Terminal:
    """`carina` at a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.seen = ""
        self.pid, self.at = pty.fork()
        if self.pid == 0:
            program = LISTENING + "from carina.cli.main import main; main()"
            arguments = ["-c", program, "node", "init", str(folder), *PORTS]
            os.execv(sys.executable, [sys.executable, *arguments])

    def until(self, words: str) -> None:
        """Read until these words were said after those waited for before."""
        end = time.monotonic() + LONG
        while words not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.at], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    self.seen += os.read(self.at, 4096).decode()
        self.seen = self.seen.partition(words)[2]

    def answer(self, words: str, text: str | None) -> None:
        """Wait for these words, then type; None: nothing."""
        self.until(words)
        if text is not None:
            os.write(self.at, f"{text}\n".encode())

    def end(self, *, interrupt: bool = False) -> int:
        """How it ended; what it still says is read, for nobody ends whom nobody reads.

        interrupt   press Ctrl-C, and again after a while: one that comes just before a program begins to read is heard
                    only when the line has come
        """
        end, press = time.monotonic() + LONG, time.monotonic() if interrupt else float("inf")
        while (found := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            elif time.monotonic() > press:
                os.kill(self.pid, signal.SIGINT)
                press += 4
            if select.select([self.at], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    os.read(self.at, 4096)
        os.close(self.at)
        return os.waitstatus_to_exitcode(found[1])


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_person_at_a_terminal_makes_a_node_with_a_password_that_is_not_shown(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "node")
    for words, text in (
        ("Name of the site:", "Hospital"), ("Institution:", "Hospital"), ("Country:", "ES"), ("first project", ""),
        ("Title of the project", ""), ("AE title", ""), ("Back-up of the keys:", str(tmp_path / "safe.json")),
        ("Invitation", ""), ("Name of the first account", "ana"), ("Password:", "short"), ("Password:", PASSWORD),
        ("The same again:", "another one"), ("different", None), ("Password:", PASSWORD), ("The same again:", PASSWORD),
    ):  # fmt: skip
        terminal.answer(words, text)
    terminal.until("sign in as ana")
    assert terminal.end() == 0 and PASSWORD not in terminal.seen
    assert (tmp_path / "safe.json").read_bytes() == (tmp_path / "node-keys" / "node.json").read_bytes()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "node")
    terminal.answer("Name of the site:", "Hospital")
    terminal.until("Institution:")
    assert terminal.end(interrupt=True) == 130
    assert list(tmp_path.iterdir()) == []
