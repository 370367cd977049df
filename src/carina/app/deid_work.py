"""A worker of the folder tool: one process that takes files by name and writes their clean form.

It is given work over a pipe and ends when that closes. What it gives back holds no path and no value of a header,
except what is sealed for the key holder, and the mapping that the key holder asks for.
"""

from __future__ import annotations

import filecmp
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from carina.app.deid_look import Looker, named
from carina.app.deid_pool import BLIND, FAILED, THERE, UNWRITABLE, WAITING, Done, Task, Told
from carina.app.deid_records import CLEAN, TEXT
from carina.deid.engine.engine import Engine
from carina.deid.engine.files import Opened, opened
from carina.deid.engine.handling import Handling
from carina.deid.engine.marks import ENGINE
from carina.deid.evidence.mapping import Entry, entries_of
from carina.deid.evidence.originals import originals_in
from carina.deid.evidence.quasi import quasi_identifiers
from carina.deid.evidence.report import DUPLICATE, UNREADABLE, WRITTEN
from carina.deid.evidence.reveal import SealedRow, Sealer
from carina.deid.pixels.finder import finder_version
from carina.deid.pixels.findings import Findings, Need
from carina.deid.pixels.plain import Route
from carina.deid.profile import PIXEL_DATA
from carina.deid.pseudonyms import ProjectKeys
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import CarinaError, FinderUnavailable, NotDicom, Withheld
from carina.model.instance import CleanInstance, Reason
from carina.model.keys import derive

DIRECTORY = "directory"
_WORDS: dict[type[Exception], str] = {
    FinderUnavailable: BLIND,
    NotDicom: Reason.NOT_DICOM,
    CarinaError: Reason.DAMAGED,
    MemoryError: Reason.TOO_LARGE,
}
_DIRECTORY_CLASS = b"UI\x14\x001.2.840.10008.1.3.10"  # of even length: nothing is added to it
_NO_INSTANCE = (CarinaError, MemoryError)
_META = 1024
"""Bytes of a file in which its file meta information stands."""


class Worker:
    """The engine and the text finder of one process."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._keys = ProjectKeys.of(told.key, told.project)
        self._sealer = Sealer(told.key)
        self._looker: Looker | None = None
        if PIXEL_DATA in told.profile.options:
            self._looker = Looker(told.profile.options, derive(told.key, "layouts", told.project))
        self._engine = Engine(
            Handling(told.project, told.profile, self._keys, told.issuer, told.strip_leading_zeros, told.pseudonymised)
        )

    def do(self, task: Task, verdicts: Mapping[str, str]) -> Done:
        """De-identify one file. Whatever goes wrong is that file's outcome."""
        try:
            try:
                source = opened(Path(task.path))
            except OSError:
                return Done(task, UNREADABLE)
            if _DIRECTORY_CLASS in source.data[:_META]:  # PS3.10 section 8: it names files and persons
                return Done(task, DIRECTORY)
            return self._do(task, source, verdicts)
        except OSError as error:
            return Done(task, UNWRITABLE, detail=error.strerror or "")
        except Exception as error:  # noqa: BLE001  its words may quote values: only its kind is told
            return Done(task, _word_of(error), detail=type(error).__name__)

    def _do(self, task: Task, source: Opened, verdicts: Mapping[str, str]) -> Done:
        """One file that may be DICOM: looked at, if it must be, and written."""
        if self._looker is None:
            return self._written(task, source, None)
        try:
            route = self._looker.route(source)
            verdict = verdicts.get(route.layout, "")
            is_to_be_searched = self._is_to_be_searched(task, source, route, verdict)
            findings = self._looker.examine(source) if is_to_be_searched else None
        except OSError:  # a large file is read again
            return Done(task, UNREADABLE)
        if findings is None:
            if route.need is Need.SAMPLE and self._told.sample and not verdict:
                return Done(task, WAITING, layout=route.layout)
            return replace(self._written(task, source, None), layout=route.layout, verdict=verdict)
        looked = TEXT if findings.boxes else CLEAN
        if not findings.proven or (findings.boxes and self._told.profile.review != "never"):
            return Done(task, Reason.TEXT_IN_PIXELS, layout=route.layout, looked=TEXT, verdict=verdict)
        is_told = findings.boxes or route.need is Need.ALL or verdict == TEXT  # what a clean sample says is not written
        try:
            done = self._written(task, source, findings if is_told else None)
        except _NO_INSTANCE as error:  # what was found in its pixels counts all the same
            done = Done(task, _word_of(error))
        return replace(done, boxes=len(findings.boxes), layout=route.layout, looked=looked, verdict=verdict)

    def _is_to_be_searched(self, task: Task, source: Opened, route: Route, verdict: str) -> bool:
        """Whether the text finder must look: by the image's kind, for its layout, or at what looks like strokes."""
        assert self._looker is not None
        if route.need is not Need.SAMPLE:
            return route.need is Need.ALL
        if task.sample_of or verdict == TEXT:
            return True
        return (verdict != "" or not self._told.sample) and self._looker.is_suspicious(source, route)

    def _written(self, task: Task, source: Opened, findings: Findings | None) -> Done:
        try:
            clean = self._engine.clean_opened(source, self._place, findings=findings, new_only=not task.before)
        except FileExistsError:
            return self._compared(task, source, findings)
        target = str(target_of(clean))
        try:
            sealed, mapping = self._sealed(source, clean), self._mapping(source, target)
            size = self._place(clean).stat().st_size
        except BaseException:  # what is written is in the records, or not there
            self._place(clean).unlink(missing_ok=True)
            raise
        return Done(task, WRITTEN, target, size=size, actions=clean.actions, sealed=sealed, mapping=mapping)

    def _place(self, clean: CleanInstance) -> Path:
        return self._told.output / target_of(clean)

    def _compared(self, task: Task, source: Opened, findings: Findings | None) -> Done:
        """Something stands where this instance belongs: whether it is the same. Whose it is the run knows."""
        aside = self._told.output / f".{os.getpid()}.part"
        try:
            clean = self._engine.clean_opened(source, lambda _: aside, findings=findings)
            is_same = filecmp.cmp(aside, self._place(clean), shallow=False)
        finally:
            aside.unlink(missing_ok=True)
        return Done(task, THERE, str(target_of(clean)), detail=DUPLICATE if is_same else Reason.CONFLICT)

    def _sealed(self, source: Opened, clean: CleanInstance) -> tuple[SealedRow, ...]:
        if not self._told.way_back:
            return ()
        originals = originals_in(source.data, source.pieces)
        return tuple(self._sealer.seal(originals.pairs(clean))) if originals is not None else ()

    def _mapping(self, source: Opened, target: str) -> tuple[Entry, ...]:
        if not self._told.mapping:
            return ()
        with named():
            original = _header(source)
            clean = pydicom.dcmread(self._told.output / target, stop_before_pixels=True)
            return tuple(entries_of(original, clean, self._keys))

    def about(self) -> dict[str, str]:
        """The versions of what does the work."""
        return {"engine": ENGINE} if self._looker is None else {"engine": ENGINE, "text_finder": finder_version()}

    def close(self) -> None:
        """End what this has started."""
        if self._looker is not None:
            self._looker.close()

    def survey(self, targets: tuple[str, ...]) -> list[dict[str, str]]:
        """What stays of the persons of these written files."""
        places = [self._told.output / target for target in targets]
        return [quasi_identifiers(place) if place.exists() else {} for place in places]


def _header(source: Opened) -> Dataset:
    """The header of a file as it came."""
    if source.whole:
        return parse(source.data)
    with source.path.open("rb") as file:
        return pydicom.dcmread(file, stop_before_pixels=True, force=True)


def _word_of(error: Exception) -> str:
    """Why a file was not written, in a word."""
    if isinstance(error, Withheld):
        return error.reason
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), FAILED)


def target_of(clean: CleanInstance) -> Path:
    """Where an instance goes: a folder for the person, the study and the series; all names are pseudonyms."""
    return Path(clean.patient, clean.study_uid, clean.series_uid, f"{clean.uid}.dcm")


def work(connection: Connection, told: Told) -> None:
    """Take batches of tasks until the pipe closes, or until SIGTERM after the file in hand."""
    ending = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run says when
    signal.signal(signal.SIGTERM, lambda _number, _frame: ending.set())
    worker = Worker(told)
    try:
        connection.send(_start_of(worker))
        while not ending.is_set():
            asked = connection.recv()
            if isinstance(asked[0], str):
                connection.send(worker.survey(asked))
                continue
            tasks, verdicts = asked
            done = []
            for task in tasks:
                if ending.is_set():
                    return
                with quiet():
                    done.append(worker.do(task, verdicts))
            connection.send(done)
    except (EOFError, OSError):
        return
    finally:
        worker.close()


def _start_of(worker: Worker) -> dict[str, str] | None:
    """What the worker says of itself; None where it has no text finder and must have one."""
    try:
        return worker.about()
    except FinderUnavailable:
        return None
