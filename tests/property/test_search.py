"""Searches of random archives say what a simple model in Python says, while instances come and persons go."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import delete
from tests.records import new_records
from tests.stored import LUNG, clean, index

from carina.dicom.levels import Level
from carina.dicom.query import parse_query
from carina.model.cohort import All, OneOf
from carina.storage.members import Members
from carina.storage.schema import instance_versions, instances, patients, series, studies
from carina.storage.search import Found, scan, search

CT_ONLY = Members(LUNG, query=All((OneOf("modality", ("CT",)),)))
DATES = ("20200101", "20200229", "20211231")
TIMES = ("080000", "1030", "235959.5")
WORDS = ("", "a", "ab", "Ab", "aXb", "a%b", "a_b", "a*b", "ba", "año", "ſa", "K", "[a]", 'a"b', "a\\b")


@dataclass(frozen=True)
class Model:
    """What the archive holds of one instance, and what its study and series were said to be first."""

    patient: str
    study: int
    series: int
    number: int
    modality: str
    date: str | None
    time: str | None
    words: str
    label: str

    @property
    def ids(self) -> tuple[str, str, str]:
        made = clean(self.number, series=self.series, study=self.study)
        return made.study_uid, made.series_uid, made.uid


def text_fits(text: str, pattern: str) -> bool:
    """PS3.4 section C.2.2.2.4, letter by letter."""

    @functools.cache
    def fits(at: int, of: int) -> bool:
        if of == len(pattern):
            return at == len(text)
        if pattern[of] == "*":
            return fits(at, of + 1) or (at < len(text) and fits(at + 1, of))
        return at < len(text) and pattern[of] in ("?", text[at]) and fits(at + 1, of + 1)

    return fits(0, 0)


def name_fits(name: str, wanted: str) -> bool:
    name, wanted = name.strip().casefold(), wanted.strip().casefold()
    return text_fits(name, wanted) if set("*?") & set(wanted) else name.rstrip("^") == wanted.rstrip("^")


class Expected:
    """The answer of the model to the pairs of a search."""

    def __init__(self, held: Iterable[Model], members: bool) -> None:
        self.held = [one for one in held if not members or one.modality == "CT"]

    def search(self, level: Level, pairs: dict[str, str]) -> list[tuple[str, ...]]:
        offset, limit = int(pairs.get("offset", 0)), int(pairs.get("limit", 10**9))
        fitting = [one for one in self.held if all(self.fits(one, *pair) for pair in pairs.items())]
        depth = {"study": 1, "series": 2, "instance": 3}[level]
        order = {
            "study": lambda one: (one.date or "", one.ids[0]),
            "series": lambda one: (one.ids[0], one.series, one.ids[1]),
            "instance": lambda one: (one.ids[0], one.ids[1], one.number),
        }[level]
        found = dict.fromkeys(one.ids[:depth] for one in sorted(fitting, key=order))
        return list(found)[offset : offset + limit]

    def fits(self, one: Model, name: str, value: str) -> bool:
        tests: dict[str, Callable[[], bool]] = {
            "PatientID": lambda: text_fits(one.patient, value),
            "PatientName": lambda: name_fits(f"{one.patient}^{one.words}", value),
            "StudyDate": lambda: self.in_range(one.date, value),
            "ModalitiesInStudy": lambda: any(
                text_fits(other.modality, value) for other in self.held if other.study == one.study
            ),
            "Modality": lambda: text_fits(one.modality, value),
            "StudyDescription": lambda: bool(one.words.strip()) and text_fits(one.words.strip(), value.strip()),
            "SeriesDescription": lambda: bool(one.label.strip()) and text_fits(one.label.strip(), value.strip()),
            "SeriesNumber": lambda: one.series == float(value),
            "InstanceNumber": lambda: one.number == float(value),
            "NumberOfStudyRelatedInstances": lambda: sum(other.study == one.study for other in self.held) == int(value),
            "StudyInstanceUID": lambda: one.ids[0] in value.split(","),
        }
        return name in ("limit", "offset") or tests[name]()

    @staticmethod
    def in_range(held: str | None, value: str) -> bool:
        low, dash, high = value.partition("-")
        if not dash:
            high = low
        if held is None:
            return False
        return (not low or held.ljust(len(low), "0")[: len(low)] >= low) and (not high or held[: len(high)] <= high)


patterns = st.text(alphabet="abAX%_*?ñſK[]k s", min_size=1, max_size=6).filter(lambda text: text.strip(" *") != "")
by_study = {
    "PatientID": st.sampled_from(["P1", "P2", "p1", "P*", "?1", "*", "P12", "P1*"]).filter(lambda text: text != "*"),
    "PatientName": st.one_of(
        patterns, st.sampled_from(["P1", "p1^", "p*", "?2*", "P1^AB", "p?^*s*", "P2^k", "*^sa", "*^año"])
    ),
    "StudyDate": st.sampled_from(["20200101", "20200101-20200301", "20200229-", "-20200101", "20190101-20191231"]),
    "ModalitiesInStudy": st.sampled_from(["CT", "MR", "C*", "?R", "PT"]),
    "StudyDescription": st.one_of(patterns, st.sampled_from([word for word in WORDS if word and "\\" not in word])),
    "NumberOfStudyRelatedInstances": st.sampled_from(["1", "2", "3"]),
    "StudyInstanceUID": st.sampled_from(
        [clean(study=1).study_uid, f"{clean(study=1).study_uid},{clean(study=2).study_uid}"]
    ),
    "limit": st.integers(0, 4).map(str),
    "offset": st.integers(0, 4).map(str),
}
by_series = {
    **by_study,
    "Modality": st.sampled_from(["CT", "MR", "C*", "ct"]),
    "SeriesDescription": by_study["StudyDescription"],
    "SeriesNumber": st.sampled_from(["1", "2", "2.5"]),
}
by_instance = {**by_series, "InstanceNumber": st.sampled_from(["1", "3", "9"])}
LEVELS: dict[Level, dict[str, st.SearchStrategy[str]]] = {
    "study": by_study,
    "series": by_series,
    "instance": by_instance,
}


@st.composite
def searches(draw: st.DrawFn) -> tuple[Level, dict[str, str]]:
    level = draw(st.sampled_from(list(LEVELS)))
    names = draw(st.lists(st.sampled_from(sorted(LEVELS[level])), unique=True, max_size=3))
    return level, {name: draw(LEVELS[level][name]) for name in names}


def element(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


class Archive(RuleBasedStateMachine):
    """Instances are stored, persons are removed, and searches asked, of the archive and of a dataset of its CTs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="carina-search-")
        self.engine = new_records(Path(self.folder.name) / "records.sqlite", "node")
        self.held: dict[tuple[int, int, int], Model] = {}

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    @rule(
        study=st.integers(1, 3),
        of_series=st.integers(1, 2),
        number=st.integers(1, 3),
        date=st.sampled_from([None, *DATES]),
        time=st.sampled_from([None, *TIMES]),
        words=st.sampled_from(WORDS),
        label=st.sampled_from(WORDS),
    )
    def store(
        self, study: int, of_series: int, number: int, date: str | None, time: str | None, words: str, label: str
    ) -> None:
        if (study, of_series, number) in self.held:
            return
        of_study = next((one for one in self.held.values() if one.study == study), None)
        if of_study is not None:  # a study's instances agree on it
            date, time, words = of_study.date, of_study.time, of_study.words
        mates = [one for one in self.held.values() if (one.study, one.series) == (study, of_series)]
        label = mates[0].label if mates else label
        patient, modality = f"P{1 + study % 2}", ("CT", "MR")[(study + of_series) % 2]
        made = clean(number, series=of_series, study=study, patient=patient, modality=modality, study_date=date)
        about = {
            "00100010": element("PN", {"Alphabetic": f"{patient}^{words}"}),
            "00080030": element("TM", time),
            "00081030": element("LO", words),
        }
        with self.engine.begin() as connection:
            index(connection, made, study=about, series={"0008103E": element("LO", label)})
        self.held[study, of_series, number] = Model(
            patient, study, of_series, number, modality, date, time, words, label
        )

    @rule(patient=st.sampled_from(["P1", "P2"]))
    def forget(self, patient: str) -> None:
        gone = [one for one in self.held.values() if one.patient == patient]
        with self.engine.begin() as connection:
            for table in (instance_versions, instances):
                connection.execute(delete(table).where(table.c.uid.in_([one.ids[2] for one in gone])))
            connection.execute(delete(series).where(series.c.study_uid.in_([one.ids[0] for one in gone])))
            connection.execute(delete(studies).where(studies.c.patient == patient))
            connection.execute(delete(patients).where(patients.c.patient == patient))
        self.held = {key: one for key, one in self.held.items() if one.patient != patient}

    @rule(asked=searches(), members=st.booleans())
    def ask(self, asked: tuple[Level, dict[str, str]], members: bool) -> None:
        level, pairs = asked
        within = CT_ONLY if members else None
        expected = Expected(self.held.values(), members).search(level, pairs)
        with self.engine.connect() as connection:
            query = parse_query(pairs.items(), level)
            found = search(connection, query, within=within)
            assert [ids_of(one, level) for one in found] == expected
            few = list(
                scan(connection, parse_query(pairs.items(), level), within=within, tags=["0020000D", "00200013"])
            )
            assert [one.ids for one in few] == [one.ids for one in found]
            assert all(few[n].header.get("00200013") == one.header.get("00200013") for n, one in enumerate(found))

    @rule(
        low=st.sampled_from(["20200101", ""]),
        clock=st.sampled_from(["0900", "000000", "235959"]),
        level=st.sampled_from(list(LEVELS)),
    )
    def ask_for_moments(self, low: str, clock: str, level: Level) -> None:
        pairs = {"StudyDate": f"{low}-20211231", "StudyTime": f"{clock if low else ''}-1030"}
        held = [one for one in self.held.values() if one.date is not None and one.time is not None]
        span = f"{low}{clock if low else ''}-202112311030"
        fitting = [one for one in held if Expected.in_range(f"{one.date}{one.time}", span)]
        with self.engine.connect() as connection:
            found = search(connection, parse_query(pairs.items(), level, moments=True))
        assert [ids_of(one, level) for one in found] == Expected(fitting, members=False).search(level, {})

    @invariant()
    def counts_are_of_what_is_held(self) -> None:
        with self.engine.connect() as connection:
            found = search(connection, parse_query([], "study"))
        counts = {one.study_uid: one.header["00201208"]["Value"] for one in found}
        held = {one.ids[0] for one in self.held.values()}
        assert counts == {uid: [sum(one.ids[0] == uid for one in self.held.values())] for uid in held}


def ids_of(found: Found, level: Level) -> tuple[str, ...]:
    return tuple(uid for uid in found.ids[2:] if uid is not None)


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
