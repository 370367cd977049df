"""Clean Descriptors (PS3.15 E.3.4): what may stay of a text that a person typed.

A word stays when the vocabulary has it and it is none of this study's identifiers; a number when it is short, a measure
or a technical designation. All else goes, with its punctuation. What stays keeps its layout: `AX LUNG 1.25mm` is left
as it is, and `HODGKIN LYMPHOMA STAGING BRZEZICKA 4711998` becomes `HODGKIN LYMPHOMA STAGING`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from carina.deid.words.patterns import CUT, without_forms
from carina.deid.words.texts import ALSO_ORDINARY, spellings
from carina.deid.words.vocabulary import Kind, kind_of

_LONGEST_KEPT = 2048  # characters of a text that is worth remembering
_ROUNDS = 6
_PART = r"(?:\d+(?:[.,]\d+)+|[^\W_]|(?<=[^\W\d_])['’´`](?=[^\W\d_])|[\x80-\x9f\xad\u0300-\u036f])"
_TOKEN = re.compile(rf"{CUT}|w/o(?![^\W_])|{_PART}+", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f\ufffd\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_STRANGE = re.compile(r"[^ -~\s°µ±×·–—‰≤≥²³½¼¾«»„“”‘’]")
_RUN = re.compile(r"[A-Z]+|\d+(?:[.,]\d+)*", re.ASCII)
_DESIGNATION = re.compile(r"(?:[A-Z]+|\d+(?:[.,]\d+)*)+", re.ASCII)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_SPELT = str.maketrans({"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})


@dataclass
class _Token:
    """One word or number of a text: where it is, its capitals without accents, and whether it stays.

    word    "" for a cut, and for a word in letters that are not Latin
    told    a reason to drop its neighbours: it looks like a name or an identifier
    """

    start: int
    end: int
    shown: str
    word: str
    kind: Kind | None
    stays: bool
    told: bool


def cleaned(text: str, own: frozenset[str]) -> str:
    """What may stay of a text; "" when that is nothing. `own`: words that identify, see `identifiers.own_of`.

    Pure, and repeating it changes nothing.
    """
    return _remembered(text, own) if len(text) <= _LONGEST_KEPT else _settled(text, own)


@lru_cache(maxsize=8192)
def _remembered(text: str, own: frozenset[str]) -> str:
    return _settled(text, own)


def _settled(text: str, own: frozenset[str]) -> str:
    """Cleaned until nothing changes: what is left may stand beside a new neighbour."""
    for _ in range(_ROUNDS):
        before, text = text, _once(text, own)
        if text == before:
            return text
    return ""


def unknown_words(text: str) -> frozenset[str]:
    """The words of a text, as capitals, that would not stay in any header: names, places, all that no list knows."""
    tokens, _ = _judged(text, frozenset())
    return frozenset(token.word.removesuffix("'S") for token in tokens if token.told and token.word)


def _once(text: str, own: frozenset[str]) -> str:
    tokens, marked = _judged(text, own)
    if not any(token.stays and _says_something(token) for token in tokens):
        return _bare_numbers(tokens, marked)
    return _written(tokens, marked)


def _judged(text: str, own: frozenset[str]) -> tuple[list[_Token], str]:
    """The words of a text, each with its fate, and the text that their places are in."""
    text = unicodedata.normalize("NFC", _CONTROLS.sub(" ", text.strip(" \0").replace("\0", " ")))
    marked = without_forms(text)
    lower = not any(map(str.isupper, marked))
    tokens = [_token(match, own) for match in _TOKEN.finditer(marked)]
    _drop_own(tokens, own)
    _drop_spelt(tokens)
    _drop_after_titles(tokens, marked, lower)
    _drop_neighbours(tokens, lower)
    return tokens, marked


# --- one word -------------------------------------------------------------------------------------------------------


def _token(match: re.Match[str], own: frozenset[str]) -> _Token:
    shown = match[0]
    if shown == CUT:
        return _Token(match.start(), match.end(), shown, "", None, False, True)
    word = folded(shown)
    kind = kind_of(word) if word else None
    if kind is None and "'" in word:
        kind = _kind_of_joined(word)
    stays = kind is not None or _is_number(word) or _is_designation(word) or _is_compound(shown)
    if own and _is_own(shown, word, own):
        return _Token(match.start(), match.end(), shown, word, None, False, True)
    return _Token(match.start(), match.end(), shown, word, kind, stays, not stays)


@lru_cache(maxsize=16384)
def folded(shown: str) -> str:
    """In capitals without accents; "" where a letter is not Latin."""
    if shown.isascii():
        return shown.upper()
    if shown in "µμ":
        return "U"
    text = shown.lower().translate(_SPELT).replace("µ", "u").replace("’", "'").replace("´", "'")
    text = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    return text.upper() if text.isascii() else ""


def _kind_of_joined(word: str) -> Kind | None:
    """Hodgkin's, l'abdomen, dell'aorta: both sides of the apostrophe."""
    before, _, after = word.rpartition("'")
    if after == "S":
        return kind_of(before)
    if len(before) <= len("DELL") and kind_of(after) is not None:
        return kind_of(after) if before in _ELIDED else None
    return None


_ELIDED = frozenset(("L", "D", "DELL", "ALL", "DALL", "NELL", "SULL", "UN", "N", "QU", "S"))


def _is_number(word: str) -> bool:
    """Up to three digits, a decimal, or four digits that are a multiple of fifty and no year."""
    if not word or not word[0].isdecimal() or not word.replace(".", "").replace(",", "").isdecimal():
        return False
    if word.isdecimal():
        return len(word) < len("1000") or (len(word) == len("1000") and _is_round(word))
    parts = re.split("[.,]", word)
    if len(parts) > 2 and "." not in word:  # 0,50,400,800: b values
        return all(
            (len(part) <= len("1000") and int(part) % 50 == 0 and part[:1] != "0") or part == "0" for part in parts
        )
    return len(parts) == 2 and len(parts[0]) <= 4 and len(parts[1]) <= 4 and sum(map(len, parts)) <= 6


def _is_round(digits: str) -> bool:
    """A multiple of fifty that is no year, or the side of a matrix."""
    return digits in ("1024", "1536", "2048", "4096") or (int(digits) % 50 == 0 and not 1850 <= int(digits) <= 2100)


def _is_designation(word: str) -> bool:
    """T2, 1.25mm, b1000, L5S1, PTV7000, 512x512: short runs of letters or listed words, and few digits."""
    if not any(map(str.isdecimal, word)) or _DESIGNATION.fullmatch(word) is None:
        return False
    digits = 0
    for run in _RUN.findall(word):
        if run.isalpha():
            if len(run) > 2 and kind_of(run) is not Kind.PLAIN:
                return False
        elif not _is_number(run):
            return False
        else:
            digits += len(run) - (len(run) == len("1000") or not run.isdecimal())
    return digits <= 3 or ("X" in word and set(word) <= set("0123456789.,XM") and len(word) <= len("1024X1024X512"))


def _is_compound(shown: str) -> bool:
    """SpinalCord, GTVprimary: each hump a listed word or a short number."""
    parts = _HUMP.split(shown)
    return len(parts) > 1 and all(kind_of(word) is Kind.PLAIN or _is_designation(word) for word in map(folded, parts))


def _is_own(shown: str, word: str, own: frozenset[str]) -> bool:
    """Whether a word, its letters without digits, or another spelling of it, is one of this study's identifiers."""
    bare = word.strip("0123456789.,'")
    if word in own or bare in own or word.replace("'", "") in own or bare.removesuffix("'S") in own:
        return True
    if word + ALSO_ORDINARY in own or bare.removesuffix("'S") + ALSO_ORDINARY in own:
        return True
    if word.isalpha() and shown.isascii():
        return False
    return any(part in own or part.strip("0123456789") in own for part in spellings(shown) if len(part) > 1) or any(
        run in own for run in _RUN.findall(word) if run.isalpha() and len(run) > 1
    )


# --- words together -------------------------------------------------------------------------------------------------

_WIDEST = 5  # words that may be parts of one identifier
_LISTED_TITLES = """
DR PROF PROFESSOR MRS MISS HERR HERRN FRAU FR HR MME MLLE MONSIEUR MADAME SENOR SENORA SR SRA SIG SIGRA DOTT DOTTSSA DHR
MEVR MW PAN PANI LEK DOC DOTTORE SIGNOR SIGNORA MR MS MX SIR LADY NURSE MTRA DRA DOKTOR DOCTOR DOKTER DOUTOR PT PAT NAME
NAMED
"""
_LISTED_GIVERS = """
BY PER FOR VON DURCH PAR POR DOOR PRZEZ DA DE VAN DI DEL OD FROM TO FUR POUR PARA VOOR DLA SIGNED READ READER REVIEWED
REVIEWER APPROVED REPORTED VERIFIED DICTATED CHECKED CONFIRMED REFERRER REFERRED OPERATOR TECH TECHNICIAN TECHNOLOGIST
RADIOGRAPHER SONOGRAPHER RADIOLOGIST PHYSICIAN SURGEON MTA MTRA OPERATEUR UNTERSUCHER BEFUNDER ZUWEISER UBERWEISER ARZT
"""
_TITLES = frozenset(_LISTED_TITLES.split())
_ALSO_TERMS = frozenset(("MR", "MS", "DR", "SR", "MRS", "PAT", "PT", "PAN", "FR", "HR", "MW"))
_GIVERS = frozenset(_LISTED_GIVERS.split())
_SIDES = frozenset("LR")
_INITIALS = 2


def _drop(token: _Token) -> None:
    token.stays, token.told = False, True


def _drop_own(tokens: list[_Token], own: frozenset[str]) -> None:
    """Neighbours that together are an identifier: GAR CIA, 1234 5678, Li-Wu."""
    if not own or len(tokens) < 2:
        return
    words = [token.word.replace(".", "").replace("'", "") for token in tokens]
    for first in range(len(words)):
        joined = words[first]
        for last in range(first + 1, min(first + _WIDEST, len(words))):
            joined += words[last]
            if joined in own:
                for token in tokens[first : last + 1]:
                    _drop(token)


def _drop_spelt(tokens: list[_Token]) -> None:
    """Three and more single letters in a row may spell a name."""
    run: list[_Token] = []
    for token in [*tokens, None]:
        if token is not None and len(token.word) == 1 and token.word.isalpha():
            run.append(token)
            continue
        if len(run) > _INITIALS:
            for letter in run:
                _drop(letter)
        run = []


def _is_capital(token: _Token, lower: bool) -> bool:
    return lower or token.shown[:1].isupper()


def _drop_after_titles(tokens: list[_Token], text: str, lower: bool) -> None:
    """What follows a title, as long as it may be a name; the title with it."""
    for place, token in enumerate(tokens[:-1]):
        if token.word not in _TITLES and token.word not in _GIVERS:
            continue
        after = tokens[place + 1]
        if token.word in _GIVERS:
            if after.kind is Kind.NAME and _is_capital(after, lower):
                _drop(after)
            continue
        sure = token.word not in _ALSO_TERMS or text[token.end : token.end + 1] == "." or token.shown.istitle()
        follows = 0
        for name in tokens[place + 1 : place + 4]:
            initial = len(name.word) == 1 and name.word.isalpha()
            doubtful = name.kind in (None, Kind.NAME) and not name.word[:1].isdecimal()
            if not _is_capital(name, lower) or not (doubtful or initial or (sure and follows == 0)):
                break
            _drop(name)
            follows += 1
        if follows or sure:
            _drop(token)


def _drop_neighbours(tokens: list[_Token], lower: bool) -> None:
    """Beside a word that went: names, initials, house numbers, and the of, per or Dr. before it."""
    changed = True
    while changed:
        changed = False
        for place, token in enumerate(tokens):
            if not token.stays:
                continue
            before = tokens[place - 1] if place else None
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            if _goes_with(token, before, after, lower):
                _drop(token)
                token.told = token.kind is not Kind.BINDING and not token.word[:1].isdecimal()
                changed = True


def _goes_with(token: _Token, before: _Token | None, after: _Token | None, lower: bool) -> bool:
    told_before, told_after = before is not None and before.told, after is not None and after.told
    if token.kind is Kind.BINDING:
        return after is not None and not after.stays
    if token.kind is Kind.NAME:
        return (told_before or told_after) and _is_capital(token, lower)
    if len(token.word) == 1 and token.word.isalpha():
        return (told_before or told_after) and token.word not in _SIDES
    if token.word.isdecimal():
        return told_before and (after is None or not after.stays)
    return False


# --- what is written ------------------------------------------------------------------------------------------------


def _says_something(token: _Token) -> bool:
    """Whether a word says something by itself: no number alone, no `of`, no word that may be a name."""
    return token.kind is Kind.PLAIN or (token.kind is None and not _is_number(token.word))


def _bare_numbers(tokens: list[_Token], text: str) -> str:
    """Numbers alone stay where there was nothing else."""
    return _written(tokens, text) if all(token.stays and token.kind is None for token in tokens) else ""


def _written(tokens: list[_Token], text: str) -> str:
    """The words that stay, with what was between them where nothing was dropped."""
    parts: list[str] = []
    end, whole = 0, True
    for token in tokens:
        if not token.stays:
            whole = False
            continue
        between = text[end : token.start]
        parts += [_STRANGE.sub(" ", between) if whole else _bridge(between) if parts else "", token.shown]
        end, whole = token.end, True
    if whole:
        parts.append(_STRANGE.sub(" ", text[end:]))
    return _balanced("".join(parts).strip())


def _bridge(between: str) -> str:
    """What stands between two words when one was dropped from between them."""
    if "\n" in between:
        return "\n"
    if any(map(str.isspace, between)):
        return " "
    return between[:1] if between[:1] in "_-/+." else " "


_CLOSING = {")": "(", "]": "[", "}": "{"}


def _balanced(text: str) -> str:
    """Without brackets that lost their other side."""
    if not any(sign in text for sign in "()[]{}"):
        return text
    opened: list[int] = []
    lone: set[int] = set()
    for place, sign in enumerate(text):
        if sign in "([{":
            opened.append(place)
        elif sign in _CLOSING:
            if opened and text[opened[-1]] == _CLOSING[sign]:
                opened.pop()
            else:
                lone.add(place)
    lone.update(opened)
    return "".join(sign for place, sign in enumerate(text) if place not in lone).strip() if lone else text
