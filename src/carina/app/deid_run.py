"""One run of the folder tool through the files of a folder: which are to be done, and which wait for another.

Plain images of a measuring machine are judged by layout: one of each, its sample, is searched for text while the others
wait. If it shows none they pass; if it, or a later one, shows some, every image of that layout is searched.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from carina.app.deid_pool import BLIND, FAILED, THERE, UNWRITABLE, WAITING, Done, Pool, Task
from carina.app.deid_records import TEXT, Records, Row
from carina.deid.evidence.report import UNREADABLE, WRITTEN
from carina.errors import FinderUnavailable, Full

if TYPE_CHECKING:
    from carina.deid.evidence.mapping import MappingFiles
    from carina.deid.evidence.reveal import SealedRow, WayBack

Progress = Callable[[int, int], None]
"""Called with how many files are done, and how many were found so far."""

_BATCH = 8
_COMMIT = 0.5  # seconds between two; what a killed run wrote since is done again
_TRIED_AGAIN = (FAILED, UNREADABLE)
"""What another run may do better with the same file."""


class Run:
    """What waits, and what the samples of layouts have shown."""

    def __init__(
        self,
        records: Records,
        pool: Pool,
        source: Path,
        output: Path,
        *,
        progress: Progress,
        way_back: WayBack | None = None,
        mapping: MappingFiles | None = None,
    ) -> None:
        self._records = records
        self._pool = pool
        self._source = source
        self._output = output
        self._progress = progress
        self._way_back = way_back
        self._mapping = mapping
        self._verdicts = records.verdicts()
        self._ready: deque[Task] = deque()
        self._parked: dict[str, list[Task]] = {}
        """By layout, the images that wait while its sample is searched."""
        self._doubtful: list[Done] = []
        """Files whose place was taken: by whom is known when all others are done."""
        self._withheld: dict[str, str] = {}
        self._is_stale = False
        self._done = self._found = 0
        self._committed = time.monotonic()
        self._sealed: list[SealedRow] = []
        """For the way back; not put at once, since other runs of this key may wait to write there."""

    def through(self, *, again: bool = False) -> dict[str, str]:
        """Do all that is to be done. Gives the files that were not written, each with the word for why.

        again   do also what was done before
        """
        try:
            self._once(again)
            while self._is_stale:  # a layout has shown text since some of its images had passed
                self._done = self._found = 0
                self._once(False)
        finally:
            self._commit()
        return self._withheld

    def _once(self, again: bool) -> None:
        self._is_stale = False
        source = self._tasks(again)
        while True:
            while self._pool.is_idle() and (batch := self._batch(source)):
                self._pool.give(batch, self._verdicts)
            if not self._pool.is_busy():
                if not self._doubtful:
                    return
                self._resolve(self._doubtful.pop(0))
                continue
            finished, tried = self._pool.collect()
            self._ready.extendleft(tried)
            for done in finished:
                self._take(done)
            if time.monotonic() - self._committed > _COMMIT:
                self._commit()
            self._progress(self._done, self._found)

    def _batch(self, source: Iterator[Task]) -> list[Task]:
        """The next files for one worker; a sample, and one that a worker died with, go alone."""
        batch: list[Task] = []
        while len(batch) < _BATCH:
            if batch and self._ready and (self._ready[0].tries or self._ready[0].sample_of):
                break
            task = self._ready.popleft() if self._ready else next(source, None)
            if task is None:
                break
            batch.append(task)
            if task.tries or task.sample_of:
                break
        return batch

    def _tasks(self, again: bool) -> Iterator[Task]:
        """What is to be done, in the order of names."""
        for path, size, changed in files_in(self._source):
            self._found += 1
            known = self._records.known(path, size, changed)
            if known is None or again or not self._is_there(known):
                yield Task(path, size, changed, self._records.target(path))
                continue
            self._done += 1
            if known.outcome != WRITTEN:
                self._withheld[path] = known.outcome

    def _is_there(self, known: Row) -> bool:
        """Whether what was written is still there, and all that is asked for beside."""
        if known.outcome != WRITTEN:
            return known.outcome not in _TRIED_AGAIN
        if self._mapping is not None and not known.mapped:
            return False
        try:
            return (self._output / known.target).stat().st_size == known.size
        except OSError:
            return False

    def _take(self, done: Done) -> None:
        """What a worker gave back."""
        if done.outcome == UNWRITABLE:
            raise Full(
                f"The output cannot be written: {done.detail}.",
                "See whether there is room, and the rights; then run it again: it goes on.",
            )
        if done.outcome == BLIND:
            raise FinderUnavailable
        if done.outcome == WAITING:
            self._park(done)
            return
        if done.layout or done.task.sample_of:
            self._judge(done, done.layout or done.task.sample_of)
        if done.outcome == THERE:
            self._doubtful.append(done)
        else:
            self._settle(done)

    def _resolve(self, done: Done) -> None:
        """A file whose place was taken: by another that gives the same instance, or by nobody's, which is replaced."""
        task = done.task
        if self._records.is_anothers(done.target, task.path):
            self._take(replace(done, outcome=done.detail, target=""))
        else:
            self._ready.append(replace(task, before=done.target, sample_of=""))

    def _park(self, done: Done) -> None:
        """An image whose layout nobody had judged: it waits for the sample, or is the sample."""
        if done.layout in self._verdicts:
            self._ready.append(done.task)
        elif done.layout in self._parked:
            self._parked[done.layout].append(done.task)
        else:
            self._parked[done.layout] = []
            self._ready.appendleft(replace(done.task, sample_of=done.layout))

    def _judge(self, done: Done, layout: str) -> None:
        """What an image says of its layout: a sample decides, and text counts whoever shows it."""
        known = self._verdicts.get(layout)
        if done.looked and (done.looked == TEXT or done.task.sample_of) and known not in (TEXT, done.looked):
            self._verdicts[layout] = done.looked
            if self._records.judge(layout, done.looked):
                self._is_stale = True
        if done.task.sample_of:
            waiting = self._parked.pop(layout, [])
            if layout in self._verdicts:
                self._ready.extend(waiting)
            elif waiting:  # this one could not be searched: the next is the sample
                self._parked[layout] = waiting[1:]
                self._ready.appendleft(replace(waiting[0], sample_of=layout))

    def _settle(self, done: Done) -> None:
        task = done.task
        is_last = done.looked == TEXT or self._verdicts.get(done.layout) != TEXT or done.verdict == TEXT
        self._is_stale |= not is_last
        mapped = self._mapping is not None and done.outcome == WRITTEN
        row = Row(done.outcome, done.target, done.layout, done.looked, done.boxes, mapped, done.size)
        gone = self._records.put(task.path, task.size, task.changed, row, done.actions, last=is_last)
        if gone:
            (self._output / gone).unlink(missing_ok=True)
        self._sealed += done.sealed
        if self._mapping is not None:
            self._mapping.add(done.mapping)
        if done.outcome != WRITTEN:
            self._withheld[task.path] = done.outcome
        else:
            self._withheld.pop(task.path, None)
        self._done += is_last

    def _commit(self) -> None:
        if self._way_back is not None:  # first: what the records name has its way back
            self._way_back.put(self._sealed)
            self._way_back.commit()
        self._sealed.clear()
        self._records.commit()
        self._committed = time.monotonic()


def files_in(source: Path) -> Iterator[tuple[str, int, int]]:
    """Each file below, or the one file: its path, bytes, and when it was changed (ns), in the order of names.

    Links are not followed. Of what cannot be looked at, a folder for instance, the path with 0 and 0.
    """
    try:
        if not source.is_dir():
            seen = source.stat()
            yield str(source), seen.st_size, seen.st_mtime_ns
            return
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except OSError:
        yield str(source), 0, 0
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_in(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError:
                yield entry.path, 0, 0
            else:
                yield entry.path, seen.st_size, seen.st_mtime_ns
