"""The words of the pages: labels of values, names of countries, states, numbers and times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from babel.dates import format_date
from babel.lists import format_list

from carina.interfaces.language import gettext as _
from carina.interfaces.language import locale, mark, ngettext
from carina.model.clock import now, parse_stamp
from carina.model.cohort import All, Between, OneOf, Query
from carina.model.permit import LIVE
from carina.model.search import NodeAnswer
from carina.model.variables import BY_NAME

# (word, colour of the tag) of what a search can bring.
ANSWER_STATES = {
    "counted": (mark("Answered"), "good"),
    "below-threshold": (mark("Below the threshold"), "info"),
    "unknown-terms": (mark("Does not know all terms"), "warn"),
    "refused": (mark("Refused"), "bad"),
    "silent": (mark("Silent"), "warn"),
}
SOURCE_KINDS = {"aet": mark("AE title"), "token": mark("Token"), "folder": mark("Folder")}
DATASET_STATES = {
    "draft": (mark("Draft"), ""),
    "published": (mark("Published"), "good"),
    "withdrawn": (mark("Withdrawn"), "warn"),
}
ACTION_LABELS = {
    "view": mark("Look at images"),
    "retrieve": mark("Fetch images"),
    "analyse": mark("Run analyses"),
}
_ACTIONS_WITHIN = {  # a sentence
    "view": mark("look at images"),
    "retrieve": mark("fetch images"),
    "analyse": mark("run analyses"),
}
ACTION_NOTES = {
    "view": mark("In the browser, on pages of the node that holds them."),
    "retrieve": mark("As DICOM objects, for programs and viewers."),
    "analyse": mark("Computed by the node; only sums over enough patients leave it."),
}
ITEM_STATES = {
    "waiting": (mark("Waiting"), "info"),
    "asked": (mark("Waits for an answer"), "warn"),
    "granted": (mark("Granted"), "good"),
    "refused": (mark("Refused"), "bad"),
    "withdrawn": (mark("Withdrawn"), ""),
}
PERMIT_CONDITIONS: dict[str, tuple[str, str]] = {
    "in force": (mark("In force"), "good"),
    "waits for the node": (mark("Waits for the node"), "info"),
    "refused by the node": (mark("Refused by the node"), "bad"),
    "ended": (mark("Ended"), "bad"),
    "expired": (mark("Expired"), ""),
}
ROLES = {
    "researcher": mark("researcher"),
    "operator": mark("operator"),
    "data-manager": mark("data manager"),
}
STEPS = {  # of a request's history
    "submitted": mark("asked for access"),
    "asked": mark("asked a question"),
    "answered": mark("answered"),
    "granted": mark("granted access"),
    "refused": mark("refused"),
    "withdrawn": mark("withdrew the request"),
    "revoked": mark("ended the permit"),
}
JOB_STATES = {
    "waiting": (mark("Not fetched yet"), ""),
    "taken": (mark("About to begin"), "info"),
    "running": (mark("Running"), "info"),
    "done": (mark("Done"), "good"),
    "refused": (mark("Refused"), "bad"),
    "failed": (mark("Failed"), "bad"),
    "cancelled": (mark("Cancelled"), "warn"),
}
# Why a job has no result: `model.permit.Denial`, `model.job.Failure`, and what a hub says itself.
JOB_REASONS = {
    "not-signed-in": mark("The node does not know who asks."),
    "no-permit": mark("The node has no permit for this person and dataset."),
    "forged": mark("The permit's signature does not hold."),
    "wrong-issuer": mark("The permit was made by another hub."),
    "misaddressed": mark("The permit is for another node."),
    "foreign-subject": mark("The permit is another person's."),
    "not-yet": mark("The permit begins later."),
    "expired": mark("Its time was over."),
    "revoked": mark("The permit was ended."),
    "status-unknown": mark("The node had no recent list of permits from this hub."),
    "not-countersigned": mark("The node's data manager has not signed the permit."),
    "declined": mark("The node's data manager has declined the permit."),
    "action-not-granted": mark("The permit does not cover analyses."),
    "action-not-allowed": mark("The node allows no analyses of this dataset."),
    "dataset-not-published": mark("The node no longer publishes the dataset."),
    "version-unknown": mark("The node does not have the permit's snapshot."),
    "not-a-member": mark("Something asked for is not in the dataset."),
    "used-code": mark("The one-time code had been used."),
    "crashed": mark("The analysis broke off at the node; its log says more."),
    "out-of-memory": mark("The analysis needed more memory than the node gives."),
    "out-of-time": mark("The analysis took longer than the node allows."),
    "unknown-analysis": mark("The node does not have this analysis."),
    "interrupted": mark("The node stopped while the analysis ran."),
    "unusable-result": mark("The node's result could not be used."),
    "cancelled": mark("It was cancelled."),
    "stopped-by-node": mark("The node's data manager has stopped it."),
}
HEAPS = {  # `model.instance.Reason` as headings
    "not-dicom": mark("Not DICOM"),
    "damaged": mark("Damaged"),
    "unknown-transfer-syntax": mark("Unknown transfer syntax"),
    "missing-identity": mark("Missing identity"),
    "unmapped-source": mark("Unmapped source"),
    "pixels-not-checked": mark("Pixels not checked"),
    "content-not-checked": mark("Content not checked"),
    "text-in-pixels": mark("Text in pixels"),
    "identifiers-left": mark("Identifiers left"),
    "not-pseudonymised": mark("Not pseudonymised"),
    "conflict": mark("Conflict"),
    "too-large": mark("Too large"),
    "failed": mark("Failed"),
}
GROUP_ORDER = ("sex", "age", "modality", "body_part", "manufacturer", "diagnosis")


def country(code: str) -> str:
    """`Spain` for `ES` (ISO 3166-1 alpha-2)."""
    return str(locale().territories.get(code, code))


def variable_label(name: str) -> str:
    """What people call a variable; its own name if it is none of ours."""
    return _(BY_NAME[name].label) if name in BY_NAME else name


def value_label(variable: str, value: str) -> str:
    """What people call a value of a variable: `Bronchus and lung (C34)`. The value itself if it has no label."""
    values = dict(BY_NAME[variable].values) if variable in BY_NAME else {}
    label = values.get(value)
    if label is None:
        if not value:
            return _("Not stated")
        return _band(value) if variable == "age" else value
    return f"{_(label)} ({value})" if variable in ("diagnosis", "modality") else _(label)


def _band(value: str) -> str:
    """`0–9` for `00-09`."""
    return "–".join(part.removeprefix("0") or "0" for part in value.split("-"))


def number(value: int) -> str:
    """Thousands apart: 12 345, with a narrow space that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def at_least(value: int | None, threshold: int) -> str:
    """The number, or `fewer than 10` where it is hidden."""
    return _("fewer than {threshold}").format(threshold=threshold) if value is None else number(value)


def plural(value: int, one: str, many: str = "") -> str:
    """`1 node`, `3 nodes`: a number of things that stands by itself. Within a sentence, `ngettext` the sentence."""
    return f"{number(value)} {ngettext(one, many or one + 's', value)}"


def fixed(value: float, places: int) -> str:
    """A number with so many decimals."""
    return _marked(f"{value:.{places}f}")


def _marked(text: str) -> str:
    """A number with the language's decimal sign."""
    return text.replace(".", str(locale().number_symbols["latn"]["decimal"]))


def together(texts: Iterable[str]) -> str:
    """`a, b and c`."""
    return format_list(list(texts), locale=locale())


def either(texts: Iterable[str]) -> str:
    """`a, b or c`."""
    return format_list(list(texts), style="or", locale=locale())


def size(value: int) -> str:
    """Bytes as people read them, in powers of 1,000."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{fixed(amount, 0 if unit == 'B' or amount >= 100 else 1)} {unit}"
        amount /= 1000
    return f"{fixed(amount, 1)} TB"


def reason_label(reason: str) -> str:
    """A reason for quarantine as a heading: `Not DICOM`."""
    return _(HEAPS.get(reason, reason))


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
    return f"{day(moment.date())}, {moment:%H:%M} UTC"


def ago(stamp: str) -> str:
    """How long since: `just now`, `12 minutes ago`, `3 days ago`."""
    count, unit = _passed(stamp)
    if unit == "day":
        return _counted(count, "{n} day ago", "{n} days ago")
    if unit == "hour":
        return _counted(count, "{n} hour ago", "{n} hours ago")
    return _counted(count, "{n} minute ago", "{n} minutes ago") if unit else _("just now")


def lasting(stamp: str) -> str:
    """How long a state has lasted: `for 2 hours`, `since just now`."""
    count, unit = _passed(stamp)
    if unit == "day":
        return _counted(count, "for {n} day", "for {n} days")
    if unit == "hour":
        return _counted(count, "for {n} hour", "for {n} hours")
    return _counted(count, "for {n} minute", "for {n} minutes") if unit else _("since just now")


def _passed(stamp: str) -> tuple[int, str]:
    """How long since, in the largest unit of which there is one; no unit: less than a minute."""
    passed = now() - parse_stamp(stamp)
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if passed >= length:
            return passed // length, unit
    return 0, ""


def _counted(count: int, one: str, many: str) -> str:
    return ngettext(one, many, count).format(n=number(count))


def day(text: str | date) -> str:
    """`1 March 2027`, of a date or of `2027-03-01`; a text that is none stays as it is."""
    try:
        found = date.fromisoformat(text) if isinstance(text, str) else text
    except ValueError:
        return str(text)
    return format_date(found, "long", locale())


def remaining(expires: str | datetime) -> str:
    """What is left of a permit, from the instant it ends: `28 more days`, `ends today`."""
    end = parse_stamp(expires) if isinstance(expires, str) else expires
    days = (end - timedelta(seconds=1)).date() - now().date()
    if days.days < 0:
        return _("over")
    return _("ends today") if days.days == 0 else _counted(days.days, "{n} more day", "{n} more days")


def duration(days: int) -> str:
    """A longest time in days, and in years where that is even: `365 days (1 year)`."""
    years = f" ({plural(days // 365, 'year')})" if days % 365 == 0 else ""
    return f"{plural(days, 'day')}{years}"


def action_words(actions: Iterable[str], within: bool = False) -> str:
    """`Look at images, run analyses`; `within` a sentence, `look at images, run analyses`."""
    said = ", ".join(_(_ACTIONS_WITHIN[action]) for action in _ACTIONS_WITHIN if action in set(actions))
    return said if within else said[:1].upper() + said[1:]


def use_words(action: str, count: int) -> str:
    """How often a permit was used, as its hub counts: `looked at 3 times`."""
    match action:
        case "view":
            return _counted(count, "looked at {n} time", "looked at {n} times")
        case "retrieve":
            return _counted(count, "fetched {n} time", "fetched {n} times")
        case _:
            return _counted(count, "analysed {n} time", "analysed {n} times")


def given_words(action: str, count: int) -> str:
    """What was given under a permit, as its node counts: `3 pictures`."""
    match action:
        case "view":
            return plural(count, "picture")
        case "retrieve":
            return plural(count, "object")
        case _:
            return plural(count, "job")


def version_label(version: str) -> str:
    """What a permit or a result is of: the dataset as it is at the time, or `Snapshot 3`."""
    if version == LIVE:
        return _("Live: what it holds at the time")
    return _("Snapshot {number}").format(number=version)


def item_word(state: str, condition: str | None) -> tuple[str, str]:
    """A request's item in a word and its colour; once it is granted, as its permit stands."""
    if state != "granted" or condition in (None, "in force"):
        word, colour = ITEM_STATES[state]
        return _(word), colour
    if condition == "waits for the node":
        return _("Granted, not yet in force"), "info"
    word, colour = PERMIT_CONDITIONS[condition]
    return _(word), colour


def job_reason(reason: str) -> str:
    """The sentence for a constant word; nothing for no word."""
    return _(JOB_REASONS.get(reason, reason.replace("-", " ").capitalize() + "." if reason else ""))


def decimal(value: float, beside: float = 0.0) -> str:
    """A measured value with four significant digits: `18.35`, `0.004213`, `1 234`.

    beside  another value; of the two, the larger has four digits, and both as many decimals
    """
    largest = max(abs(value), abs(beside))
    if largest == 0 or not math.isfinite(largest):
        return _marked(f"{value:g}")
    digits = 3 - math.floor(math.log10(largest))
    text = f"{round(value, digits):_.{max(digits, 0)}f}" if -6 <= digits <= 9 else f"{value:.3e}"
    return _marked(text).replace("_", "\u202f").replace("-", "\u2212")


def terms_of(query: Query) -> list[str]:
    """Each term of an address's query in words, for the line above the results."""
    parts = query.parts if isinstance(query, All) else (query,)
    return [_term(part) for part in parts]


def _term(part: Query) -> str:
    match part:
        case OneOf(name, values):
            return f"{variable_label(name)}: {either(value_label(name, value) for value in values)}"
        case Between(name, low, high):
            return f"{variable_label(name)}: {_range(low, high, _unit(name))}"
        case _:
            return _("Combined terms")


def _range(low: int | None, high: int | None, unit: str) -> str:
    if low is None:
        return _("any") if high is None else _("up to {high}").format(high=f"{high}{unit}")
    if high is None:
        return _("{low} and over").format(low=f"{low}{unit}")
    return f"{low}{unit}" if low == high else _("{low} to {high}").format(low=low, high=f"{high}{unit}")


def _unit(name: str) -> str:
    return f" {_(BY_NAME[name].unit)}" if name in BY_NAME and BY_NAME[name].unit else ""


def answer_note(answer: NodeAnswer) -> str:
    """What a row says beside its state: which terms are unknown, why it refused."""
    if answer.state == "unknown-terms":
        return _("Not known there: {terms}. Nothing was counted.").format(terms=", ".join(answer.unknown))
    if answer.state == "below-threshold" and answer.counts is not None:
        return _("Fewer than {n} patients match, or none.").format(n=answer.counts.threshold)
    if answer.state == "silent":
        return _("No answer in time.")
    return _(answer.reason.replace("-", " ").capitalize()) if answer.state == "refused" and answer.reason else ""
