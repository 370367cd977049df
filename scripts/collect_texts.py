"""Collect every text that pages show, and bring the catalogues of `src/carina/interfaces/locale` in step with them.

From templates: `{% trans %}`, `_("…")`, `ngettext`, `"…" | plural`. From Python of the interfaces: `_`, `gettext`,
`ngettext`, `mark` and `plural`. From the rooms below, which know no language: what errors say, and every other literal
that is a sentence; an f-string becomes a text with places, which `carina.interfaces.language.sentence` finds again in
what was said. From tables of the model: labels of variables, values, analyses and windows.

    python scripts/collect_texts.py            add new texts, drop those that are gone, keep translations
    python scripts/collect_texts.py --check    change nothing; fail unless each catalogue is in step and complete
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "src" / "carina"
LOCALE = CODE / "interfaces" / "locale"
TEMPLATES = CODE / "interfaces" / "web" / "templates"
SAID = "Said by a service."  # as in `carina.interfaces.language`

# Rooms whose sentences can reach a page, and those below them whose cannot.
ROOMS = ("errors.py", "node/", "hub/", "deid/", "dicom/", "storage/", "federation/", "model/", "interfaces/api/")
ROOMS_OF_PAGES = ("interfaces/web/", "interfaces/dicomweb/giving.py", "interfaces/dicomweb/rendered.py")
NOT_SHOWN = (
    "deid/clinical.py",  # of the command line
    "deid/evidence/",
    "deid/engine/files.py",
    "deid/keyfile.py",
    "deid/profile.py",
    "deid/rekey.py",
    "dicom/json.py",
    "dicom/query.py",
    "dicom/suv.py",
    "federation/invitation.py",
    "federation/keychange.py",
    "federation/wire.py",
    "hub/nodes.py",
    "hub/results.py",
    "hub/tell.py",
    "interfaces/api/access",  # JSON, which stays English
    "interfaces/api/documents.py",
    "interfaces/api/evidence.py",
    "interfaces/api/exports.py",
    "interfaces/api/requests.py",
    "interfaces/api/review.py",
    "node/aliases.py",
    "node/fetch.py",
    "node/membership.py",
    "node/merge.py",
    "node/reveal.py",
    "storage/backup.py",
    "storage/database.py",
    "storage/dump.py",
    "storage/migrations/",
    "storage/postgresql.py",
)

SINGULAR = ("_", "gettext", "mark")  # first argument
PLURAL = {"ngettext": 0, "plural": 1, "_counted": 1}  # the place of the singular; the plural follows it
LABELS = {  # constructors of tables: which arguments, by place or name, are texts
    "Variable": (1, "unit"),
    "Preset": (1,),
    "named": (0,),
    "Analysis": (1, 2, 3, "title", "about", "value"),
}

Texts: TypeAlias = tuple[str, ...]
"""One text, or singular and plural."""


WHOLE = ("interfaces/api/problems.py",)  # of the interfaces: each sentence, not only those of errors
LISTS = {"_SITES": 4}  # tables written as lines: how many characters of each come before its text


@dataclass(frozen=True)
class Found:
    """A text where it stands. `said`: by a service, so that it may have to be found within what was said."""

    texts: Texts
    place: str
    said: bool = False


@cache
def collect() -> list[Found]:
    """All texts, each as often as it stands somewhere."""
    found = [each for path in sorted(TEMPLATES.rglob("*.html")) for each in of_template(path)]
    for path in sorted(CODE.rglob("*.py")):
        name = path.relative_to(CODE).as_posix()
        tree = ast.parse(path.read_text(), str(path))
        if name.startswith("interfaces/"):
            found += of_interface(tree, _place(path))
        if name.startswith((*ROOMS, *ROOMS_OF_PAGES)) and not name.startswith(NOT_SHOWN):
            found += of_room(tree, _place(path), sentences=name in WHOLE or not name.startswith("interfaces/"))
    return [each for each in found if each.texts[0]]


def of_template(path: Path) -> Iterator[Found]:
    """What a template marks, also through its filters."""
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    source = path.read_text()
    for _, name, texts in environment.extract_translations(source):  # type: ignore[attr-defined]
        if texts is None:
            continue  # a constant, marked elsewhere
        given = (texts,) if isinstance(texts, str) else tuple(text for text in texts if isinstance(text, str))
        yield Found(given if "ngettext" in name else given[:1], _place(path))
    for used in environment.parse(source).find_all(nodes.Filter):
        words = [one.value for one in used.args if isinstance(one, nodes.Const)]
        if used.name == "plural" and words:
            yield Found((words[0], words[1] if len(words) > 1 else f"{words[0]}s"), _place(path))


def of_interface(tree: ast.AST, place: str) -> Iterator[Found]:
    """What Python of the interfaces marks."""
    for call in _calls(tree):
        name = _name(call.func)
        texts = [one.value if isinstance(one, ast.Constant) else None for one in call.args]
        if name in SINGULAR and texts and isinstance(texts[0], str):
            yield Found((texts[0],), place)
        elif name in PLURAL:
            words = [text for text in texts[PLURAL[name] :] if isinstance(text, str)]
            if words:
                yield Found((words[0], words[1] if len(words) > 1 else f"{words[0]}s"), place)


def of_room(tree: ast.Module, place: str, *, sentences: bool) -> Iterator[Found]:
    """What errors say, the texts of tables, and with `sentences` every other literal that is a sentence."""
    labels, raised = list(_labels(tree)), list(_raised(tree))
    yield from (Found((text,), place) for text in map(_text, labels) if text)
    yield from (Found((text,), place, said=True) for text in map(_text, raised) if _is_sentence(text))
    yield from (Found((text,), place) for text in _listed(tree))
    seen = {*_docstrings(tree), *labels, *raised}
    hints = set(_hints(tree))
    for each in _outermost(tree):
        text = _text(each) if each not in seen and (sentences or each in hints) else ""
        if _is_sentence(text):
            yield Found((text,), place, said=True)


def _labels(tree: ast.AST) -> Iterator[ast.expr]:
    """The texts of tables: of the constructors in `LABELS`, and the second of each pair of their `values`."""
    for call in _calls(tree):
        chosen = LABELS.get(_name(call.func), ())
        yield from (one for at, one in enumerate(call.args) if at in chosen)
        yield from (one.value for one in call.keywords if one.arg in chosen)
        for values in (one.value for one in call.keywords if one.arg == "values" and chosen):
            yield from (one.elts[1] for one in ast.walk(values) if isinstance(one, ast.Tuple) and _pair(one))


def _listed(tree: ast.AST) -> Iterator[str]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Assign) and _name(one.targets[0]) in LISTS and isinstance(one.value, ast.Constant):
            before = LISTS[_name(one.targets[0])]
            yield from (line[before:] for line in str(one.value.value).strip().splitlines())


def _raised(tree: ast.AST) -> Iterator[ast.expr]:
    """The first two arguments of errors: what happened, and what to do."""
    for call in _calls(tree):
        for argument in call.args[:2] if _name(call.func) in _errors() else ():
            yield from (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)


@cache
def _errors() -> frozenset[str]:
    tree = ast.parse((CODE / "errors.py").read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.ClassDef))


def _hints(tree: ast.AST) -> Iterator[ast.expr]:
    return (one.value for one in ast.walk(tree) if isinstance(one, ast.Assign) and _name(one.targets[0]) == "hint")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.Call))


def _name(named: ast.expr) -> str:
    if isinstance(named, ast.Name):
        return named.id
    return named.attr if isinstance(named, ast.Attribute) else ""


def _pair(value: ast.Tuple) -> bool:
    return len(value.elts) == 2 and all(isinstance(one, ast.Constant) for one in value.elts)


def _docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    return (one.value for one in ast.walk(tree) if isinstance(one, ast.Expr))


def _outermost(tree: ast.AST) -> Iterator[ast.expr]:
    """Literals, without those that are parts of an f-string."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield node
        else:
            waiting += ast.iter_child_nodes(node)


def _is_sentence(text: str) -> bool:
    return bool(re.match(r"[A-Z{“']", text)) and " " in text and text.endswith((".", "?", "…")) and "\n" not in text


def _text(node: ast.expr) -> str:
    """A literal's text, an f-string's with places; nothing for what is no literal or has no words of its own."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) and re.search(r"[A-Za-z]{2}", node.value) else ""
    if not isinstance(node, ast.JoinedStr):
        return ""
    said, names = "", set[str]()
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            name = wanted = _place_name(part.value)
            number = 2
            while name in names:
                name, number = f"{wanted}{number}", number + 1
            names.add(name)
            said += f"{{{name}}}"
        elif isinstance(part, ast.Constant):
            said += str(part.value).replace("{", "{{").replace("}", "}}")
    own = re.sub(r"\{[^{}]*\}", "", said)
    return said if len(re.findall(r"[A-Za-z]", own)) >= 6 else ""


def _place_name(value: ast.expr) -> str:
    """A name for a place of an f-string: the variable's, the attribute's or the function's."""
    names = [_name(one) for one in ast.walk(value) if isinstance(one, ast.Name | ast.Attribute)]
    kept = [re.sub(r"\W|^_+", "", name).lower() for name in names]
    return next((name for name in kept if name), "value")


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- catalogues ----


def gathered(language: str) -> Catalog:
    """A catalogue of all texts without translations, sorted by where they stand."""
    made = Catalog(locale=language)
    found = collect()
    plural = {each.texts[0]: each.texts for each in found if len(each.texts) == 2}
    for each in found:
        texts = plural.get(each.texts[0], each.texts)
        key: str | tuple[str, str] = texts[0] if len(texts) == 1 else (texts[0], texts[1])
        places = any("{" in text for text in texts)
        known = made.get(texts[0])
        locations = sorted({*(known.locations if known else ()), (each.place, 0)})
        comments = {*(known.auto_comments if known else ()), *((SAID,) if each.said and places else ())}
        if known:
            made.delete(texts[0])
        flags = ("python-brace-format",) if places else ()
        made.add(key, None, locations, flags, auto_comments=sorted(comments))
    return made


def updated(language: str, old: Catalog) -> Catalog:
    """The texts of today with the translations that they have already."""
    new = gathered(language)
    for message in new:
        known = old.get(_first(message)) if message.id else None
        if known is not None and type(known.id) is type(message.id) and not known.fuzzy:
            message.string = known.string
    return new


def _first(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def written(catalogue: Catalog, header: str) -> bytes:
    """As a file: the header as it was, then each text below the files it stands in."""
    made = BytesIO()
    write_po(made, catalogue, width=120, omit_header=True, include_lineno=False, sort_by_file=True)
    return header.encode() + b"\n" + made.getvalue().lstrip(b"\n")


def faults(language: str, catalogue: Catalog) -> list[str]:
    """What keeps a catalogue from being complete, a line each."""
    wanted = gathered(language)
    keys = {(_ids(one), tuple(one.auto_comments)) for one in wanted if one.id}
    has = {(_ids(one), tuple(one.auto_comments)) for one in catalogue if one.id}
    said = [f"not in the catalogue: {ids[0]!r}" for ids, _ in sorted(keys - has)]
    said += [f"no longer in the code: {ids[0]!r}" for ids, _ in sorted(has - keys)]
    for message in catalogue:
        if message.id:
            said += [f"{fault}: {_first(message)!r}" for fault in _faults(message, catalogue.num_plurals)]
    return said


def _ids(message: Message) -> Texts:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def _faults(message: Message, forms: int) -> Iterator[str]:
    ids = _ids(message)
    strings = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
    if len(strings) != (1 if len(ids) == 1 else forms) or not all(strings):
        yield "not translated"
        return
    if message.fuzzy:
        yield "not sure (fuzzy)"
    every, at_least = _places(ids[-1]) | _places(ids[0]), _places(ids[-1]) & _places(ids[0])
    for text in strings:
        if not at_least <= _places(text) <= every:
            yield "other places"
        if _tags(text) != _tags(ids[0]):
            yield "other HTML"
        if '"' in text and '"' not in ids[0]:
            yield "a straight quotation mark, which would end an attribute"


def _places(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]|\{\w*\}|%%", text))


def _tags(text: str) -> list[str]:
    return sorted(re.findall(r"</?[a-z][^<>]*>", text))


def main(arguments: list[str]) -> int:
    """Update, or with `--check` only look. The exit code is 1 when something is missing."""
    wrong = 0
    for path in sorted(LOCALE.glob("*.po")):
        language, text = path.stem, path.read_text()
        catalogue = read_po(BytesIO(text.encode()), locale=language)
        if "--check" not in arguments:
            header = text[: text.index("\n\n") + 1] if "\n\n" in text else text
            catalogue = updated(language, catalogue)
            path.write_bytes(written(catalogue, header))
        for fault in faults(language, catalogue):
            wrong += 1
            print(f"{path.name}: {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
