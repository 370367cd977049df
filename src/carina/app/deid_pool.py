"""The workers of a run of the folder tool, and what passes between them and the run.

A worker is a process of its own (`deid_work`), so that a decoder that crashes takes no more than its worker with it:
the files that it had are tried again one by one, and one that ends a worker twice has failed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from carina.deid.profile import Profile
from carina.errors import Busy, FinderUnavailable
from carina.model.ids import ProjectId

if TYPE_CHECKING:
    from carina.deid.evidence.mapping import Entry
    from carina.deid.evidence.reveal import SealedRow

FAILED, WAITING, THERE, UNWRITABLE, BLIND = "failed", "waiting", "there", "unwritable", "blind"
PATIENCE = 1800.0
"""Seconds that a worker may take for what it was given, before it is ended."""
_LEAVING = 5.0  # seconds to end by itself


@dataclass(frozen=True)
class Told:
    """What each worker of a run is told at its start; the key is the key file's master.

    sample    whether one plain image of each layout is searched for text
    way_back  whether sealed identifiers are kept for the key holder
    mapping   whether identifiers are given for the mapping files
    """

    output: Path
    profile: Profile
    key: bytes = field(repr=False)
    project: ProjectId
    issuer: str = ""
    strip_leading_zeros: bool = False
    pseudonymised: bool = False
    sample: bool = True
    way_back: bool = True
    mapping: bool = False


@dataclass(frozen=True)
class Task:
    """One file.

    before     where an earlier run has written it; "" if it is new
    sample_of  the layout that its pixels are searched for; "" if it is no sample
    tries      how many workers it has ended
    """

    path: str = field(repr=False)
    size: int
    changed: int
    before: str = ""
    sample_of: str = ""
    tries: int = 0


@dataclass(frozen=True)
class Done:
    """What became of a task; the fields as in `deid_records.Row`. Outcomes that are not written down: `WAITING` for an
    image whose layout nobody judged, `THERE` where a file of its name is, `UNWRITABLE` where there is no room or right,
    `BLIND` where the text finder cannot start.

    detail    of `THERE`: whether it is a duplicate or a conflict; of `UNWRITABLE`: what the system says; of `FAILED`:
              the kind of the error
    verdict   what was known of its layout when it was done
    sealed    rows of the way back
    mapping   what the mapping files get; identifying
    """

    task: Task
    outcome: str
    target: str = ""
    layout: str = ""
    looked: str = ""
    boxes: int = 0
    size: int = 0
    detail: str = ""
    verdict: str = ""
    actions: Mapping[str, int] = field(default_factory=dict)
    sealed: tuple[SealedRow, ...] = ()
    mapping: tuple[Entry, ...] = field(default=(), repr=False)


class Pool:
    """The workers; `about` is what the first said of itself."""

    def __init__(self, told: Told, count: int) -> None:
        self._told = told
        self._count = count
        self._idle: list[Connection] = []
        self._busy: dict[Connection, tuple[list[Task], float]] = {}
        self._processes: dict[Connection, BaseProcess] = {}
        self.about: dict[str, str] = {}

    def __enter__(self) -> Pool:
        started = [self._start() for _ in range(self._count)]
        try:
            for connection in started:
                self.about = _heard(connection)
        except FinderUnavailable:
            self._end()
            raise
        except (EOFError, OSError):
            self._end()
            raise _not_started() from None
        self._idle += started
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def is_idle(self) -> bool:
        """Whether a worker waits for work."""
        return bool(self._idle)

    def is_busy(self) -> bool:
        """Whether a worker works."""
        return bool(self._busy)

    def give(self, tasks: list[Task], verdicts: Mapping[str, str]) -> None:
        """Let an idle worker do these; `verdicts` is what is known of layouts by now."""
        connection = self._idle.pop()
        self._busy[connection] = tasks, time.monotonic() + PATIENCE
        with suppress(OSError):  # it has died; `collect` meets its end
            connection.send((tasks, dict(verdicts)))

    def survey(self, targets: list[str]) -> list[dict[str, str]]:
        """Facts of written files, read by an idle worker."""
        connection = self._idle[-1]
        try:
            connection.send(tuple(targets))
            found: list[dict[str, str]] = connection.recv()
        except (EOFError, OSError):
            raise Busy("The worker that reads for the report has ended.", "Run it again: it goes on.") from None
        return found

    def collect(self) -> tuple[list[Done], list[Task]]:
        """What the next workers to be ready have done, and what is to be tried again."""
        done: list[Done] = []
        again: list[Task] = []
        latest = min(until for _, until in self._busy.values())
        ready = wait(list(self._busy), max(0.0, latest - time.monotonic()))
        for connection in ready or [each for each, (_, until) in self._busy.items() if until <= time.monotonic()]:
            assert isinstance(connection, Connection)
            tasks, _ = self._busy.pop(connection)
            try:
                done += connection.recv() if ready else self._ended(connection)
                self._idle.append(connection)
            except (EOFError, OSError):
                self._replace(connection)
                for task in tasks:
                    tried = replace(task, tries=task.tries + 1)
                    if len(tasks) == 1 and tried.tries > 1:
                        done.append(Done(task, FAILED))
                    else:
                        again.append(tried)
        return done, again

    def _ended(self, connection: Connection) -> list[Done]:
        self._processes[connection].kill()
        raise EOFError

    def _replace(self, connection: Connection) -> None:
        process = self._processes.pop(connection)
        process.join(_LEAVING)
        process.kill()
        process.join()
        connection.close()
        fresh = self._start()
        try:
            _heard(fresh)
        except (EOFError, OSError):
            raise _not_started() from None
        self._idle.append(fresh)

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._told), name="deid", daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def _end(self) -> None:
        for connection, process in self._processes.items():
            process.terminate()  # ends after the file that it has in hand
            connection.close()
        for process in self._processes.values():
            process.join(_LEAVING)
            process.kill()
            process.join()
        self._processes.clear()


def _work(connection: Connection, told: Told) -> None:
    from carina.app.deid_work import work  # what reads DICOM is loaded in this process only

    work(connection, told)


def _heard(connection: Connection) -> dict[str, str]:
    """What a new worker says of itself. Raises `FinderUnavailable` where it must have a text finder and has none."""
    about: dict[str, str] | None = connection.recv()
    if about is None:
        raise FinderUnavailable
    return about


def _not_started() -> Busy:
    return Busy("A worker could not be started.", "Look at the memory that is free; fewer workers may do.")
