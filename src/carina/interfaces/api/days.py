"""Days in addresses, and other filters by which documents and pages are asked for some of what there is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from carina.errors import BadInput


def require_days(given: Mapping[str, str], names: Collection[str] = ("since", "until")) -> None:
    """Raise `BadInput` unless each of these that is given is a day of the calendar, as 2026-03-31."""
    for name in names:
        text = given.get(name, "")
        try:
            is_day = not text or date.fromisoformat(text).isoformat() == text
        except ValueError:
            is_day = False
        if not is_day:
            raise BadInput("This is no day.", "Write it as 2026-03-31.")


def filters(given: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """What is given of these, without blanks around it; `BadInput` for another filter or a day that is none."""
    if set(given) - set(names):
        raise BadInput("A filter is not known here.", f"There are: {', '.join(names)}.")
    require_days(given)
    return {name: value.strip()[:200] for name, value in given.items()}
