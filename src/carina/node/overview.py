"""Whether all is well with a node: one sentence, and a part for each thing that somebody may have to look after.

What is said here is English, made of constant texts and numbers, so that pages can say it in other languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from carina.errors import FinderUnavailable
from carina.model.clock import now as present
from carina.model.clock import parse_stamp
from carina.model.instance import Reason
from carina.node import keylist, pixels, review, standing
from carina.node.arrivals import Arriving, arriving, silences
from carina.node.growth import Growth, growth
from carina.node.ingest import RESERVE
from carina.node.keylist import KeyLine
from carina.node.part import ORDER, Around, Part, State
from carina.node.saying import named, say, say_count
from carina.node.site import Node
from carina.storage import growth as sums

Verdict = Literal["well", "attention", "trouble"]
VERDICTS: dict[State, Verdict] = {"good": "well", "warn": "attention", "bad": "trouble"}
PATIENCE = timedelta(minutes=15)  # that an image may wait for a worker
FULL_WARN, FULL_BAD = 30, 3  # days until the disk is full
LONG = 2 * 365  # days after which years are told
LITTLE = 0.05  # of the disk, free


@dataclass(frozen=True)
class Overview:
    """How all is. `parts`: in a fixed order."""

    verdict: Verdict
    sentence: str
    parts: tuple[Part, ...]

    @property
    def wanting(self) -> tuple[Part, ...]:
        """The parts that somebody must look after, the worst first."""
        return tuple(part for state in ORDER[:2] for part in self.parts if part.state == state)


@dataclass(frozen=True)
class Seen:
    """What parts are told from; see `parts`."""

    arriving: Arriving
    growth: Growth


def overview(node: Node, around: Around | None = None, seen: Seen | None = None) -> Overview:
    """How the node is now. `around`, `seen`: as `parts` takes them."""
    seen = seen or Seen(arriving(node), growth(node))
    found = parts(node, around, seen)
    worst: State = next((state for state in ORDER if any(part.state == state for part in found)), "good")
    return Overview(VERDICTS[worst], _sentence(found, seen.arriving), found)


def _sentence(found: tuple[Part, ...], arriving: Arriving) -> str:
    """One sentence. Where something is wanting it holds what that is, the worst two first."""
    wanting = [part for state in ORDER[:2] for part in found if part.state == state]
    if not wanting:
        heard = arriving.heard_today
        return say_count(heard, *_WELL) if heard else say("All is well: nothing waits.")
    told = "; ".join(part.sentence.rstrip(".") for part in wanting[:2])
    word = "Trouble" if wanting[0].state == "bad" else "Attention"
    return f"{word}: {told}."


_WELL = (
    "All is well: {count} source was heard today, nothing waits.",
    "All is well: {count} sources were heard today, nothing waits.",
)


def parts(node: Node, around: Around | None = None, seen: Seen | None = None) -> tuple[Part, ...]:
    """Each part of the node.

    around   what is known beside its records; without it, a server need not run
    seen     what was found before, where somebody keeps it; else it is looked up
    """
    around, at = around or Around(), present()
    seen = seen or Seen(arriving(node), growth(node))
    held = sums.held(node.engine)
    return (
        _reception(node, seen.arriving, at),
        _workers(node, around, seen.arriving, at),
        _pixels(node),
        _quarantine(node, held),
        _reviews(node),
        _disk(node, around, seen.growth),
        standing.records(node),
        _keys(node, around),
        standing.hubs(node, at, served=around.served is not False),
        standing.permits(node, at),
        standing.jobs(node, at),
        standing.clock(node),
        standing.backup(node, seen.growth.archive.instances, at),
        standing.trail(node),
    )


def _reception(node: Node, seen: Arriving, at: datetime) -> Part:
    name, link = named("Reception"), "/arrivals"
    silent = silences(node, seen, at)
    if silent:
        one = silent[0]
        hint = say("Ask whoever looks after it, and try C-ECHO from there.")
        text = say(
            "{source} has sent nothing for {days} days; its longest pause in four weeks was {pause}.",
            source=one.source.name,
            days=one.days,
            pause=one.longest,
        )
        return Part(name, "warn", text, hint, link)
    known = len(seen.sources)
    if not any(row.last_seen for row in seen.sources):
        hint = say("Send images by C-STORE or STOW-RS, or put them in a folder that is a source.")
        return Part(name, "good", say("No source has sent anything yet."), hint, link)
    return Part(name, "good", _heard(seen.heard_today, known), "", link)


def _heard(heard: int, known: int) -> str:
    if heard == known:
        return say_count(heard, "{count} source was heard today.", "All {count} sources were heard today.")
    if not heard:
        return say_count(known, "The source was not heard today.", "None of {count} sources was heard today.")
    one = "{count} of {known} sources was heard today."
    return say_count(heard, one, "{count} of {known} sources were heard today.", known=known)


def _workers(node: Node, around: Around, seen: Arriving, at: datetime) -> Part:
    name, link = named("Workers"), "/system#processes"
    backlog = seen.backlog
    missing = 0 if around.workers is None else len(set(around.wanted) - around.workers().keys())
    if missing:
        text = say_count(missing, *_MISSING, wanted=len(around.wanted))
        return Part(name, "bad", text, say("They are started again by themselves; the log says why."), link)
    if backlog.waiting >= node.most_waiting:
        text = say("So many images wait that senders are asked to come again: {count}.", count=backlog.waiting)
        return Part(name, "bad", text, say("Give the node more workers, or wait."), link)
    waited = at - parse_stamp(backlog.oldest) if backlog.oldest else timedelta(0)
    if waited > PATIENCE:
        text = say_count(backlog.waiting, *_LATE, minutes=int(waited.total_seconds() // 60))
        hint = say("Start the node.") if around.served is False else say("See the log, or give the node more workers.")
        return Part(name, "warn", text, hint, link)
    if around.served is False:
        return Part(name, "warn", say("The node does not run."), say("Start it: carina node serve FOLDER."), link)
    return Part(name, "good", _at_work(around, backlog.waiting), "", link)


def _at_work(around: Around, waiting: int) -> str:
    if waiting:
        return say_count(waiting, *_WORKED_ON)
    return say_count(len(around.wanted), *_RUNNING) if around.workers else say("Nothing waits for a worker.")


_MISSING = ("{count} of {wanted} processes does not run.", "{count} of {wanted} processes do not run.")
_LATE = (
    "{count} image has waited for a worker for {minutes} minutes.",
    "{count} images wait for a worker, the oldest for {minutes} minutes.",
)
_RUNNING = ("{count} process runs, nothing waits.", "{count} processes run, nothing waits.")
_WORKED_ON = ("{count} image is being worked on.", "{count} images are being worked on.")


def _pixels(node: Node) -> Part:
    name, link = named("Pixel checks"), f"/quarantine/{Reason.PIXELS_NOT_CHECKED}"
    counts = pixels.counts(node)
    if pixels.is_blind(node):
        error = FinderUnavailable()
        return Part(name, "bad", error.message, error.hint or "", link)
    if counts.get("failed"):
        text = say_count(counts["failed"], *_FAILED)
        return Part(name, "warn", text, say("Try them again, or discard them."), f"/quarantine/{Reason.FAILED}")
    waiting = counts.get("waiting", 0)
    if waiting:
        return Part(name, "good", say_count(waiting, *_TO_SEARCH), "", link)
    if not counts["looked_at"]:
        return Part(name, "good", say("No image had to be searched for text."), "", "")
    return Part(name, "good", say_count(counts["looked_at"], *_SEARCHED), "", "")


_FAILED = ("{count} image could not be searched for text.", "{count} images could not be searched for text.")
_SEARCHED = ("{count} image was searched for text.", "{count} images were searched for text.")
_TO_SEARCH = ("{count} image is to be searched for text.", "{count} images are to be searched for text.")


def _quarantine(node: Node, held: Mapping[str, tuple[int, int]]) -> Part:
    name, link = named("Quarantine"), "/quarantine"
    others = {Reason.PIXELS_NOT_CHECKED.value, Reason.TEXT_IN_PIXELS.value}  # they are parts of their own
    count = sum(number for reason, (number, _) in held.items() if reason not in others)
    if Reason.PIXELS_NOT_CHECKED in held:
        count += pixels.left_aside(node)  # but these, which nobody looks at by themselves
    if not count:
        return Part(name, "good", say("Nothing waits in quarantine."), "", link)
    return Part(name, "warn", say_count(count, *_HELD), say("Try them again, or discard them."), link)


_HELD = ("{count} image waits in quarantine for a decision.", "{count} images wait in quarantine for a decision.")


def _reviews(node: Node) -> Part:
    name, link = named("Reviews"), "/review"
    count = sum(backlog.flagged for backlog in review.backlogs(node))
    if not count:
        return Part(name, "good", say("No image waits for a reader."), "", link)
    return Part(name, "warn", say_count(count, *_TO_READ), say("Look at them, and decide."), link)


_TO_READ = ("{count} image waits for a reader.", "{count} images wait for a reader.")


def _disk(node: Node, around: Around, grown: Growth) -> Part:
    name, link = named("Disk"), "/system#storage"
    try:
        total, _, free = around.disk(node.folder)
    except OSError:
        gone = say("The folder of the node cannot be looked at.")
        return Part(name, "bad", gone, say("Check that its disk is there, and the rights of the folder."), link)
    state, text = _room(total, free, grown.days_until(free))
    hint = say("Free some room, or move the node to a larger disk.") if state != "good" else ""
    return Part(name, state, text, hint, link)


def _room(total: int, free: int, days: int | None) -> tuple[State, str]:
    """How much room there is, and for how long: bytes, and days until it is full."""
    gigabytes = f"{free / 1e9:.1f}"
    if free < 2 * RESERVE:
        return "bad", say("The disk is full: {free} GB are free.", free=gigabytes)
    if days is not None and days <= FULL_WARN:
        text = say_count(days, "The disk is full in about {count} day.", "The disk is full in about {count} days.")
        return "bad" if days <= FULL_BAD else "warn", text
    if free < LITTLE * total:
        return "warn", say("Little of the disk is free: {free} GB.", free=gigabytes)
    if days is None:
        return "good", say("{free} GB of the disk are free.", free=gigabytes)
    if days > LONG:
        return "good", say(_YEARS, free=gigabytes, years=days // 365)
    return "good", say("{free} GB of the disk are free, enough for about {days} days.", free=gigabytes, days=days)


_YEARS = "{free} GB of the disk are free, enough for about {years} years."


def _keys(node: Node, around: Around) -> Part:
    name, link = named("Keys and certificates"), "/system#keys"
    lines = keylist.listed(node, around.certificates)
    wrong = [line for state in ORDER[:2] for line in lines if line.state == state]
    if wrong:
        return Part(name, wrong[0].state, *_ailing(wrong[0]), link)
    ends = min((line.days for line in lines if line.days is not None), default=None)
    if ends is None:
        return Part(name, "good", say_count(len(lines), *_ENDLESS), "", link)
    if ends > LONG:
        return Part(name, "good", say_count(len(lines), *_IN_YEARS, years=ends // 365), "", link)
    return Part(name, "good", say_count(len(lines), *_IN_DAYS, days=ends), "", link)


def _ailing(line: KeyLine) -> tuple[str, str]:
    """What is wrong with a key or certificate, and what to do."""
    hint = say("Put a new certificate in place, and start the node again.")
    if line.of_hub:
        hint = say("Ask the hub's operator for a new invitation, and join the hub again.")
    if line.days is None:
        return say("{what}: something is wrong with it.", what=line.what), line.note
    if line.days < 0:
        return say("{what}: it has ended.", what=line.what), hint
    if line.begins_later:
        return say("{what}: it is not valid yet.", what=line.what), say("Check this machine's clock; it may be slow.")
    return say_count(line.days, *_ENDING, what=line.what), hint


_ENDING = ("{what}: it ends in {count} day.", "{what}: it ends in {count} days.")
_ENDLESS = ("{count} key, which does not end.", "{count} keys, none of which ends.")
_IN_YEARS = (
    "{count} key or certificate; it ends in {years} years.",
    "{count} keys and certificates; the first of them ends in {years} years.",
)
_IN_DAYS = (
    "{count} key or certificate; it ends in {days} days.",
    "{count} keys and certificates; the first of them ends in {days} days.",
)
