"""What a data holder allows with a dataset at all, and whether a request or a decision keeps to it."""

from __future__ import annotations

import re
from datetime import date, timedelta

from carina.errors import BadInput, NotFound
from carina.hub import catalogue
from carina.hub.catalogue import Entry
from carina.hub.centre import Hub
from carina.model.clock import now
from carina.model.permit import LIVE, Action, end_day

_IRI = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
IMAGES: frozenset[Action] = frozenset({"view", "retrieve"})
"""Actions for which a browser or program goes to the node itself."""


def entry_of(hub: Hub, iri: object) -> Entry:
    """A dataset of the catalogue, or `NotFound`."""
    if not isinstance(iri, str) or not _IRI.fullmatch(iri):
        raise NotFound("The catalogue has no such dataset.", "It may have been withdrawn; see the catalogue's list.")
    return catalogue.get_dataset(hub, iri)


def offered(entry: Entry) -> tuple[Action, ...]:
    """The actions that a permit for the dataset can be for. A node without a public address shows no images."""
    reachable = entry.public_url is not None
    return tuple(action for action in entry.dataset.terms.actions if reachable or action not in IMAGES)


def latest_day(entry: Entry) -> date:
    """The last day that a permit of today can have, UTC."""
    return today() + timedelta(days=entry.dataset.terms.longest_days)


def today() -> date:
    """The present day, UTC."""
    return now().date()


def last_day(text: object) -> date:
    """The end date of a request or permit: a day that is not over. Raises `BadInput`."""
    if not isinstance(text, str) or not text.strip():
        raise BadInput("A request needs an end date.", "Give its last day, as 2027-03-01.")
    day = end_day(text)
    if day < today():
        raise BadInput("The end date is in the past.", "Give today or a later day.")
    return day


def require_actions(entry: Entry, actions: tuple[Action, ...]) -> None:
    """Raise `BadInput`, which names the dataset, for actions beyond what its data holder allows."""
    title, can = entry.dataset.title, offered(entry)
    if entry.public_url is None and IMAGES & set(actions):
        raise BadInput(
            f"The node of “{title}” offers no images from outside; only “analyse” can be granted there.",
            "Leave “view” and “retrieve” out for this dataset.",
        )
    if beyond := [action for action in actions if action not in can]:
        raise BadInput(
            f"The data holder of “{title}” does not allow {_quoted(beyond)}.",
            f"It allows {_quoted(can)}." if can else "It allows nothing at present.",
        )


def require_day(entry: Entry, day: date) -> None:
    """Raise `BadInput`, which names the dataset, for a last day beyond what its data holder allows."""
    if day > latest_day(entry):
        raise BadInput(
            f"The end date is beyond what “{entry.dataset.title}” allows: at most "
            f"{entry.dataset.terms.longest_days} days from today.",
            f"Choose {latest_day(entry).isoformat()} or earlier.",
        )


def version_of(entry: Entry, text: object) -> str:
    """`live` or the number of one of the dataset's versions, or `BadInput`."""
    numbers = [str(number) for number in entry.dataset.terms.versions]
    if text == LIVE or (isinstance(text, str) and text in numbers):
        return str(text)
    raise BadInput(f"“{entry.dataset.title}” has no such version.", f"Choose among {', '.join([LIVE, *numbers])}.")


def _quoted(actions: list[Action] | tuple[Action, ...]) -> str:
    return ", ".join(f"“{action}”" for action in actions)
