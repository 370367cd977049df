from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from tests.stored import BREAST, LUNG, SECOND, clean, diagnose, index, records

from carina.dicom.levels import Level
from carina.dicom.query import parse_query
from carina.errors import InvalidQuery, NotFound
from carina.model.cohort import All, AnyOf, Between, OneOf, Query
from carina.model.ids import DatasetIri
from carina.storage.index import find_instance, instances_of
from carina.storage.members import Members, first_headers, instances_within, series_within, sizes, studies_within
from carina.storage.schema import datasets, instances, series, snapshot_members, snapshots, studies
from carina.storage.search import Found, search

IRI = DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001")
CT = OneOf("modality", ("CT",))
LIVE = Members(LUNG, query=CT)
FIRST_SNAPSHOT = Members(LUNG, dataset=IRI, number=1)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Study 1 of A: a CT of three and a SEG. Study 2 of B: an MR. Study 3 of A: a CT. And a CT in `breast`.

    The snapshot was taken of the CT series when study 1 had two slices and study 3 had not come.
    """
    with records(tmp_path) as engine, engine.begin() as connection:
        ours = {"study_date": "20200101", "age_years": 64, "sex": "F"}
        for number in (1, 2):
            index(connection, clean(number, patient="A", **ours), body_part="CHEST")
        index(connection, clean(1, series=2, patient="A", modality="SEG", **ours))
        index(connection, clean(1, study=2, patient="B", modality="MR", age_years=40))
        index(connection, clean(1, patient="A", project=BREAST))
        take_snapshot(connection)
        index(connection, clean(3, patient="A", **ours), body_part="CHEST")
        index(connection, clean(1, study=3, patient="A", study_date="20210101"))
        diagnose(connection, "A", "C34.1")
        yield connection


def take_snapshot(connection: Connection, members: Members = LIVE, number: int = 1) -> None:
    if number == 1:
        plain: dict[str, Any] = {"project": LUNG, "title": "T", "description": "", "query": {}, "state": "published"}
        connection.execute(insert(datasets), {"iri": IRI, "created_at": "2026", **plain})
    found = connection.execute(select(instances.c.uid, instances.c.content).where(instances_within(members))).all()
    place = {"dataset": IRI, "number": number}
    made = {"digest": "", "instances": len(found), "created_at": "2026", "created_by": "dora"}
    connection.execute(insert(snapshots), {**place, **made})
    rows = [{**place, "uid": uid, "content": content} for uid, content in found]
    connection.execute(insert(snapshot_members), rows)


def within(connection: Connection, members: Members) -> tuple[set[str], set[str], set[str]]:
    """Studies, series and instances by their numbers, as `1`, `1.2`, `1.2.3`; those of `breast` with a `b` before."""
    pairs = ((studies.c.study_uid, studies_within), (series.c.series_uid, series_within), (instances.c.uid, None))
    found = []
    for column, condition in pairs:
        wanted = select(column).where((condition or instances_within)(members))
        found.append({name(uid) for uid in connection.execute(wanted).scalars()})
    return found[0], found[1], found[2]


def name(uid: str) -> str:
    _, _, project, rest = uid.split(".", 3)
    return rest if project == clean().uid.split(".")[2] else f"b{rest}"


def ask(connection: Connection, members: Members | None, level: Level = "study", **pairs: str) -> list[Found]:
    return search(connection, parse_query(pairs.items(), level), within=members)


def value(found: Found, tag: str) -> Any:
    return found.header[tag]["Value"]


def test_a_live_dataset_is_whatever_has_its_query_now(connection: Connection) -> None:
    ct = {"1.1.1", "1.1.2", "1.1.3", "3.1.1"}
    assert within(connection, LIVE) == ({"1", "3"}, {"1.1", "3.1"}, ct)
    index(connection, clean(9, study=4, patient="D"))
    assert "4.1.9" in within(connection, LIVE)[2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (All(()), {"1.1", "1.2", "2.1", "3.1"}),
        (OneOf("body_part", ("CHEST",)), {"1.1"}),
        (OneOf("sex", ("F",)), {"1.1", "1.2", "3.1"}),
        (Between("age", 41, None), {"1.1", "1.2"}),
        (OneOf("diagnosis", ("C34",)), {"1.1", "1.2", "3.1"}),
        (AnyOf((OneOf("modality", ("MR",)), All((CT, OneOf("body_part", ("CHEST",)))))), {"1.1", "2.1"}),
        (AnyOf(()), set()),
    ],
)
def test_each_variable_of_a_query_decides(connection: Connection, query: Query, expected: set[str]) -> None:
    assert within(connection, Members(LUNG, query=query))[1] == expected


def test_a_snapshot_stays_as_it_was_when_more_arrives(connection: Connection) -> None:
    assert within(connection, FIRST_SNAPSHOT) == ({"1"}, {"1.1"}, {"1.1.1", "1.1.2"})
    take_snapshot(connection, number=2)
    assert "3.1.1" in within(connection, Members(LUNG, dataset=IRI, number=2))[2]
    assert within(connection, FIRST_SNAPSHOT) == ({"1"}, {"1.1"}, {"1.1.1", "1.1.2"})


def test_a_snapshot_that_is_not_there_has_no_members(connection: Connection) -> None:
    other = DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000002")
    for members in (Members(LUNG, dataset=IRI, number=2), Members(LUNG, dataset=other, number=1)):
        assert within(connection, members) == (set(), set(), set())


def test_an_instance_that_was_made_anew_is_no_longer_given_from_an_old_snapshot(connection: Connection) -> None:
    index(connection, clean(1, patient="A", version=SECOND), body_part="CHEST")
    assert within(connection, FIRST_SNAPSHOT)[2] == {"1.1.2"}
    assert "1.1.1" in within(connection, LIVE)[2]


def test_another_project_s_images_are_no_members(connection: Connection) -> None:
    assert within(connection, Members(BREAST, query=All(()))) == ({"b1"}, {"b1.1"}, {"b1.1.1"})


def test_members_of_nothing_or_of_two_things_cannot_be_named() -> None:
    for parts in ({}, {"dataset": IRI}, {"number": 1}, {"query": CT, "dataset": IRI, "number": 1}):
        with pytest.raises(ValueError, match="query or of a snapshot"):
            Members(LUNG, **parts)  # type: ignore[arg-type]


def test_a_query_without_meaning_here_gives_nothing(connection: Connection) -> None:
    with pytest.raises(InvalidQuery):
        instances_within(Members(LUNG, query=OneOf("pirads", ("5",))))


@pytest.mark.parametrize(("members", "ct", "more"), [(LIVE, 3, 1), (FIRST_SNAPSHOT, 2, 0)], ids=["live", "snapshot"])
def test_sizes_count_members_only(connection: Connection, members: Members, ct: int, more: int) -> None:
    uids = [clean(study=number).study_uid for number in (1, 2, 3)]
    found = {(name(size.series_uid), size.modality): size.instances for size in sizes(connection, members, uids)}
    assert found == {("1.1", "CT"): ct} | ({("3.1", "CT"): more} if more else {})


@pytest.mark.parametrize(("members", "ct"), [(LIVE, 3), (FIRST_SNAPSHOT, 2)], ids=["live", "snapshot"])
def test_counts_and_modalities_of_a_search_tell_nothing_of_what_is_no_member(
    connection: Connection, members: Members, ct: int
) -> None:
    study = ask(connection, members, StudyInstanceUID=clean().study_uid)[0]
    assert (value(study, "00080061"), value(study, "00201206"), value(study, "00201208")) == (["CT"], [1], [ct])
    [one] = ask(connection, members, "series", StudyInstanceUID=clean().study_uid)
    assert (value(one, "00201206"), value(one, "00201208"), value(one, "00201209")) == ([1], [ct], [ct])
    found = ask(connection, members, "instance", StudyInstanceUID=clean().study_uid)
    assert len(found) == ct
    assert {tuple(value(each, "00201209")) for each in found} == {(ct,)}
    whole = ask(connection, None, StudyInstanceUID=clean().study_uid)[0]
    assert (value(whole, "00080061"), value(whole, "00201206"), value(whole, "00201208")) == (["CT", "SEG"], [2], [4])


@pytest.mark.parametrize("members", [LIVE, FIRST_SNAPSHOT], ids=["live", "snapshot"])
def test_what_is_no_member_does_not_decide_a_search(connection: Connection, members: Members) -> None:
    study = clean().study_uid
    for level in ("study", "series", "instance"):
        assert ask(connection, members, level, ModalitiesInStudy="SEG") == []
        assert ask(connection, members, level, ModalitiesInStudy="S*") == []
        assert ask(connection, members, level, StudyInstanceUID=study, NumberOfStudyRelatedSeries="2") == []
        assert ask(connection, members, level, StudyInstanceUID=study, NumberOfStudyRelatedInstances="4") == []
        assert ask(connection, members, level, StudyInstanceUID=clean(study=2).study_uid) == []
        assert ask(connection, members, level, PatientID="B") == []
    assert ask(connection, members, "series", SeriesInstanceUID=clean(series=2).series_uid) == []
    assert ask(connection, members, "instance", SOPInstanceUID=clean(1, series=2).uid) == []
    assert len(ask(connection, members, ModalitiesInStudy="CT\\SEG", StudyInstanceUID=study)) == 1


OTHERS: dict[str, tuple[str, Any, Any]] = {
    "StudyDate": ("00080020", {"vr": "DA", "Value": ["20220202"]}, "20220101-20221231"),
    "StudyTime": ("00080030", {"vr": "TM", "Value": ["101010"]}, "101010"),
    "AccessionNumber": ("00080050", {"vr": "SH", "Value": ["SECRET"]}, "SECRET"),
    "StudyDescription": ("00081030", {"vr": "LO", "Value": ["PET of the head"]}, "PET*"),
    "PatientAge": ("00101010", {"vr": "AS", "Value": ["051Y"]}, "051Y"),
    "StudyID": ("00200010", {"vr": "SH", "Value": ["77"]}, "77"),
}
"""What an instance says of its study that is no member: tag, element, and a search that has it."""


@pytest.fixture(params=["live", "snapshot"])
def mixed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Connection, Members]]:
    """A study whose PET came first, and says of it what its CT, of two slices, does not; and members of the CT."""
    with records(tmp_path) as engine, engine.begin() as connection:
        said = {tag: element for tag, element, _ in OTHERS.values()}
        index(connection, clean(1, series=1, modality="PT", study_date="20220202"), study=said)
        for number in (2, 1):
            mine = {
                "00081030": {"vr": "LO", "Value": [f"CT {number}"]},
                "00080020": {"vr": "DA", "Value": ["20200101"]},
            }
            own = {"0008103E": {"vr": "LO", "Value": [f"slice {number}"]}}
            index(connection, clean(number, series=2, study_date="20200101"), study=mine, series=own)
        take_snapshot(connection)
        yield connection, LIVE if request.param == "live" else FIRST_SNAPSHOT


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_what_another_instance_says_of_the_study_is_neither_shown_nor_found(
    mixed: tuple[Connection, Members], level: Level
) -> None:
    connection, members = mixed
    found = ask(connection, members, level, includefield="all")
    assert len(found) == (2 if level == "instance" else 1)
    for one in found:
        assert value(one, "00080020") == ["20200101"]
        assert value(one, "00081030")[0].startswith("CT ")
        assert not {"00080030", "00080050", "00101010", "00200010"} & one.header.keys()
    for keyword, (_, _, search_for) in OTHERS.items():
        assert ask(connection, members, level, **{keyword: search_for}) == [], keyword
        assert ask(connection, None, level, **{keyword: search_for}), keyword
    assert len(ask(connection, members, level, StudyDate="20200101", StudyDescription="CT*")) == len(found)


def test_the_first_member_by_number_tells_of_study_and_series_and_each_instance_of_itself(
    mixed: tuple[Connection, Members],
) -> None:
    connection, members = mixed
    [study] = ask(connection, members)
    [series] = ask(connection, members, "series")
    assert (value(study, "00081030"), value(series, "00081030")) == (["CT 1"], ["CT 1"])
    assert value(series, "0008103E") == ["slice 1"]
    assert [value(one, "00081030") for one in ask(connection, members, "instance")] == [["CT 1"], ["CT 2"]]


def test_a_slice_that_came_after_the_snapshot_tells_it_nothing(connection: Connection) -> None:
    said = {"00081030": {"vr": "LO", "Value": ["Later"]}}
    index(connection, clean(0, patient="A"), study=said, series={"0008103E": {"vr": "LO", "Value": ["Later"]}})
    of_study = {"StudyInstanceUID": clean().study_uid}
    for level in ("study", "series", "instance"):
        for found in ask(connection, FIRST_SNAPSHOT, level, **of_study):
            assert not {"00081030", "0008103E"} & found.header.keys()
    assert value(ask(connection, LIVE, **of_study)[0], "00081030") == ["Later"]


def test_the_first_member_is_found_without_reading_all(connection: Connection) -> None:
    said: list[tuple[str, Any]] = []
    note = lambda _connection, _cursor, statement, parameters, *_: said.append((statement, parameters))  # noqa: E731
    event.listen(connection, "before_cursor_execute", note)
    for members in (LIVE, FIRST_SNAPSHOT):
        assert first_headers(connection, members, [clean().series_uid]).keys() == {clean().series_uid}
        assert first_headers(connection, members, []) == {}
    event.remove(connection, "before_cursor_execute", note)
    assert len(said) == 2
    for statement, parameters in said:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert any("INDEX ix_instances_series_uid" in step for step in plan), plan
        assert not [step for step in plan if step.startswith("SCAN") and "instances" in step], plan


@pytest.mark.parametrize("members", [LIVE, FIRST_SNAPSHOT], ids=["live", "snapshot"])
def test_an_instance_is_found_by_its_uid_only_when_it_is_a_member(connection: Connection, members: Members) -> None:
    assert find_instance(connection, clean(1).uid, within=members).uid == clean(1).uid
    for other in (clean(1, series=2), clean(1, study=2), clean(1, project=BREAST)):
        assert find_instance(connection, other.uid).uid == other.uid
        with pytest.raises(NotFound):
            find_instance(connection, other.uid, study_uid=other.study_uid, within=members)


def test_the_instances_of_a_study_are_its_members(connection: Connection) -> None:
    study = clean().study_uid
    assert [name(one.uid) for one in instances_of(connection, study, within=LIVE)] == ["1.1.1", "1.1.2", "1.1.3"]
    assert [name(one.uid) for one in instances_of(connection, study, within=FIRST_SNAPSHOT)] == ["1.1.1", "1.1.2"]
    with pytest.raises(NotFound):
        instances_of(connection, study, clean(series=2).series_uid, within=LIVE)
    with pytest.raises(NotFound):
        instances_of(connection, clean(study=2).study_uid, within=LIVE)


def test_no_condition_reads_a_whole_project_for_one_row(connection: Connection) -> None:
    everything = All((CT, Between("age", 1, None), OneOf("sex", ("F",))))
    for members in (Members(LUNG, query=everything), FIRST_SNAPSHOT):
        for column, condition in (
            (instances.c.uid, instances_within),
            (series.c.series_uid, series_within),
            (studies.c.study_uid, studies_within),
        ):
            wanted = select(column).where(column == "1.2", condition(members))
            said = str(wanted.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]
            plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {said}"))]
            assert not [step for step in plan if "SCAN" in step], plan
            assert not [step for step in plan if step.endswith("(project=?)")], plan
            assert str(wanted.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_search_within_members_is_the_search_of_an_archive_of_them_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Two archives: one holds all and is asked within the CT, the other holds the CT only."""
    place = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
    everything = data.draw(st.sets(place, min_size=1, max_size=12))
    ct = data.draw(st.sets(st.tuples(st.integers(1, 3), st.integers(1, 3))))
    pairs = data.draw(
        st.lists(
            st.sampled_from(
                [("ModalitiesInStudy", "CT"), ("ModalitiesInStudy", "M*"), ("NumberOfStudyRelatedInstances", "2"),
                 ("NumberOfStudyRelatedSeries", "1"), ("limit", "2"), ("offset", "1")]
            ),
            max_size=3,
            unique_by=lambda pair: pair[0],
        )
    )  # fmt: skip
    level: Level = data.draw(st.sampled_from(["study", "series", "instance"]))
    folder = tmp_path_factory.mktemp("two")
    (folder / "all").mkdir()
    (folder / "ct").mkdir()
    with records(folder / "all") as whole, records(folder / "ct") as part:
        with whole.begin() as one, part.begin() as two:
            for study, of_series, number in sorted(everything):
                is_ct = (study, of_series) in ct
                made = clean(number, study=study, series=of_series, modality="CT" if is_ct else "MR")
                index(one, made)
                if is_ct:
                    index(two, made)
            take_snapshot(one) if ct & {(item[0], item[1]) for item in everything} else None
        with whole.connect() as one, part.connect() as two:
            expected = ask(two, None, level, **dict(pairs))
            assert ask(one, LIVE, level, **dict(pairs)) == expected
            if connection_has_snapshot(one):
                assert ask(one, FIRST_SNAPSHOT, level, **dict(pairs)) == expected


def connection_has_snapshot(connection: Connection) -> bool:
    return connection.execute(select(snapshots.c.number)).first() is not None
