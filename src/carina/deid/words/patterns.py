"""Forms that identify whatever they say: addresses of mail and net, telephone and other long numbers, dates, high ages.

Times of day are no such form: they say nothing without their day.
"""

from __future__ import annotations

import re
from collections.abc import Callable

CUT = "\0"
"""Stands in a text where one of these forms was."""

_MONTHS = """
january february march april may june july august september october november december
januar jänner februar feber märz maerz mai juni juli oktober dezember
enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre
janvier février mars avril juin juillet août septembre octobre novembre décembre fevrier aout decembre
gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre
januari februari maart mei augustus
styczeń stycznia luty lutego marzec marca kwiecień kwietnia maja czerwiec czerwca lipiec lipca sierpień sierpnia
wrzesień września październik października listopad listopada grudzień grudnia styczen kwiecien wrzesnia pazdziernika
janeiro fevereiro março marco maio junho julho setembro outubro novembro dezembro
"""
_SHORT_MONTHS = """
jan feb mar apr jun jul aug sep sept oct nov dec mär mrz okt dez ene abr ago dic janv févr fevr avr juil déc gen mag giu
lug set ott mrt sty lut kwi cze lip sie wrz paź paz lis gru fev out
"""
_MONTH = "(?:" + "|".join(sorted(_MONTHS.split(), key=len, reverse=True)) + ")"
_ANY_MONTH = "(?:" + "|".join(sorted((*_MONTHS.split(), *_SHORT_MONTHS.split()), key=len, reverse=True)) + ")"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|er|º|°|\.)?"
_YEAR = r"(?:(?:1[89]|20|21)\d\d|'\d\d)"
_GAP = r"[\s.,/_-]{0,3}(?:of |de |del |di |den )?"
_DATES = (
    rf"(?<![^\W_]){_DAY}{_GAP}{_ANY_MONTH}{_GAP}(?:{_YEAR}|\d\d)(?!\d)",
    rf"(?<![^\W_]){_ANY_MONTH}{_GAP}{_DAY},?{_GAP}{_YEAR}(?!\d)",
    rf"(?<![^\W_])(?:{_YEAR}|\d\d){_GAP}{_ANY_MONTH}{_GAP}{_DAY}(?!\d)",
    rf"(?<![^\W_])(?:{_DAY}{_GAP})?{_MONTH}(?:{_GAP}(?:{_DAY},?(?!\d)|{_YEAR}(?!\d)))?(?![^\W_])(?<!may)(?<!mars)(?<!mei)",
    rf"(?<![^\W_]){_ANY_MONTH}{_GAP}{_YEAR}(?!\d)",
    r"(?<![\d.,])(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)?[ -]?"
    r"(?:jan|feb|mär|mrz|apr|jun|jul|aug|sept?|okt|oct|nov|dez|dec)(?![^\W_])",
    r"(?<![^\W_])(?:dob|d\.o\.b\.|born|birth\s?(?:date|day)|geb(?:oren)?|n[ée]e?|nat[oa]|ur)[.:]*\s*(?:on|am|in|le|il)?\s*"
    r"[\d./-]*\d",
    r"(?<![\d.,])\d{1,2}\.\s?\d{1,2}\.(?!\d)",
)
_NUMERIC_DATE = re.compile(r"(?<![\d.])(\d{1,4})\s?[./_\-–:\\]\s?(\d{1,2})\s?[./_\-–:\\]\s?(\d{1,4})(?![\d])", re.ASCII)
_AGE = (
    r"(?<![\d.,])(?:9\d|1[0-3]\d)[\s-]?(?:y(?:o|/o|rs?|ears?)?|jahre?n?|j(?:ä|ae)hrig\w*|j|ans?|a[nñ]os?|anni|jaar|lat)"
    r"(?![^\W_])|(?<![^\W_])0(?:9\d|1[0-3]\d)y(?![^\W_])|(?<![^\W_])1[0-3]\dy(?![^\W_])|(?<![\w.,])9\d\s?[fmw](?![^\W_])"
    r"|(?<![^\W_])(?:aged?|alter|edad|et[àa]|[âa]ge|wiek|idade|leeftijd)\W{0,3}(?:of |de |von )?"
    r"(?:9\d|1[0-3]\d)(?![\d.,]\d|\d)"
)
_NETS = (
    r"[^\s<>;,()@]{1,64}@[^\s<>;,()]+",
    r"[a-z][a-z0-9+.-]{1,15}://\S+",
    r"(?<![^\W_])www\.\S+",
    r"\\\\\S+",
    r"(?<![\w.-])[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.(?:com|org|net|edu|gov|info|local|example|de|uk|fr|es|it|nl|pl|pt|ch|at|be|eu|us)"
    r"(?::\d+)?(?:/\S*)?(?![\w.])",
    r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{2,3}(?![\d.])",
    r"(?<![\d.])\d+(?:\.\d+){4,}",
    r"(?<![^\W_])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![^\W_])",
    r"(?<![^\W_])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}(?![^\W_])|(?<![^\W_])(?:[0-9a-f]{1,4}:){1,6}:[0-9a-f:]{1,30}",
    r"(?<![^\W_])[a-z]{2}\d\d(?:[ -]?[a-z0-9]{4}){3,7}(?:[ -]?[a-z0-9]{1,3})?(?![^\W_])",
)
_ALWAYS = re.compile("|".join((*_NETS, *_DATES, _AGE)), re.IGNORECASE)
_NUMBERS = re.compile(r"[+(]{0,2}\d+(?:[ \u00a0./()\-–_]{1,2}\d+)+", re.ASCII)
_GROUP = re.compile(r"\d+", re.ASCII)
_DECIMAL = re.compile(r"\d{1,3}[.,]\d{1,4}", re.ASCII)
_FEWEST_DIGITS = 7  # of a telephone number
_ROUND = 50  # b values and doses are multiples of it


def without_forms(text: str) -> str:
    """The text with each of the forms replaced by `CUT`."""
    if not any(map(_may_start, text)):
        return _ALWAYS.sub(CUT, text) if len(text) > _FEWEST_LETTERS else text
    text = _ALWAYS.sub(CUT, text)
    text = _NUMERIC_DATE.sub(_cut_if(_is_day), text)
    return _NUMBERS.sub(_cut_if(_is_long), text)


_FEWEST_LETTERS = 2
_may_start: Callable[[str], bool] = frozenset("0123456789@").__contains__


def _cut_if(holds: Callable[[re.Match[str]], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: CUT if holds(match) else match[0]


def _is_day(match: re.Match[str]) -> bool:
    """Whether three numbers are a day, a month and a year in some order."""
    first, second, third = match.groups()
    year = next((part for part in (first, third) if len(part) == len("2019")), None)
    if len(first) == len("123") or len(third) == len("123"):
        return False
    rest = [int(part) for part in (first, second, third) if part is not year]
    if year is not None:
        return 1700 <= int(year) <= 2199 and all(1 <= part <= 31 for part in rest)
    return len(first) + len(third) > len("12") and any(
        1 <= day <= 31 and 1 <= month <= 12
        for day, month in ((rest[0], rest[1]), (rest[1], rest[0]), (rest[2], rest[1]))
    )


def _is_long(match: re.Match[str]) -> bool:
    """Whether groups of digits may be a telephone number or an identifier, not a list of decimals or b values."""
    if sum(map(len, _GROUP.findall(match[0]))) < _FEWEST_DIGITS:
        return False
    return not all(
        _DECIMAL.fullmatch(part) or (part.isdecimal() and len(part) <= len("7000") and int(part) % _ROUND == 0)
        for part in match[0].split()
    )
