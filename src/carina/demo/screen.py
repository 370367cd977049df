"""What the demonstration shows in the terminal: one line per node while images arrive, then where to go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

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
        self.console.print(Text(f"  {sentence}"))

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
    """The address, the accounts, three things to try."""
    accounts = Table(box=None, padding=(0, 2), show_edge=False)
    for heading in ("Where", "Name", "Password", "Who"):
        accounts.add_column(heading, no_wrap=True)
    addresses = {"hub": state.hub.url, **{place.key: place.url for place in state.nodes}}
    for account in state.accounts:
        accounts.add_row(addresses[account.service], account.name, account.password, account.role)
    researcher = next(item for item in state.accounts if item.service == "hub" and item.role == "researcher")
    node = state.nodes[0]
    tries = (
        f"1. Search live: {state.hub.url}/explorer?modality=CT&body_part=CHEST",
        f"2. See what arrived and what waits in quarantine: {node.url}",
        f"3. The same from a terminal: carina login {state.hub.url} --account {researcher.name}\n"
        "                              carina search --modality MR",
    )
    console.print()
    console.print(
        Panel(
            Group(Text(f"Open {state.hub.url}", style="bold"), Text(), accounts, Text(), Text("\n".join(tries))),
            title="Carina",
            expand=False,
            padding=(1, 2),
        )
    )
    console.print(Text("  Ctrl-C ends everything; the next start goes on here."))
