"""What is written down before images leave: rows of the audit trail, many in one transaction.

Whoever hands images out waits until the row is durable. Those who come while a transaction is under way share the next
one, so that a disk's slow `fsync` is paid once for all of them, and one who comes alone waits for nobody. Requests of
the same person for the same study, under the same permit, that share a transaction share a row: `instances` counts all.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from carina.node.site import Node
from carina.storage.audit import AuditRow, AuditTrail


@dataclass(frozen=True)
class Release:
    """What one request receives. `details` without how many, `instances`; JSON values that can be hashed."""

    action: str
    actor: str
    subject: str
    details: Mapping[str, Any]
    instances: int

    @property
    def key(self) -> Hashable:
        """What is equal in releases that share a row."""
        return self.action, self.actor, self.subject, tuple(sorted(self.details.items()))


@dataclass(eq=False)
class _Group:
    """Those who wait for the same transaction."""

    releases: list[Release] = field(default_factory=list)
    written: Future[None] = field(default_factory=Future)


class Releases:
    """The releases of one audit trail, by any number of threads; one of its own writes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the group that gathers
        self._writer = ThreadPoolExecutor(1, "releases")
        self._gathering = _Group()

    def enter(self, audit: AuditTrail, release: Release) -> Future[None]:
        """Have a release written. It is durable when the answer is there, or has what keeps it from being written."""
        with self._lock:
            group = self._gathering
            group.releases.append(release)
            if len(group.releases) == 1:
                self._writer.submit(self._write, audit)
            return group.written

    def _write(self, audit: AuditTrail) -> None:
        """Write the group that has gathered while the one before was written."""
        with self._lock:
            group, self._gathering = self._gathering, _Group()
        try:
            audit.append_all(_rows(group.releases))
        except BaseException as error:  # noqa: BLE001  each who waits raises it: nobody goes on unwritten
            group.written.set_exception(error)
        else:
            group.written.set_result(None)


def _rows(releases: list[Release]) -> list[AuditRow]:
    counts: dict[Hashable, tuple[Release, int]] = {}
    for release in releases:
        _, count = counts.get(release.key, (release, 0))
        counts[release.key] = release, count + release.instances
    return [
        AuditRow(release.action, release.actor, release.subject, {**release.details, "instances": count})
        for release, count in counts.values()
    ]


_of: WeakKeyDictionary[AuditTrail, Releases] = WeakKeyDictionary()
_making = threading.Lock()


def enter(node: Node, release: Release) -> Future[None]:
    """`Releases.enter` into the node's audit trail."""
    releases = _of.get(node.audit)
    if releases is None:
        with _making:
            releases = _of.setdefault(node.audit, Releases())
    return releases.enter(node.audit, release)
