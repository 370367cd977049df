"""The words of the pages: labels of values, names of countries, states, numbers and times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from carina.model.clock import now, parse_stamp
from carina.model.cohort import All, Between, OneOf, Query
from carina.model.permit import LIVE
from carina.model.search import NodeAnswer
from carina.model.variables import BY_NAME

# ISO 3166-1 alpha-2, English short names as people say them; others are shown by their two letters.
_COUNTRIES = (
    "AR Argentina|AT Austria|AU Australia|BE Belgium|BG Bulgaria|BR Brazil|CA Canada|CH Switzerland|CL Chile|CN China|"
    "CY Cyprus|CZ Czechia|DE Germany|DK Denmark|EE Estonia|EG Egypt|ES Spain|FI Finland|FR France|GB United Kingdom|"
    "GR Greece|HR Croatia|HU Hungary|IE Ireland|IL Israel|IN India|IS Iceland|IT Italy|JP Japan|KE Kenya|"
    "KR South Korea|LT Lithuania|LU Luxembourg|LV Latvia|MT Malta|MX Mexico|NL Netherlands|NO Norway|NZ New Zealand|"
    "PL Poland|PT Portugal|RO Romania|RS Serbia|SE Sweden|SG Singapore|SI Slovenia|SK Slovakia|TR Türkiye|"
    "UA Ukraine|US United States|ZA South Africa"
)
COUNTRIES = dict(entry.split(" ", 1) for entry in _COUNTRIES.split("|"))

# (word, colour of the tag) of what a search can bring.
ANSWER_STATES = {
    "counted": ("Answered", "good"),
    "below-threshold": ("Below the threshold", "info"),
    "unknown-terms": ("Does not know all terms", "warn"),
    "refused": ("Refused", "bad"),
    "silent": ("Silent", "warn"),
}
SOURCE_KINDS = {"aet": "AE title", "token": "Token", "folder": "Folder"}
DATASET_STATES = {"draft": ("Draft", ""), "published": ("Published", "good"), "withdrawn": ("Withdrawn", "warn")}
ACTION_LABELS = {"view": "Look at images", "retrieve": "Fetch images", "analyse": "Run analyses"}
ACTION_NOTES = {
    "view": "In the browser, on pages of the node that holds them.",
    "retrieve": "As DICOM objects, for programs and viewers.",
    "analyse": "Computed by the node; only sums over enough patients leave it.",
}
ITEM_STATES = {
    "waiting": ("Waiting", "info"),
    "asked": ("Waits for an answer", "warn"),
    "granted": ("Granted", "good"),
    "refused": ("Refused", "bad"),
    "withdrawn": ("Withdrawn", ""),
}
PERMIT_CONDITIONS: dict[str, tuple[str, str]] = {
    "in force": ("In force", "good"),
    "waits for the node": ("Waits for the node", "info"),
    "refused by the node": ("Refused by the node", "bad"),
    "ended": ("Ended", "bad"),
    "expired": ("Expired", ""),
}
STEPS = {  # of a request's history
    "submitted": "asked for access",
    "asked": "asked a question",
    "answered": "answered",
    "granted": "granted access",
    "refused": "refused",
    "withdrawn": "withdrew the request",
    "revoked": "ended the permit",
}
JOB_STATES = {
    "waiting": ("Not fetched yet", ""),
    "taken": ("About to begin", "info"),
    "running": ("Running", "info"),
    "done": ("Done", "good"),
    "refused": ("Refused", "bad"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", "warn"),
}
# Why a job has no result: `model.permit.Denial`, `model.job.Failure`, and what a hub says itself.
JOB_REASONS = {
    "not-signed-in": "The node does not know who asks.",
    "no-permit": "The node has no permit for this person and dataset.",
    "forged": "The permit's signature does not hold.",
    "wrong-issuer": "The permit was made by another hub.",
    "misaddressed": "The permit is for another node.",
    "foreign-subject": "The permit is another person's.",
    "not-yet": "The permit begins later.",
    "expired": "Its time was over.",
    "revoked": "The permit was ended.",
    "status-unknown": "The node had no recent list of permits from this hub.",
    "not-countersigned": "The node's data manager has not signed the permit.",
    "declined": "The node's data manager has declined the permit.",
    "action-not-granted": "The permit does not cover analyses.",
    "action-not-allowed": "The node allows no analyses of this dataset.",
    "dataset-not-published": "The node no longer publishes the dataset.",
    "version-unknown": "The node does not have the permit's snapshot.",
    "not-a-member": "Something asked for is not in the dataset.",
    "used-code": "The one-time code had been used.",
    "crashed": "The analysis broke off at the node; its log says more.",
    "out-of-memory": "The analysis needed more memory than the node gives.",
    "out-of-time": "The analysis took longer than the node allows.",
    "unknown-analysis": "The node does not have this analysis.",
    "interrupted": "The node stopped while the analysis ran.",
    "unusable-result": "The node's result could not be used.",
    "cancelled": "It was cancelled.",
}
GROUP_ORDER = ("sex", "age", "modality", "body_part", "manufacturer", "diagnosis")


def country(code: str) -> str:
    """`Spain` for `ES`."""
    return COUNTRIES.get(code, code)


def variable_label(name: str) -> str:
    """What people call a variable; its own name if it is none of ours."""
    return BY_NAME[name].label if name in BY_NAME else name


def value_label(variable: str, value: str) -> str:
    """What people call a value of a variable: `Bronchus and lung (C34)`. The value itself if it has no label."""
    values = dict(BY_NAME[variable].values) if variable in BY_NAME else {}
    label = values.get(value)
    if label is None:
        return {"": "Not stated"}.get(value, _band(value) if variable == "age" else value)
    return f"{label} ({value})" if variable in ("diagnosis", "modality") else label


def _band(value: str) -> str:
    """`0–9` for `00-09`."""
    return "–".join(part.removeprefix("0") or "0" for part in value.split("-"))


def number(value: int) -> str:
    """Thousands apart: 12 345, with a narrow space that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def at_least(value: int | None, threshold: int) -> str:
    """The number, or `fewer than 10` where it is hidden."""
    return f"fewer than {threshold}" if value is None else number(value)


def plural(value: int, one: str, many: str = "") -> str:
    """`1 node`, `3 nodes`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def size(value: int) -> str:
    """Bytes as people read them, in powers of 1,000."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def reason_label(reason: str) -> str:
    """A reason for quarantine as a heading: `Not DICOM`."""
    return reason.replace("-", " ").capitalize().replace("dicom", "DICOM")


def short(value: object) -> str:
    """A detail of the audit trail: digests by their first twelve characters."""
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def moment_of(stamp: str) -> str:
    """To the second, for records: `2026-01-02 03:04:05`."""
    return f"{parse_stamp(stamp):%Y-%m-%d %H:%M:%S}"


def instant(stamp: str) -> str:
    """`2 January 2026, 03:04 UTC`."""
    moment = parse_stamp(stamp)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def ago(stamp: str) -> str:
    """How long since: `just now`, `12 minutes ago`, `3 days ago`."""
    passed = now() - parse_stamp(stamp)
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if passed >= length:
            return f"{plural(passed // length, unit)} ago"
    return "just now"


def lasting(stamp: str) -> str:
    """How long a state has lasted: `for 2 hours`, `since just now`."""
    passed = ago(stamp)
    return "since just now" if passed == "just now" else f"for {passed.removesuffix(' ago')}"


def day(text: str | date) -> str:
    """`1 March 2027`, of a date or of `2027-03-01`; a text that is none stays as it is."""
    try:
        found = date.fromisoformat(text) if isinstance(text, str) else text
    except ValueError:
        return str(text)
    return f"{found.day} {found:%B %Y}"


def remaining(expires: str | datetime) -> str:
    """What is left of a permit, from the instant it ends: `28 more days`, `ends today`."""
    end = parse_stamp(expires) if isinstance(expires, str) else expires
    days = (end - timedelta(seconds=1)).date() - now().date()
    if days.days < 0:
        return "over"
    return "ends today" if days.days == 0 else plural(days.days, "more day")


def duration(days: int) -> str:
    """A longest time in days, and in years where that is even: `365 days (1 year)`."""
    years = f" ({plural(days // 365, 'year')})" if days % 365 == 0 else ""
    return f"{plural(days, 'day')}{years}"


def action_words(actions: Iterable[str]) -> str:
    """`Look at images, run analyses`."""
    labels = [ACTION_LABELS[action] for action in ACTION_LABELS if action in set(actions)]
    return ", ".join(label if index == 0 else label[0].lower() + label[1:] for index, label in enumerate(labels))


def version_label(version: str) -> str:
    """What a permit or a result is of: the dataset as it is at the time, or `Snapshot 3`."""
    return "Live: what it holds at the time" if version == LIVE else f"Snapshot {version}"


def item_word(state: str, condition: str | None) -> tuple[str, str]:
    """A request's item in a word and its colour; once it is granted, as its permit stands."""
    if state != "granted" or condition in (None, "in force"):
        return ITEM_STATES[state]
    return ("Granted, not yet in force", "info") if condition == "waits for the node" else PERMIT_CONDITIONS[condition]


def job_reason(reason: str) -> str:
    """The sentence for a constant word; nothing for no word."""
    return JOB_REASONS.get(reason, reason.replace("-", " ").capitalize() + "." if reason else "")


def decimal(value: float, beside: float = 0.0) -> str:
    """A measured value with four significant digits: `18.35`, `0.004213`, `1 234`.

    beside  another value; of the two, the larger has four digits, and both as many decimals
    """
    largest = max(abs(value), abs(beside))
    if largest == 0 or not math.isfinite(largest):
        return f"{value:g}"
    digits = 3 - math.floor(math.log10(largest))
    text = f"{round(value, digits):,.{max(digits, 0)}f}" if -6 <= digits <= 9 else f"{value:.3e}"
    return text.replace(",", "\u202f").replace("-", "\u2212")


def terms_of(query: Query) -> list[str]:
    """Each term of an address's query in words, for the line above the results."""
    parts = query.parts if isinstance(query, All) else (query,)
    return [_term(part) for part in parts]


def _term(part: Query) -> str:
    match part:
        case OneOf(name, values):
            return f"{variable_label(name)}: {' or '.join(value_label(name, value) for value in values)}"
        case Between(name, low, high):
            return f"{variable_label(name)}: {_range(low, high, _unit(name))}"
        case _:
            return "Combined terms"


def _range(low: int | None, high: int | None, unit: str) -> str:
    if low is None:
        return "any" if high is None else f"up to {high}{unit}"
    if high is None:
        return f"{low}{unit} and over"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _unit(name: str) -> str:
    return f" {BY_NAME[name].unit}" if name in BY_NAME and BY_NAME[name].unit else ""


def answer_note(answer: NodeAnswer) -> str:
    """What a row says beside its state: which terms are unknown, why it refused."""
    if answer.state == "unknown-terms":
        return f"Not known there: {', '.join(answer.unknown)}. Nothing was counted."
    if answer.state == "below-threshold" and answer.counts is not None:
        return f"Fewer than {answer.counts.threshold} patients match, or none."
    if answer.state == "silent":
        return "No answer in time."
    return answer.reason.replace("-", " ").capitalize() if answer.state == "refused" and answer.reason else ""
