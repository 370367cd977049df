"""De-identify a folder: find its files, share them among workers, remember what was done, and report.

This process reads no DICOM; its workers do (`deid_work`). What identifies persons stays on the key holder's side:
sealed in the way back, and in the mapping and the list of withheld files where those are asked for.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carina.app.deid_pool import Pool, Told
from carina.app.deid_records import Records, only_run
from carina.app.deid_report import clinical_facts, counted_report, write_report
from carina.app.deid_run import Progress, Run
from carina.deid.profile import Profile
from carina.errors import BadInput
from carina.model.ids import ProjectId
from carina.model.keys import derive

if TYPE_CHECKING:
    from carina.deid.evidence.mapping import MappingFiles
    from carina.deid.evidence.reveal import WayBack

WITHHELD = "withheld.csv"
_ELSEWHERE = "Keep the key file, its records, the mapping, the list of withheld files and the report elsewhere."
_PART = ".part"
"""How the names of files end that are not whole yet."""


@dataclass(frozen=True)
class Order:
    """What is asked of a run. All but `output` and `report` is the key holder's, and never inside `output`.

    key         the key file's master
    key_file    where that is
    records     folder of what was done
    way_back    file of sealed originals, for `carina deid reveal`; None to keep none
    mapping     folder for the tables of the MIDI-B validator
    withheld    folder for the list of the files that were not written
    clinical    clinical table that is given away beside the images
    sample      search one plain image of each layout for text
    again       do also what was done before
    """

    source: Path
    output: Path
    report: Path
    profile: Profile
    key: bytes = field(repr=False)
    key_file: Path
    records: Path
    project: ProjectId
    workers: int = 1
    way_back: Path | None = None
    mapping: Path | None = None
    withheld: Path | None = None
    clinical: Path | None = None
    issuer: str = ""
    strip_leading_zeros: bool = False
    pseudonymised: bool = False
    sample: bool = True
    again: bool = False


def run(order: Order, progress: Progress = lambda done, found: None) -> dict[str, Any]:
    """De-identify the folder and write the report; gives the report.

    Raises `BadInput` where one folder lies in another that it must not, `Busy` while another run writes there.
    """
    check_places(order)
    _make(order.output, 0o777)
    _make(order.records, 0o700)
    own = derive(order.key, "records", order.project)
    place = str(order.output.resolve()).encode("utf-8", "surrogateescape")
    path = order.records / f"{hashlib.blake2b(place, key=own, digest_size=12).hexdigest()}.sqlite3"
    rows: list[tuple[str, dict[str, str]]] = []
    if order.clinical is not None:
        rows += clinical_facts(order.clinical, order.key, order.project, order.issuer, order.strip_leading_zeros)
    with ExitStack() as stack:
        stack.enter_context(only_run(path))
        pool = stack.enter_context(Pool(_told(order), order.workers))
        records = Records(path, own, _handling(order, pool.about), version("carina"))
        stack.callback(records.close)
        records.forget_what_is_gone(order.output)
        stack.enter_context(_swept(path.with_suffix(".running"), order.output, records))
        with _kept(order) as (way_back, mapping):
            one = Run(records, pool, order.source, order.output, progress=progress, way_back=way_back, mapping=mapping)
            withheld = one.through(again=order.again)
        if order.withheld is not None:
            _write_withheld(order.withheld, withheld)
        report = counted_report(records, pool, order.profile, order.project, rows)
        write_report(order.report, report, order.key)
    return report


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError:
        raise BadInput("A folder cannot be made.", "Choose OUT and `--records` where you may write.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput("A folder cannot be written to.", "Choose OUT and `--records` where you may write.")


def check_places(order: Order) -> None:
    """Raise `BadInput` where something would be written to a place where it must not lie."""
    source, output = order.source.resolve(), order.output.resolve()
    if source == output or source in output.parents or output in source.parents:
        raise BadInput("One of the two folders lies in the other.", "Write to a folder beside the one that is read.")
    kept = order.key_file, order.records, order.way_back, order.mapping, order.withheld
    if any(_lies_in(place, output) for place in (*kept, order.clinical)):
        raise BadInput("What only the key holder may have would lie in the folder that is given away.", _ELSEWHERE)
    if any(_lies_in(place, source) for place in (*kept, order.report)):
        raise BadInput("Something would be written to the folder that is only read.", _ELSEWHERE)
    if not _lies_in(order.report, output) and not order.report.parent.is_dir():
        raise BadInput("The folder for the report is not there.", "Make it, or choose another place for `--report`.")


def _lies_in(place: Path | None, folder: Path) -> bool:
    return place is not None and folder in (place.resolve(), *place.resolve().parents)


def _told(order: Order) -> Told:
    return Told(
        output=order.output.resolve(),
        profile=order.profile,
        key=order.key,
        project=order.project,
        issuer=order.issuer,
        strip_leading_zeros=order.strip_leading_zeros,
        pseudonymised=order.pseudonymised,
        sample=order.sample,
        way_back=order.way_back is not None,
        mapping=order.mapping is not None,
    )


def _handling(order: Order, about: dict[str, str]) -> str:
    """All that decides what comes of a file beside its bytes: when it changes, the file is done again."""
    choices = order.profile.digest, order.issuer, order.strip_leading_zeros, order.pseudonymised, order.sample
    return repr((*choices, sorted(about.items())))


@contextmanager
def _swept(mark: Path, output: Path, records: Records) -> Iterator[None]:
    """Remove what an earlier run left that did not end by itself: half written, or written and in no record.

    Nobody else's files can be among them: a folder with such files is refused (`BadInput`) before the mark is set.
    """
    strangers = [left for left in output.rglob("*.dcm") if not records.names(str(left.relative_to(output)))]
    if mark.exists():
        for left in (*output.rglob(f".*{_PART}"), *strangers):
            left.unlink(missing_ok=True)
        records.forget_mappings()
    elif strangers:
        raise BadInput(
            "The folder to write to holds files that this key has not written there.",
            "Choose an empty folder: files of two keys or projects in one could not be told apart.",
        )
    mark.touch(mode=0o600)
    yield
    mark.unlink()


@contextmanager
def _kept(order: Order) -> Iterator[tuple[WayBack | None, MappingFiles | None]]:
    """What is kept beside for the key holder, as far as it is asked for."""
    with ExitStack() as stack:
        way_back: WayBack | None = None
        mapping: MappingFiles | None = None
        if order.way_back is not None:
            from carina.deid.evidence.reveal import WayBack

            way_back = WayBack(order.way_back, order.key)
            stack.callback(way_back.close)
        if order.mapping is not None:
            from carina.deid.evidence.mapping import MappingFiles

            mapping = MappingFiles(order.mapping)
            stack.callback(mapping.write)
        yield way_back, mapping


def _write_withheld(folder: Path, withheld: Mapping[str, str]) -> None:
    """The list of files that were not written, each with its reason. It names files as the site does: identifying."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / WITHHELD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reason", "path"])
        writer.writerows((reason, path) for path, reason in sorted(withheld.items()))
