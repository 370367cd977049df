"""Images in which text was found: what readers see of them in quarantine, and what they decide.

A reader says which places are to be blanked, or that the image may not pass at all. Where two must agree, both say the
same of the same places, each with an account of their own; then the image goes back to the workers, or is discarded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, select, update

from carina.deid.evidence.diff import Difference, differences
from carina.deid.pixels.findings import Box, Findings
from carina.dicom.parse import parse
from carina.dicom.rendering import Viewport, Window, render, value_range
from carina.errors import BadInput, Conflict, NotAllowed, NotFound
from carina.model.clock import stamp
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node import quarantine
from carina.node.parcel import unwrap
from carina.node.preparing import handling_of
from carina.node.site import Node
from carina.storage.accounts import HOLDER
from carina.storage.schema import pixel_checks as checks
from carina.storage.schema import quarantine as held

Verdict: TypeAlias = Literal["accept", "reject"]
Outcome: TypeAlias = Literal["settled", "rejected", "waits"]
MOST_BOXES = 2000  # of one image
LOOK = timedelta(minutes=10)  # pictures of one image that one person sees within it are one row of the audit trail
LARGEST = 4096  # pixels of a side of a picture


@dataclass(frozen=True)
class Decision:
    """What one reader said. `boxes`: what is to be blanked, when it may pass."""

    actor: str
    verdict: Verdict
    at: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Review:
    """One image whose pixels were looked at. No field holds a free header value.

    rows, columns  pixels of a frame
    boxes          as the finder drew them
    readers        how many must agree
    decisions      all of them, oldest first; the last of each reader counts
    """

    id: str
    project: ProjectId
    source: Source
    received_at: str
    size: int
    modality: str | None
    sop_class_uid: str | None
    state: str
    rows: int
    columns: int
    frames: int
    boxes: tuple[Box, ...]
    finder: str
    proven: bool
    readers: int
    decisions: tuple[Decision, ...] = ()

    @property
    def opinions(self) -> tuple[Decision, ...]:
        """The last decision of each reader, the oldest first."""
        last = {one.actor: one for one in self.decisions}
        return tuple(one for one in self.decisions if last[one.actor] is one)

    @property
    def proposed(self) -> tuple[Box, ...]:
        """What the next reader is shown: the boxes of the reader who let it pass last, else the finder's."""
        accepted = [one.boxes for one in self.opinions if one.verdict == "accept"]
        return accepted[-1] if accepted else self.boxes

    def decided_by(self, actor: str) -> Decision | None:
        """What this reader has said."""
        return next((one for one in self.opinions if one.actor == actor), None)


@dataclass(frozen=True)
class Backlog:
    """What waits in one project: for readers, for the pixel check, and what the check could not do."""

    project: ProjectId
    flagged: int = 0
    waiting: int = 0
    failed: int = 0


def backlogs(node: Node) -> list[Backlog]:
    """One for each project in which something waits, by name."""
    wanted = (
        select(checks.c.project, checks.c.state, func.count())
        .where(_held(), checks.c.state.in_(("flagged", "waiting", "failed")))
        .group_by(checks.c.project, checks.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    with node.engine.connect() as connection:
        for project, state, count in connection.execute(wanted):
            found.setdefault(project, {})[state] = count
    return [Backlog(ProjectId(project), **counts) for project, counts in sorted(found.items())]


def flagged(node: Node, project: str = "", limit: int = 100, after: str = "") -> list[Review]:
    """What waits for readers, of one project or all, in order of arrival, beginning after the id `after`."""
    wanted = _flagged(project).where(checks.c.id > after).order_by(checks.c.id).limit(limit)
    with node.engine.connect() as connection:
        return [_review(row) for row in connection.execute(wanted).mappings()]


def get(node: Node, arrival_id: str) -> Review:
    """One that waits for readers, or `NotFound`."""
    with node.engine.connect() as connection:
        return _one(connection, arrival_id)


def beside(node: Node, one: Review, project: str = "") -> tuple[str, str]:
    """The ids of the image before and of the one after, of those that wait; empty where there is none."""
    ids = _flagged(project).with_only_columns(checks.c.id).limit(1)
    with node.engine.connect() as connection:
        before = ids.where(checks.c.id < one.id).order_by(checks.c.id.desc())
        after = ids.where(checks.c.id > one.id).order_by(checks.c.id)
        return tuple(connection.execute(query).scalar() or "" for query in (before, after))  # type: ignore[return-value]


def next_for(node: Node, actor: str, after: str, project: str = "") -> str:
    """The id of the next image that this reader has not decided on, from the start again after the last; or empty."""

    def undecided(part: ColumnElement[bool], connection: Connection) -> Iterator[str]:
        wanted = _flagged(project).with_only_columns(checks.c.id, checks.c.decisions).where(part).order_by(checks.c.id)
        for row in connection.execution_options(yield_per=100).execute(wanted):
            if all(one["actor"] != actor for one in row.decisions):
                yield row.id

    with node.engine.connect() as connection:
        for part in (checks.c.id > after, checks.c.id < after):
            for found in undecided(part, connection):
                return found
    return ""


def picture(
    node: Node, actor: str, arrival_id: str, frame: int = 1, *, side: int = LARGEST, whole_range: bool = False
) -> bytes:
    """A frame, numbered from 1, as PNG of at most `side` pixels, with all the text that is in it; it is audited.

    whole_range   from the lowest value to the highest, whatever window the header names: nothing stays hidden in black

    Raises `NotFound`, and `InvalidInstance` for what cannot be drawn.
    """
    one = get(node, arrival_id)
    node.refusals.note(node.audit, "image-looked-at", actor, one.id, every=LOOK, project=one.project)
    dataset = parse(unwrap(node.quarantine.read(one.id)).data)
    ends = value_range(dataset, frame) if whole_range else None
    window = None if ends is None else Window((ends[0] + ends[1]) / 2, max(ends[1] - ends[0], 1e-6), "LINEAR_EXACT")
    return render(
        dataset, frame, window=window, viewport=Viewport(min(side, one.columns or side), min(side, one.rows or side))
    )


def header(node: Node, actor: str, arrival_id: str) -> list[Difference]:
    """Each element of its header as it came and as it would leave, with the proposed boxes blanked; it is audited.

    Raises `InvalidInstance`, `Withheld` for what would not pass, and `NotFound` where its project is gone.
    """
    one = get(node, arrival_id)
    project = node.projects.get(one.project)
    if project is None:
        raise NotFound("The image's project is not in the node's settings.", "Add it to node.toml, and start again.")
    node.audit.append("header-looked-at", actor, one.id, project=one.project)
    parcel = unwrap(node.quarantine.read(one.id))
    found = Findings(one.proposed, one.finder, "reader", one.proven)
    return differences(parcel.data, handling_of(node, project, parcel.source), found)


def decide(
    node: Node, actor: str, arrival_id: str, verdict: Verdict, boxes: Sequence[Box] = (), *, seen: int
) -> Outcome:
    """Note what a reader says; once as many agree as must, let the image pass or discard it.

    boxes   what is to be blanked, when it may pass; none: there is no text
    seen    how many decisions the reader was shown. Another since then: `Conflict`

    Raises `NotAllowed` for a token: two who must agree are two persons, each with an account of their own.
    """
    if actor.startswith(HOLDER):
        raise NotAllowed("A reader decides with an account of their own.", "Sign in; a token cannot decide.")
    with node.engine.begin() as connection:
        one = _one(connection, arrival_id, lock=True)
        if len(one.decisions) != seen:
            raise Conflict("Somebody else has decided on this image meanwhile.", "Look at it once more.")
        mine = Decision(actor, verdict, stamp(), _checked(one, boxes) if verdict == "accept" else ())
        decisions = (*one.decisions, mine)
        outcome = _outcome(one, decisions)
        values: dict[str, Any] = {"decisions": [_written(decision) for decision in decisions]}
        if outcome != "waits":
            values |= {"state": outcome, "decided_at": mine.at}
        if outcome == "settled":
            values |= {"boxes": [_list(box) for box in mine.boxes], "proven": one.proven and _covers(mine, one)}
        connection.execute(update(checks).where(checks.c.id == one.id).values(**values))
        said: dict[str, Any] = {"verdict": verdict, "boxes": len(mine.boxes), "outcome": outcome}
        node.audit.append("image-decided", actor, one.id, connection=connection, project=one.project, **said)
        if outcome == "settled":
            quarantine.give_back(node, connection, actor, one.id)
        if outcome == "rejected":
            quarantine.give_up(node, connection, actor, one.id)
    return outcome


def waits_for_reader(node: Node, ids: Sequence[str]) -> frozenset[str]:
    """Those of these that a reader can decide on now."""
    flagged = _flagged().with_only_columns(checks.c.id).where(checks.c.id.in_(ids))
    with node.engine.connect() as connection:
        return frozenset(connection.scalars(flagged))


def _covers(mine: Decision, found: Review) -> bool:
    """Whether all that the finder drew is still to be blanked; then what its second search has proven still holds."""
    return set(found.boxes) <= set(mine.boxes)


def _outcome(one: Review, decisions: tuple[Decision, ...]) -> Outcome:
    """What the newest decision brings: readers agree whose last words are the same verdict on the same places."""
    newest = decisions[-1]
    last = {decision.actor: decision for decision in decisions}.values()
    agreeing = sum(1 for other in last if (other.verdict, other.boxes) == (newest.verdict, newest.boxes))
    if agreeing < one.readers:
        return "waits"
    return "settled" if newest.verdict == "accept" else "rejected"


def _checked(one: Review, boxes: Sequence[Box]) -> tuple[Box, ...]:
    """The boxes in order, each once. Raises `BadInput` for one that is not in the image."""
    if len(boxes) > MOST_BOXES:
        raise BadInput("These are more boxes than one image can have.", "Draw fewer, larger ones.")
    for box in boxes:
        inside = 0 <= box.top < box.bottom <= one.rows and 0 <= box.left < box.right <= one.columns
        if not inside or (box.frame is not None and not 0 <= box.frame < one.frames):
            raise BadInput("A box lies outside of the image.", "Load the page again and draw it once more.")
    return tuple(sorted(set(boxes), key=_order))


def _order(box: Box) -> tuple[int, ...]:
    return (-1 if box.frame is None else box.frame, box.top, box.left, box.bottom, box.right)


def _held() -> ColumnElement[bool]:
    return and_(held.c.id == checks.c.id, held.c.state == "waiting")


def _flagged(project: str = "") -> Select[Any]:
    wanted = select(
        checks,
        *(held.c[name] for name in ("source_kind", "source_name", "received_at", "size", "modality", "sop_class_uid")),
    ).where(_held(), checks.c.state == "flagged")
    return wanted.where(checks.c.project == project) if project else wanted


def _one(connection: Connection, arrival_id: str, *, lock: bool = False) -> Review:
    wanted = _flagged().where(checks.c.id == arrival_id)
    row = connection.execute(wanted.with_for_update() if lock else wanted).mappings().one_or_none()
    if row is None:
        raise NotFound("No image with this id waits for a reader.", "It may have been decided on: go back to the list.")
    return _review(row)


def _review(row: RowMapping) -> Review:
    same = {name: row[name] for name in ("id", "project", "received_at", "size", "modality", "sop_class_uid", "state")}
    return Review(
        **same,
        source=Source(row["source_kind"], row["source_name"]),
        rows=row["rows"] or 0,
        columns=row["columns"] or 0,
        frames=row["frames"] or 1,
        boxes=_boxes(row["boxes"]),
        finder=row["finder"],
        proven=row["proven"],
        readers=max(row["readers"], 1),
        decisions=tuple(
            Decision(one["actor"], one["verdict"], one["at"], _boxes(one["boxes"])) for one in row["decisions"]
        ),
    )


def _boxes(written: Sequence[Sequence[Any]]) -> tuple[Box, ...]:
    return tuple(sorted({Box(*one) for one in written}, key=_order))


def _written(decision: Decision) -> dict[str, Any]:
    return {
        "actor": decision.actor,
        "verdict": decision.verdict,
        "at": decision.at,
        "boxes": [_list(box) for box in decision.boxes],
    }


def _list(box: Box) -> list[int | None]:
    return [box.top, box.left, box.bottom, box.right, box.frame]
