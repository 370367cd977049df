"""Looking for text in pixels, beside reception: which images wait for it, what was found, and where they go then.

An image that must be looked at rests in quarantine, and has a row in `pixel_checks`. Its state:

waiting    for the look: its own (`layout` is empty), or that of the image that stands for its layout (`sample`)
clean      nothing was found; it has been given back to the workers
settled    its boxes are to be blanked, by the profile's word or a reader's; it has been given back to the workers
flagged    text was found, and the profile wants a reader, or the machine could not blank it all
rejected   it was discarded
failed     the look did not succeed; who gives it back lets it wait anew

Images of one machine and protocol share a layout (`pixel_layouts`): while it is `waiting`, one of them is looked at and
the others wait with it. Where that one is clean they need no look of their own; where it shows text, each has one.
Every step is one transaction and may be repeated after a crash at any point.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select, update

from carina.deid.engine.walker import Pieces, pieces
from carina.deid.pixels.findings import Box, Findings, Need
from carina.deid.pixels.plain import Native, Routes
from carina.deid.pixels.screen import suspicious
from carina.dicom.frames import count, decoded
from carina.dicom.parse import parse
from carina.errors import Busy, FinderUnavailable, Full, InvalidInstance, NotFound, Withheld, WrongKey
from carina.model.clock import stamp
from carina.model.ids import ProjectId
from carina.model.instance import Reason
from carina.model.keys import derive
from carina.node import quarantine
from carina.node.parcel import unwrap
from carina.node.site import Node, Project
from carina.storage.schema import pixel_checks as checks
from carina.storage.schema import pixel_layouts as layouts
from carina.storage.schema import quarantine as held

log = logging.getLogger(__name__)

Look: TypeAlias = Callable[[bytes], Findings]
"""Looks at an instance as it was received. Raises `InvalidInstance` or `Withheld` for pixels that cannot be read, and
`FinderUnavailable` where none can be searched."""
State = Literal["waiting", "clean", "flagged", "settled", "rejected", "failed"]

CLEAN_PIXELS = "clean_pixel_data"
ACTOR = "pixel-check"
ATTEMPTS = 3  # that end in an unforeseen error; then the check has failed
DEATHS = 5  # of processes that had claimed it; more, and it is taken for what kills them
IDLE = 0.5  # s between looks for work
PAUSE = 5.0  # s after the disk was full or the records were held
FINDER_PAUSE = 60.0  # s after the text finder could not start
FRAMES = 16  # of a plain image of many frames that the quick look takes
AT_ONCE = 100  # images that one transaction gives back
_BLIND = FinderUnavailable().message  # why all wait, said of the next one in quarantine
_NOT_BLANKED = "Text was found in its pixels, and the project's profile does not have it blanked."
_NO_PROJECT = "Its project is not in the node's settings."
_READERS = {"never": 1, "one": 1, "two": 2}  # never: only where the machine could not blank what it found


@dataclass(frozen=True)
class Check:
    """What is known of one image's pixels."""

    id: str
    project: ProjectId
    state: State
    layout: str
    sample: bool
    attempts: int
    findings: Findings | None


@dataclass(frozen=True)
class Wait:
    """An image whose pixels must be looked at first. `layout`: with whose image it waits; "" for a look of its own."""

    layout: str = ""


def decided(node: Node, project: Project, arrival_id: str) -> Findings | None:
    """What was found in an arrival's pixels, where that is settled; None when nobody has looked, or nobody is to.

    Raises `Withheld` for one that waits for a reader, and for one with text that its project's profile leaves in.
    """
    with node.engine.connect() as connection:
        check = get(connection, arrival_id)
    if check is not None and check.state == "flagged":
        raise Withheld(Reason.TEXT_IN_PIXELS, Reason.TEXT_IN_PIXELS.sentence)
    findings = None if check is None else check.findings
    if CLEAN_PIXELS in project.profile.options:
        return findings
    if findings is not None and findings.boxes:
        raise Withheld(Reason.TEXT_IN_PIXELS, _NOT_BLANKED)
    return None


def sampled(node: Node, project: Project, data: bytes) -> Wait | None:
    """For what a plain image waits, by what is known of its layout and by a quick look at it; None when it may pass."""
    if not node.samples:
        return None
    split = pieces(data)
    route = _routes(project.profile.options, derive(node.keys.pseudonym, "project", project.id, "layout")).of(
        data, split
    )
    if route.need != Need.SAMPLE:
        return None
    with node.engine.connect() as connection:
        state = layout_state(connection, project.id, route.layout)
    if state in ("", "waiting"):
        return Wait(route.layout)
    return Wait() if state == "text" or _seems_to_show_text(data, split, route.native) else None


@lru_cache(maxsize=64)
def _routes(options: tuple[str, ...], key: bytes) -> Routes:
    """Those of one project, which remember what headers they have seen."""
    return Routes(options, key)


def _seems_to_show_text(data: bytes, split: Pieces | None, native: Native | None) -> bool:
    """Whether one of its frames does, of at most `FRAMES` that lie evenly among them."""
    if split is None or split.pixels is None or native is None:
        dataset = parse(data)
        return any(suspicious(decoded(dataset, 1 + number)) for number in _evenly(count(dataset)))
    _, _, start, end = split.pixels
    total = min(native.frames, (end - start) // native.size)
    return any(suspicious(native.frame(data, start + number * native.size)) for number in _evenly(total))


def _evenly(total: int) -> Sequence[int]:
    """Numbers of frames, from 0."""
    return sorted({number * total // FRAMES for number in range(FRAMES)}) if total > FRAMES else range(total)


def get(connection: Connection, arrival_id: str) -> Check | None:
    """The check of this arrival; None when it never waited for one. Its findings only where they are settled."""
    row = connection.execute(select(checks).where(checks.c.id == arrival_id)).one_or_none()
    if row is None:
        return None
    findings = None
    if row.state in ("clean", "settled"):
        boxes = tuple(Box(*box) for box in row.boxes)
        findings = Findings(boxes, row.finder, "reader" if row.decisions else "machine", row.proven)
    return Check(row.id, row.project, row.state, row.layout, row.sample, row.attempts, findings)


def layout_state(connection: Connection, project: ProjectId, layout: str) -> str:
    """`waiting`, `clean` or `text`; "" for a layout that is new here."""
    place = and_(layouts.c.project == project, layouts.c.layout == layout)
    return str(connection.execute(select(layouts.c.state).where(place)).scalar() or "")


def note(connection: Connection, arrival_id: str, project: ProjectId, layout: str) -> None:
    """Let an arrival wait for a look, in the transaction that puts it into quarantine.

    layout   as of `Wait`
    """
    sample = bool(layout) and _stands_for(connection, arrival_id, project, layout)
    values = {"state": "waiting", "layout": layout, "sample": sample, "attempts": 0, "claimed_by": None}
    if connection.execute(update(checks).where(checks.c.id == arrival_id).values(**values)).rowcount == 0:
        connection.execute(
            insert(checks), {"id": arrival_id, "project": project, **values, "boxes": [], "decisions": []}
        )


def _stands_for(connection: Connection, arrival_id: str, project: ProjectId, layout: str) -> bool:
    """Whether this is the image that is looked at for its layout: the first that came."""
    place = and_(layouts.c.project == project, layouts.c.layout == layout)
    row = connection.execute(select(layouts.c.state, layouts.c.sample).where(place)).one_or_none()
    if row is None:
        new = {"project": project, "layout": layout, "state": "waiting", "sample": arrival_id}
        connection.execute(insert(layouts), new)
        return True
    if row.sample != arrival_id:
        connection.execute(update(layouts).where(place).values(seen=layouts.c.seen + 1))
    return bool(row.sample == arrival_id and row.state == "waiting")


def counts(node: Node) -> dict[str, int]:
    """How many images there are in each state, and `looked_at`: how many a machine has searched for text.

    Of those that wait for anybody or have failed, only what is in quarantine still: not what was discarded since.
    """
    here = exists().where(held.c.id == checks.c.id, held.c.state == "waiting")
    still = or_(checks.c.state.not_in(("waiting", "flagged", "failed")), here)
    with node.engine.connect() as connection:
        states = select(checks.c.state, func.count()).where(still).group_by(checks.c.state)
        found = connection.execute(states).all()
        looked = select(func.count()).select_from(checks).where(checks.c.checked_at.is_not(None))
        return {**{state: int(number) for state, number in found}, "looked_at": connection.execute(looked).scalar_one()}


def left_aside(node: Node) -> int:
    """How many wait unchecked that nobody is going to look at: their project's profile does not have that done."""
    waits = (held.c.state == "waiting") & (held.c.reason == Reason.PIXELS_NOT_CHECKED)
    wanted = select(func.count()).select_from(held).where(waits, ~exists().where(checks.c.id == held.c.id))
    with node.engine.connect() as connection:
        return int(connection.execute(wanted).scalar_one())


def release_claims(node: Node, worker: str | None = None, *, counted: bool = True) -> None:
    """End the claims of a process that is gone, or of all for the start of a node.

    counted   whether what was claimed counts as an attempt
    """
    mine = checks.c.claimed_by.is_not(None) if worker is None else checks.c.claimed_by == worker
    attempts = checks.c.attempts if counted else checks.c.attempts - 1
    with node.engine.begin() as connection:
        connection.execute(update(checks).where(mine).values(claimed_by=None, attempts=attempts))


def is_blind(node: Node) -> bool:
    """Whether images wait because the text finder could not start when it was needed last."""
    said = and_(held.c.id == checks.c.id, held.c.state == "waiting", held.c.detail == _BLIND)
    with node.engine.connect() as connection:
        wanted = select(checks.c.id).where(checks.c.state == "waiting", exists().where(said)).limit(1)
        return connection.execute(wanted).first() is not None


def _forget_blindness(node: Node) -> None:
    """A new process may have a text finder: nothing is said until it has tried."""
    said = and_(held.c.state == "waiting", held.c.detail == _BLIND)
    with node.engine.begin() as connection:
        connection.execute(update(held).where(said).values(detail=Reason.PIXELS_NOT_CHECKED.sentence))


def adopt(node: Node) -> int:
    """Give back what waits unchecked from a time when its project's profile did not have pixels cleaned; how many."""
    cleaned = [project.id for project in node.projects.values() if CLEAN_PIXELS in project.profile.options]
    unknown = and_(
        held.c.state == "waiting",
        held.c.reason == Reason.PIXELS_NOT_CHECKED,
        held.c.project.in_(cleaned),
        ~exists().where(checks.c.id == held.c.id),
    )
    with node.engine.connect() as connection:
        ids = list(connection.execute(select(held.c.id).where(unknown)).scalars())
    return _give_back(node, ids)


def run(node: Node, stop: threading.Event, name: str, look: Look) -> None:
    """Look at what waits until `stop` is set; what was begun is finished first. `name` as of `worker.run`."""
    release_claims(node, name)
    _forget_blindness(node)
    log.info("pixel-check-started", extra={"worker": name})
    adopted = False
    claims: Literal["", "counted", "uncounted"] = ""  # what may have been left claimed, and whether that is an attempt
    while not stop.is_set():
        try:
            if claims:
                release_claims(node, name, counted=claims == "counted")
                claims = ""
            if not adopted:
                adopt(node)
                adopted = True
            if not work(node, name, look):
                stop.wait(IDLE)
        except FinderUnavailable:
            claims = "uncounted"
            log.error("text-finder-unavailable", extra={"worker": name})
            stop.wait(FINDER_PAUSE)
        except (Full, Busy) as error:
            claims = claims or "uncounted"
            log.error("pixel-check-waits", extra={"worker": name, "error": type(error).__name__})
            stop.wait(PAUSE)
        except Exception as error:  # noqa: BLE001  it outlives whatever befalls one image; it says so and goes on
            claims = "counted"
            log.error("pixel-check-failed", extra={"worker": name, "error": type(error).__name__})
            stop.wait(PAUSE)
    release_claims(node, name, counted=claims != "uncounted")
    log.info("pixel-check-ended", extra={"worker": name})


def work(node: Node, worker: str, look: Look) -> bool:
    """Look at the next image, samples first, and settle what follows for others; False when nothing waited.

    When it is not the image's fault (the disk is full, the records are held, the text finder cannot start) the claim is
    given back, uncounted, before the error comes out.
    """
    settled = settle_layouts(node)
    check = _claim(node, worker)
    if check is None:
        return settled
    try:
        if check.attempts > DEATHS:
            raise Withheld(Reason.FAILED, "A process ended while it looked at its pixels.")
        if check.project not in node.projects:
            raise Withheld(Reason.FAILED, _NO_PROJECT)
        data = unwrap(node.quarantine.read(check.id)).data
        found = look(data)
        _settle(node, check, found, _size(data))
    except (Full, Busy, FinderUnavailable) as error:
        _unclaim(node, check, _BLIND if isinstance(error, FinderUnavailable) else "")
        raise
    except (Withheld, InvalidInstance, NotFound, WrongKey) as error:
        _fail(node, check, error.message)
    except Exception as error:  # noqa: BLE001  its words may quote values: only its name is kept
        log.error("pixels-not-looked-at", extra={"arrival": check.id, "error": type(error).__name__})
        if check.attempts >= ATTEMPTS:
            _fail(node, check, type(error).__name__)
        else:
            _release(node, check)
    return True


def _claim(node: Node, worker: str) -> Check | None:
    in_quarantine = exists().where(held.c.id == checks.c.id, held.c.state == "waiting")
    own_look = or_(checks.c.sample, checks.c.layout == "")
    free = and_(checks.c.state == "waiting", checks.c.claimed_by.is_(None), own_look, in_quarantine)
    next_one = select(checks.c.id).where(free).order_by(checks.c.sample.desc(), checks.c.id).limit(1)
    with node.engine.connect() as connection:  # an idle process leaves the write lock alone
        if connection.execute(next_one).first() is None:
            return None
    with node.engine.begin() as connection:
        chosen = connection.execute(next_one.with_for_update(skip_locked=True)).scalar()
        if chosen is None:
            return None
        taken = {"claimed_by": worker, "attempts": checks.c.attempts + 1}
        connection.execute(update(checks).where(checks.c.id == chosen).values(**taken))
        return get(connection, chosen)


def _size(data: bytes) -> dict[str, int]:
    """Rows, columns and frames, for those who draw the boxes."""
    dataset = parse(data)
    return {
        "rows": int(dataset.get("Rows") or 0),
        "columns": int(dataset.get("Columns") or 0),
        "frames": count(dataset),
    }


def _settle(node: Node, check: Check, found: Findings, size: dict[str, int]) -> None:
    """Write down what was found and give the image back, or let it wait for a reader."""
    review = node.projects[check.project].profile.review
    state: State = "clean" if not found.boxes else "settled"
    if found.boxes and (review != "never" or not found.proven):
        state = "flagged"
    values = {
        **size,
        "state": state,
        "boxes": [[box.top, box.left, box.bottom, box.right, box.frame] for box in found.boxes],
        "finder": found.finder[:60],
        "proven": found.proven,
        "readers": _READERS[review] if state == "flagged" else 0,
        "checked_at": stamp(),
        "claimed_by": None,
    }
    with node.engine.begin() as connection:
        if not _end(connection, check, **values):
            return
        if check.sample:
            place = and_(layouts.c.project == check.project, layouts.c.layout == check.layout)
            connection.execute(update(layouts).where(place).values(state="text" if found.boxes else "clean"))
        if state == "flagged":
            quarantine.change_reason(connection, check.id, Reason.TEXT_IN_PIXELS)
        else:
            quarantine.give_back(node, connection, ACTOR, check.id)
        details = {"state": state, "boxes": len(found.boxes), "finder": found.finder, "project": check.project}
        node.audit.append("pixels-checked", ACTOR, check.id, connection=connection, **details)
    log.info("pixels-checked", extra={"arrival": check.id, "state": state, "boxes": len(found.boxes)})


def _fail(node: Node, check: Check, why: str) -> None:
    with node.engine.begin() as connection:
        if _end(connection, check, state="failed", claimed_by=None):
            quarantine.change_reason(connection, check.id, Reason.FAILED, why)
            node.audit.append("pixels-not-checked", ACTOR, check.id, connection=connection, project=check.project)
    log.warning("pixels-not-checked", extra={"arrival": check.id})


def _end(connection: Connection, check: Check, **values: object) -> bool:
    """Write the end of a look; False when another process has ended it before, or it was discarded meanwhile."""
    mine = and_(checks.c.id == check.id, checks.c.state == "waiting", checks.c.attempts == check.attempts)
    return connection.execute(update(checks).where(mine).values(**values)).rowcount == 1


def _release(node: Node, check: Check) -> None:
    with node.engine.begin() as connection:
        _end(connection, check, claimed_by=None)


def _unclaim(node: Node, check: Check, why: str) -> None:
    """Release it, the attempt not counted; `why`, in constant words, stands in quarantine until the next look."""
    with node.engine.begin() as connection:
        if _end(connection, check, claimed_by=None, attempts=check.attempts - 1) and why:
            quarantine.change_reason(connection, check.id, Reason.PIXELS_NOT_CHECKED, why)


def settle_layouts(node: Node) -> bool:
    """Do for the images of each layout what follows from its state; whether anything changed."""
    discarded = _reject_discarded(node)
    appointed = _appoint(node)
    told = _tell_others(node)
    return discarded or appointed or told


def _reject_discarded(node: Node) -> bool:
    gone = exists().where(held.c.id == checks.c.id, held.c.state.in_(("discarded", "destroyed")))
    wanted = and_(checks.c.state.in_(("waiting", "flagged", "failed")), gone)
    with node.engine.connect() as connection:
        if connection.execute(select(checks.c.id).where(wanted).limit(1)).first() is None:
            return False
    with node.engine.begin() as connection:
        return connection.execute(update(checks).where(wanted).values(state="rejected")).rowcount > 0


def _appoint(node: Node) -> bool:
    """Let another image stand for a layout whose sample failed or was discarded; without one, forget the layout."""
    alive = exists().where(checks.c.id == layouts.c.sample, checks.c.state == "waiting")
    orphaned = select(layouts.c.project, layouts.c.layout).where(layouts.c.state == "waiting", ~alive)
    with node.engine.connect() as connection:
        found = connection.execute(orphaned).all()
    for project, layout in found:
        place = and_(layouts.c.project == project, layouts.c.layout == layout, layouts.c.state == "waiting", ~alive)
        waits = and_(checks.c.project == project, checks.c.layout == layout, checks.c.state == "waiting")
        with node.engine.begin() as connection:
            successor = connection.execute(select(func.min(checks.c.id)).where(waits)).scalar()
            if successor is None:
                connection.execute(delete(layouts).where(place))
            elif connection.execute(update(layouts).where(place).values(sample=successor)).rowcount == 1:
                connection.execute(update(checks).where(checks.c.id == successor).values(sample=True))
    return bool(found)


def _tell_others(node: Node) -> bool:
    """Give back what waits with a layout that is clean; let what waits with one that shows text have its own look."""
    clean, shows = _others("clean"), _others("text")
    with node.engine.connect() as connection:
        ids = list(connection.execute(select(checks.c.id).where(clean).order_by(checks.c.id)).scalars())
        more = connection.execute(select(checks.c.id).where(shows).limit(1)).first() is not None
    _give_back(node, ids)
    if more:
        with node.engine.begin() as connection:
            connection.execute(update(checks).where(shows).values(layout=""))
    return bool(ids or more)


def _others(state: str) -> ColumnElement[bool]:
    """What waits with a layout in this state, and is not looked at for it."""
    same = and_(layouts.c.project == checks.c.project, layouts.c.layout == checks.c.layout, layouts.c.state == state)
    return and_(checks.c.state == "waiting", ~checks.c.sample, checks.c.layout != "", exists().where(same))


def _give_back(node: Node, ids: Sequence[str]) -> int:
    """Give these back to the workers, which look up what is known of their layout; how many."""
    given = 0
    for start in range(0, len(ids), AT_ONCE):
        with node.engine.begin() as connection:
            for arrival_id in ids[start : start + AT_ONCE]:
                connection.execute(delete(checks).where(checks.c.id == arrival_id, checks.c.state == "waiting"))
                given += bool(quarantine.give_back(node, connection, ACTOR, arrival_id))
    return given
