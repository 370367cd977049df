"""Send DICOM instances to another application by C-STORE: files, or what a node's archive holds.

Each goes as it is where the other side takes that, and without compression else. A file's data set is not decoded for
that: its bytes are read and sent piece by piece. Nothing here says more of an instance than its place in the list.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config
from pynetdicom.association import Association

from carina.dicom.quiet import quiet
from carina.dicom.transcode import explicit_little_endian
from carina.errors import Unreachable
from carina.interfaces.dimse import peers
from carina.interfaces.dimse.logs import close_logs
from carina.interfaces.dimse.move import MOST_CONTEXTS, offered_contexts
from carina.model.instance import Peer
from carina.node.retrieve import can_be_native, read
from carina.node.site import Node
from carina.storage.index import StoredInstance

End = Literal["sent", "warned", "refused", "not taken", "not DICOM", "unreadable", "lost"]
SENTENCES: dict[End, str] = {
    "sent": "sent",
    "warned": "sent, taken with a warning",
    "refused": "refused by the other side",
    "not taken": "not sent: the other side takes its kind in no form that can be made here",
    "not DICOM": "not sent: no DICOM file",
    "unreadable": "not sent: it cannot be read",
    "lost": "not sent: the association was lost",
}
GOOD: frozenset[End] = frozenset(("sent", "warned"))

_AT_ONCE = 1000  # instances on one association
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: DICOMDIR is no instance
_SLOWEST = 2**20  # bytes/s
_ANSWER_WITHIN = 60.0  # s beside that
_WARNINGS = frozenset((0x0001, 0x0107, 0x0116))


@dataclass(frozen=True)
class Sendable:
    """One instance to send.

    number   its place in the list, from 1
    plain    whether it can be given without compression
    give     its data set; called with whether that must be without compression. A path is sent as it is
    """

    number: int
    sop_class: str
    syntax: str
    size: int
    plain: bool
    give: Callable[[bool], Path | Dataset]


@dataclass(frozen=True)
class Outcome:
    """What became of one instance. `status`: of the other side's C-STORE response, if there was one."""

    number: int
    end: End
    status: int | None = None


def from_files(paths: Iterable[Path]) -> Iterator[Sendable | Outcome]:
    """The files as they can be sent, or why one cannot."""
    for number, path in enumerate(paths, 1):
        try:
            with quiet():
                meta = read_file_meta_info(path)
            sop_class, syntax = str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
            str(meta.MediaStorageSOPInstanceUID)
            size = path.stat().st_size
        except OSError:
            yield Outcome(number, "unreadable")
            continue
        except Exception:  # noqa: BLE001  pydicom raises many kinds for what is none of its files
            yield Outcome(number, "not DICOM")
            continue
        if sop_class == _DIRECTORY:
            yield Outcome(number, "not DICOM")
            continue
        yield Sendable(number, sop_class, syntax, size, True, partial(_of_file, path))


def from_archive(node: Node, instances: Sequence[StoredInstance]) -> Iterator[Sendable]:
    """Stored instances; whoever calls has asked `node.authorise` for them and written down that they leave."""
    for number, one in enumerate(instances, 1):
        plain = can_be_native(one)
        give = partial(_of_archive, node, one)
        yield Sendable(number, one.sop_class_uid, one.transfer_syntax_uid, one.size, plain, give)


def send(
    peer: Peer, wanted: Iterable[Sendable | Outcome], *, caller: str, tls: ssl.SSLContext | None = None
) -> Iterator[Outcome]:
    """What becomes of each, in the order of the list, by as many associations as that takes, one after the other.

    caller   the AE title that sends

    Raises `Unreachable` when the first association cannot be had; when a later one cannot, the rest is "lost".
    """
    close_logs()
    _config.STORE_SEND_CHUNKED_DATASET = True
    first = True
    for batch in _batches(wanted):
        own = [one for one in batch if isinstance(one, Sendable)]
        contexts = offered_contexts({(one.sop_class, one.syntax): None for one in own})
        ends = _sent(own, partial(peers.associate, peer, contexts, caller=caller, tls=tls), first=first)
        first = first and not own
        for one in batch:
            yield one if isinstance(one, Outcome) else next(ends)


def _batches(wanted: Iterable[Sendable | Outcome]) -> Iterator[list[Sendable | Outcome]]:
    """What one association can carry: few enough, and of few enough kinds."""
    batch: list[Sendable | Outcome] = []
    kinds: dict[tuple[str, str], None] = {}
    for one in wanted:
        if isinstance(one, Sendable):
            more = {**kinds, (one.sop_class, one.syntax): None}
            if batch and (len(batch) >= _AT_ONCE or 3 * len(more) > MOST_CONTEXTS):
                yield batch
                batch, more = [], {(one.sop_class, one.syntax): None}
            kinds = more
        batch.append(one)
    if batch:
        yield batch


def _sent(batch: Sequence[Sendable], call: Callable[[], Association], *, first: bool) -> Iterator[Outcome]:
    """By one association, and by a second one when that is lost; what lost it is not tried again.

    first   whether to raise `Unreachable` when there is not even one
    """
    association: Association | None = None
    calls = 2
    try:
        for one in batch:
            if (association is None or not association.is_established) and calls:
                calls -= 1
                association = _called(call, raises=first)
                first = False
            yield Outcome(one.number, "lost") if association is None else _sent_one(association, one)
    finally:
        if association is not None and association.is_established:
            association.release()


def _called(call: Callable[[], Association], *, raises: bool) -> Association | None:
    try:
        return call()
    except Unreachable:
        if raises:
            raise
        return None


def _sent_one(association: Association, one: Sendable) -> Outcome:
    if not association.is_established:
        return Outcome(one.number, "lost")
    contexts = association.accepted_contexts
    syntaxes = {context.transfer_syntax[0] for context in contexts if context.abstract_syntax == one.sop_class}
    as_it_is = one.syntax in syntaxes
    if not as_it_is and not (one.plain and syntaxes & {ExplicitVRLittleEndian, ImplicitVRLittleEndian}):
        return Outcome(one.number, "not taken")
    association.dimse_timeout = _ANSWER_WITHIN + one.size / _SLOWEST
    try:
        with quiet():
            answer = association.send_c_store(one.give(not as_it_is), msg_id=one.number % 65535 + 1)
    except RuntimeError:  # the association has ended
        return Outcome(one.number, "lost")
    except Exception:  # noqa: BLE001  one that cannot be read, or written as agreed, is not the end of the others
        return Outcome(one.number, "unreadable")
    return _answered(one.number, answer)


def _answered(number: int, answer: Dataset) -> Outcome:
    if "Status" not in answer:
        return Outcome(number, "lost")
    status = int(answer.Status)
    if status == 0:
        return Outcome(number, "sent", status)
    warned = status >> 12 == 0xB or status in _WARNINGS
    return Outcome(number, "warned" if warned else "refused", status)


def _of_file(path: Path, plain: bool) -> Path | Dataset:
    return dcmread(io.BytesIO(explicit_little_endian(path.read_bytes()))) if plain else path


def _of_archive(node: Node, instance: StoredInstance, plain: bool) -> Dataset:
    return dcmread(io.BytesIO(read(node, instance, "native" if plain else "stored")))
