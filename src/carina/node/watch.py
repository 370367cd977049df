"""Looking at one node again and again, at little cost: what the console, its JSON and the server's own care share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from carina.errors import Busy, Full
from carina.model.clock import now
from carina.node import growth, overview, standing
from carina.node.arrivals import Arriving, arriving
from carina.node.growth import DAYS, Growth, Storage
from carina.node.kept import Kept
from carina.node.machine import Process, processes
from carina.node.overview import Overview, Seen
from carina.node.part import Around
from carina.node.site import Node
from carina.node.standing import Trail
from carina.storage import growth as sums

SELDOM = 100.0  # times as long as it took that the archive's sums are kept
ROWS = 1000  # of the audit trail that are checked at once


@dataclass
class Watch:
    """The answers, each kept in proportion to what it cost. `around`: what runs beside the records."""

    node: Node
    around: Around = field(default_factory=Around)

    def __post_init__(self) -> None:
        self.arriving: Kept[Arriving] = Kept(lambda: arriving(self.node))
        self.growth: Kept[Growth] = Kept(lambda: growth.growth(self.node), SELDOM)
        self.storage: Kept[Storage] = Kept(self._storage)
        self.processes: Kept[list[Process]] = Kept(self._processes, SELDOM)
        self.overview: Kept[Overview] = Kept(self._overview)
        self._trail: Trail | None = None
        self._caring = threading.Lock()

    def _storage(self) -> Storage:
        return growth.storage(self.node, self.growth(), self.around.disk(self.node.folder))

    def _processes(self) -> list[Process]:
        return processes(self.around.workers() if self.around.workers is not None else {})

    def _overview(self) -> Overview:
        return overview.overview(self.node, self.around, Seen(self.arriving(), self.growth(), self._trail))

    def care(self) -> None:
        """A step of what a server does now and then: check some more of the audit trail, keep the sums of past days."""
        with self._caring:
            self._trail = standing.check_on(self.node, self._trail or Trail(), ROWS)
            if self._trail.at is not None and not self._trail.broken:  # once a round
                try:
                    sums.keep(self.node.engine, now().date(), DAYS)
                except (Full, Busy):  # the overview says so; the sums are found anew each time until there is room
                    return
