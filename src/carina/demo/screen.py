"""What the demonstration shows in the terminal: one line per node while images arrive, then where to go."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from carina.demo.folder import State
from carina.demo.watching import NodeProgress

_DOORS = {"dimse": "C-STORE", "stow": "STOW-RS", "folder": "folder"}


class Screen:
    """A live table in a terminal; plain lines where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._printed = 0.0

    def say(self, sentence: str) -> None:
        """One line, above the table if there is one."""
        self.console.print(Text(f"  {sentence}"), soft_wrap=True)

    def show(self, progress: Iterable[NodeProgress], seconds: float) -> None:
        """The table as it stands now."""
        rows = list(progress)
        with self._lock:
            if not self.console.is_terminal:
                self._print_plain(rows, seconds)
            elif self._live is None:
                self._live = Live(_table(rows, seconds), console=self.console, refresh_per_second=4)
                self._live.start()
            else:
                self._live.update(_table(rows, seconds))

    def close(self) -> None:
        """Leave the table as it last was."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _print_plain(self, rows: list[NodeProgress], seconds: float) -> None:
        if time.monotonic() - self._printed < 5:
            return
        self._printed = time.monotonic()
        parts = (f"{row.title}: {row.archived} stored, {row.quarantined} in quarantine" for row in rows)
        self.console.print(Text(f"  {seconds:4.0f} s  " + "; ".join(parts)), soft_wrap=True)


def _table(rows: list[NodeProgress], seconds: float) -> RenderableType:
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for heading, justify in (
        ("Node", "left"),
        ("Door", "left"),
        ("Received", "right"),
        ("Stored", "right"),
        ("Quarantine", "right"),
        ("Patients", "right"),
        ("", "left"),
    ):
        table.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=True)
    for row in rows:
        done = row.archived + row.quarantined + row.unchanged
        bar = ProgressBar(total=max(1, row.expected or row.received), completed=done, width=24)
        table.add_row(
            row.title,
            _DOORS[row.door],
            str(row.received),
            str(row.archived),
            str(row.quarantined),
            "–" if row.patients is None else str(row.patients),
            bar,
        )
    return Group(Text(f"  Images arrive ({seconds:.0f} s)"), table)


def welcome(console: Console, state: State) -> None:
    """The address, the accounts, four things to try."""
    lines = [Text(f"Open {state.hub.url}", style="bold"), Text()]
    for key, address in (("hub", state.hub.url), *((place.key, place.url) for place in state.nodes)):
        lines.append(Text(address))
        lines += [
            Text(f"    {account.name:<24}{account.password}") for account in state.accounts if account.service == key
        ]
    lines += [
        Text(),
        Text("1. Search live, signed in as researcher:"),
        Text(f"   {state.hub.url}/explorer?modality=CT&body_part=CHEST"),
        Text("2. See what arrived and what waits in quarantine, as manager of a node:"),
        Text(f"   {state.nodes[0].url}"),
        Text("3. Request access as researcher, decide as a committee, sign as manager, then look and run:"),
        Text(f"   {state.hub.url}/datasets"),
        Text("4. The same from another terminal:"),
        Text(f"   {_command()} login {state.hub.url} --account researcher"),
        Text(f"   {_command()} search --modality MR"),
    ]
    console.print()
    console.print(Panel(Group(*lines), title="Carina", expand=False, padding=(1, 2)))
    console.print(Text("  Ctrl-C ends everything; the next start goes on here."))


def _command() -> str:
    """How this user calls the command line: by its name if that is on the path, else by where it is."""
    if shutil.which("carina") is not None:
        return "carina"
    here = Path(sys.executable).with_name("carina")
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
