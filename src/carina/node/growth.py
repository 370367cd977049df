"""What a node holds, how it has grown, and when its disk will be full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from carina.model.clock import now
from carina.node.arrivals import Archive, archive
from carina.node.site import Node
from carina.storage import growth as sums
from carina.storage.growth import Day, Heap
from carina.storage.reception import Backlog, backlog

DAYS = 90  # of growth that are told
OVER = 30  # days of it that a forecast is made of
LEAST = 7  # days that the first images must be old, or are taken to be, for a forecast
FARTHEST = 3650  # days; what lies beyond is no forecast


@dataclass(frozen=True)
class Growth:
    """The archive in numbers.

    size    bytes of the present versions of all images
    heaps   by project and modality, the largest first
    days    what each of the last 90 days brought, in order; none for a day without images
    """

    archive: Archive
    size: int
    heaps: tuple[Heap, ...]
    days: tuple[Day, ...]
    today: date

    def since(self, days: int) -> tuple[int, int]:
        """Images and bytes of the last so many days, today included."""
        return sums.total(self.days, self.today - timedelta(days=days - 1))

    @property
    def a_day(self) -> float:
        """Bytes a day over the last 30 days, or since the first image where that is less; of at least 7."""
        first = min((one.day for one in self.days), default=self.today)
        over = max(LEAST, min(OVER, (self.today - first).days + 1))
        return self.since(OVER)[1] / over

    def days_until(self, free: int) -> int | None:
        """In how many days so many bytes are used up as it has grown; None: not within ten years."""
        if self.a_day <= 0 or free / self.a_day > FARTHEST:
            return None
        return int(free / self.a_day)


@dataclass(frozen=True)
class Storage:
    """Where a node's bytes are. All in bytes.

    waiting     in the spool
    held        in quarantine, by reason: images and bytes
    discarded   there too, until they are destroyed: images and bytes
    records     of the database
    total, free of the disk with the node's folder
    """

    growth: Growth
    waiting: Backlog
    held: dict[str, tuple[int, int]]
    discarded: tuple[int, int]
    records: int
    total: int
    free: int


def growth(node: Node) -> Growth:
    """What the archive holds and how it came. It reads an index of all images: a second for some millions."""
    today = now().date()
    heaps = sums.heaps(node.engine)
    days = sums.days(node.engine, today, DAYS)
    return Growth(archive(node), sum(heap.size for heap in heaps), tuple(heaps), tuple(days), today)


def storage(node: Node, grown: Growth, disk: tuple[int, int, int]) -> Storage:
    """Where the bytes are. disk: total, used, free of the node's folder."""
    gone = sums.held(node.engine, "discarded").values()
    return Storage(
        growth=grown,
        waiting=backlog(node.engine, node.most_waiting + 1),
        held=sums.held(node.engine),
        discarded=(sum(count for count, _ in gone), sum(size for _, size in gone)),
        records=records_size(node),
        total=disk[0],
        free=disk[2],
    )


def records_size(node: Node) -> int:
    """Bytes of the database, its log included."""
    if node.engine.dialect.name == "postgresql":
        with node.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    path = Path(str(node.engine.url.database))
    places = (path, path.with_name(f"{path.name}-wal"))
    return sum(place.stat().st_size for place in places if place.exists())
