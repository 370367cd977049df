"""Looking at one node again and again, at little cost: what the console, its JSON and the server's own care share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta

from carina.errors import Busy, Full
from carina.model.clock import now, parse_stamp
from carina.node import growth, overview
from carina.node.arrivals import Arriving, arriving
from carina.node.datasets import Dataset, versions
from carina.node.datasetstate import Described, described
from carina.node.growth import DAYS, Growth, Storage
from carina.node.kept import Kept
from carina.node.machine import Process, processes
from carina.node.overview import Overview, Seen
from carina.node.part import Around
from carina.node.site import Node
from carina.storage import growth as sums
from carina.storage import trail

SELDOM = 100.0  # times as long as it took that the archive's sums are kept
ROWS = 1000  # of the audit trail that are checked at once
ROUND = timedelta(minutes=1)  # at least, between the starts of two rounds through the trail
DATASETS = 64  # whose sums are kept


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
        self._datasets: dict[object, Kept[Described]] = {}
        self._caring = threading.Lock()
        self._keeping = threading.Lock()

    def _storage(self) -> Storage:
        return growth.storage(self.node, self.growth(), self.around.disk(self.node.folder))

    def _processes(self) -> list[Process]:
        return processes(self.around.workers() if self.around.workers is not None else {})

    def _overview(self) -> Overview:
        return overview.overview(self.node, self.around, Seen(self.arriving(), self.growth()))

    def described(self, dataset: Dataset) -> Described:
        """The dataset in sums. They are found anew at once after anything was decided on it, else as they are dear."""
        key = (dataset, versions(self.node, dataset.iri))
        kept = self._datasets.get(key)
        if kept is None:
            kept = Kept(lambda: described(self.node, dataset), SELDOM)
            with self._keeping:
                while len(self._datasets) >= DATASETS:
                    del self._datasets[next(iter(self._datasets))]
                self._datasets[key] = kept
        return kept()

    def care(self) -> None:
        """A step of what a server does now and then: check some more of the audit trail, keep the sums of past days."""
        with self._caring:
            try:
                if self._check():
                    sums.keep(self.node.engine, now().date(), DAYS)
            except (Full, Busy):  # the overview says so; it is done again, and sums are found anew until there is room
                return

    def _check(self) -> bool:
        """Check some more rows of the trail, or begin again; whether that ended a round."""
        last = trail.last_check(self.node.engine)
        ended = last is not None and last.state != "running"
        if last is not None and ended and now() - parse_stamp(last.at) < ROUND:
            return False
        return trail.check_on(self.node.engine, anew=last is None or ended, most=ROWS).state != "running"
