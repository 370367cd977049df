"""Make src/carina/deid/data/vocabulary.txt, the words that a cleaned description may hold.

    python scripts/make_deid_vocabulary.py FAKER_WHEEL NAMES_SDIST

Words come from the meanings of the concepts of DICOM PS3.16 and the names of the attributes of PS3.6 as pydicom (MIT)
carries them, without breeds and organisms, and from `deid_vocabulary.txt` beside this script. Names of persons, to mark
or leave words out by, come from the packages faker 40.54.0 (MIT) and names 0.3.0 (MIT; the US census of 1990): a word
that is a name stays only where `deid_vocabulary.txt` has it, and then marked `?` unless it says `=`.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pydicom
from pydicom._dicom_dict import DicomDictionary
from pydicom.sr import _concepts_dict

from carina.deid.words.cleaning import folded

_HERE = Path(__file__).parent
_TARGET = _HERE.parent / "src" / "carina" / "deid" / "data" / "vocabulary.txt"
_LIVING = re.compile(r"breed|organism|\(animal", re.IGNORECASE)
_BREEDS = {7454, 7480, 7481, 7486}  # context groups of PS3.16
_OFTEN = 0.001  # per cent of persons: rarer surnames of the census mark no word of the list made by hand
_WIDTH = 120


def main(faker: Path, census: Path) -> None:
    """Write the list."""
    chosen = dict(_chosen((_HERE / "deid_vocabulary.txt").read_text("ascii")))
    listed, (frequent, known) = set(_of_faker(faker)), _of_census(census)
    common, names = listed.union(frequent), listed.union(known)
    marked = {
        word: mark if mark == "~" else "" if mark == "=" or word not in common else "?" for word, mark in chosen.items()
    }
    standard = {word for word in _of_the_standard() if word not in chosen and word not in names}
    lines = ["# " + line for line in _heading(faker, census)]
    lines += ["# chosen by hand", *_filled(word + mark for word, mark in sorted(marked.items()))]
    lines += ["# of the standard", *_filled(sorted(standard))]
    _TARGET.write_text("\n".join(lines) + "\n", "ascii")
    print(
        f"{len(marked)} chosen, {sum(mark == '?' for mark in marked.values())} names as well, {len(standard)} standard"
    )


def _heading(*sources: Path) -> Iterator[str]:
    yield "Words of descriptions, made by scripts/make_deid_vocabulary.py; `?` is a name of persons as well, `~` binds."
    yield f"pydicom {pydicom.__version__} (MIT): meanings of PS3.16's concepts, names of PS3.6's attributes."
    for path in sources:
        yield f"names of persons: {path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _chosen(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        for word in () if line.startswith("#") else line.split():
            yield (word[:-1], word[-1]) if word[-1] in "=~" else (word, "")


def _of_the_standard() -> Iterator[str]:
    schemes = cast(dict[str, dict[str, dict[str, tuple[str, list[int]]]]], _concepts_dict.concepts)
    meanings = [
        meaning
        for concepts in schemes.values()
        for codes in concepts.values()
        for meaning, groups in codes.values()
        if not _LIVING.search(meaning) and _BREEDS.isdisjoint(groups)
    ]
    for text in (*meanings, *(entry[2] for entry in DicomDictionary.values())):
        for part in re.findall(r"[^\W\d_]{3,}", text):
            if word := folded(part):
                yield word


def _of_faker(wheel: Path) -> Iterator[str]:
    """All texts that are assigned to a variable about names in faker's providers of persons."""
    with zipfile.ZipFile(wheel) as files:
        sources = [files.read(name) for name in files.namelist() if re.match(r"faker/providers/person/.*py$", name)]
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and "name" in target.id and "format" not in target.id
                for target in node.targets
            ):
                yield from _words(node.value)


def _words(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for name in re.split(r"[\s{}-]+", part.value):
                if (word := folded(name)).isalpha():
                    yield word


def _of_census(sdist: Path) -> tuple[list[str], list[str]]:
    """The frequent names, and all of them."""
    frequent, known = [], []
    with tarfile.open(sdist) as files:
        for member in files.getmembers():
            if re.search(r"/dist\.(all\.last|(fe)?male\.first)$", member.name):
                content = files.extractfile(member)
                for line in content.read().decode("ascii").splitlines() if content else ():
                    name, share, *_ = line.split()
                    known.append(name)
                    if float(share) >= _OFTEN:
                        frequent.append(name)
    return frequent, known


def _filled(words: Iterator[str] | list[str]) -> Iterator[str]:
    line = ""
    for word in words:
        if len(line) + len(word) >= _WIDTH:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
