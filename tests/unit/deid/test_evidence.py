"""What is told of a de-identification says what was done, and of nobody who it was done to."""

from __future__ import annotations

import csv
import json
import stat
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.support import ct, part10

from carina.deid.engine import files
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.evidence.anonymity import Anonymity, all_sets, anonymity, band, joined
from carina.deid.evidence.diff import Difference, differences
from carina.deid.evidence.mapping import MappingFiles, entries_of
from carina.deid.evidence.originals import originals_in, originals_of
from carina.deid.evidence.quasi import of_dataset
from carina.deid.evidence.report import Counted, digest_of, lines_of, report_of
from carina.deid.evidence.reveal import Original, Originals, WayBack
from carina.deid.keyfile import read_key, read_or_make_key
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys, is_pseudonym, new_uid
from carina.dicom.parse import parse
from carina.errors import BadInput, BadSettings, Conflict, NotFound, WrongKey
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
HANDLING = Handling(LUNG, load_profile("basic"), KEYS)
MASTER = b"m" * 32


def clean() -> CleanInstance:
    return Engine(HANDLING).clean(ct())


def changed(**values: object) -> bytes:
    """A CT slice with these attributes."""
    dataset = pydicom.dcmread(BytesIO(ct()))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return part10(dataset)


# --- anonymity ------------------------------------------------------------------------------------------------------


def test_persons_who_agree_hide_each_other() -> None:
    people = [{"sex": "F", "age": "060Y"}] * 5 + [{"sex": "M", "age": "060Y"}] * 2 + [{"sex": "M", "age": "061Y"}]
    assert anonymity(people, ("sex",)) == Anonymity(("sex",), persons=8, classes=2, k=3, unique=0, few=3)
    both = anonymity(people, ("sex", "age"))
    assert (both.classes, both.k, both.unique, both.few, both.share_unique) == (3, 1, 1, 3, 0.125)


def test_what_is_not_known_of_a_person_is_a_value_too() -> None:
    assert anonymity([{"sex": "F"}, {}, {"sex": ""}], ("sex",)).k == 1


def test_nobody_has_no_group() -> None:
    found = anonymity([], ("sex",))
    assert (found.persons, found.k, found.share_unique) == (0, 0, 0.0)


def test_more_attributes_never_hide_better() -> None:
    people = [{"sex": "FM"[n % 2], "age": f"{n % 5:03}Y", "size": str(n % 3), "site": f"C{n % 4}"} for n in range(40)]
    small = anonymity(people, ("sex", "age"))
    large = anonymity(people, ("sex", "age", "size", "site"))
    assert large.k <= small.k and large.unique >= small.unique and large.classes >= small.classes


def test_facts_of_several_studies_are_joined_for_each_person() -> None:
    facts = [("P1", {"sex": "F", "age": "060Y"}), ("P1", {"sex": "F", "age": "061Y"}), ("P2", {"sex": "", "age": ""})]
    assert joined(facts) == {"P1": {"sex": "F", "age": "060Y;061Y"}, "P2": {"sex": "", "age": ""}}


def test_a_clinical_table_adds_sets_that_are_joint_with_it() -> None:
    people = [{"sex": "F", "site": "C34"}, {"sex": "F", "site": "C50"}]
    plain, joint = all_sets(people), all_sets(people, clinical=True)
    assert len(joint) > len(plain)
    assert max(found.unique for found in plain) == 0 and max(found.unique for found in joint) == 2


def test_size_and_weight_count_in_bands() -> None:
    assert band("1.78", 0.05) == band("1.76", 0.05) != band("1.81", 0.05)
    assert [band(text, 5) for text in ("", "unknown", "inf", "nan")][:2] == ["", ""]


def test_characteristics_and_the_institution_count_as_they_stay() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "413490006", "SCT"
    header = Dataset()
    header.EthnicGroup, header.EthnicGroupCodeSequence = "Group B", Sequence([code])
    header.add_new(0x00102162, "UC", ["First", "Second"])
    header.SmokingStatus, header.PregnancyStatus, header.PatientSexNeutered = "NO", 4, "UNALTERED"
    header.InstitutionName, header.InstitutionAddress = "Hospital Ficticio", "Street 1"
    found = of_dataset(header)
    assert found["ethnic_group"] == "Group B;First;Second;SCT:413490006"
    assert [found[name] for name in ("smoking_status", "pregnancy_status", "sex_neutered")] == ["NO", "4", "UNALTERED"]
    assert (found["institution"], found["institution_address"]) == ("Hospital Ficticio", "Street 1")
    everything = next(one for one in all_sets([found, of_dataset(Dataset())]) if len(one.attributes) > 6)
    assert set(found) == set(everything.attributes)


def test_quasi_identifiers_of_a_clean_header_have_no_value_by_itself() -> None:
    dataset = Dataset()
    dataset.PatientSex, dataset.PatientAge, dataset.PatientSize, dataset.Manufacturer = "F", "060Y", 1.713, "GE MEDICAL"
    found = of_dataset(dataset)
    assert (found["sex"], found["age"], found["manufacturer"], found["device"]) == ("F", "060Y", "GE", "")
    assert "713" not in found["size"] and found["size"]


# --- the way back ---------------------------------------------------------------------------------------------------


def test_the_key_holder_finds_the_way_back_and_the_look_is_written_down(tmp_path: Path) -> None:
    way, instance = WayBack(tmp_path / "map", MASTER), clean()
    originals = originals_of(ct())
    assert originals is not None
    way.remember(instance, originals)
    original = pydicom.dcmread(BytesIO(ct()))
    assert way.look(instance.patient, "anna") == [Original("patient", original.PatientID, "")]
    assert way.look(instance.uid, "anna")[0].value == original.SOPInstanceUID
    assert way.look(instance.study_uid, "bert")[0].value == original.StudyInstanceUID
    way.close()
    lines = [json.loads(line) for line in way.trail.read_text().splitlines()]
    assert [(line["actor"], line["subject"]) for line in lines][::2] == [
        ("anna", instance.patient),
        ("bert", instance.study_uid),
    ]
    assert WayBack(tmp_path / "map", MASTER).verify_trail() == 3


def test_the_map_says_nothing_without_its_key(tmp_path: Path) -> None:
    way, instance = WayBack(tmp_path / "map", MASTER), clean()
    way.remember(instance, Originals("MRN-4711-PLAIN", "HOSPITAL-PLAIN", "1.2.3.4711", "1.2.3.4712", "1.2.3.4713"))
    way.close()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert instance.patient.encode() in raw
    assert not any(word in raw for word in (b"4711", b"4712", b"4713", b"PLAIN"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir() if path.name == "map")
    with pytest.raises(WrongKey):
        WayBack(tmp_path / "map", b"x" * 32).look(instance.patient, "eve")


def test_a_pseudonym_that_is_not_there_is_not_found_and_the_look_is_written_down(tmp_path: Path) -> None:
    way = WayBack(tmp_path / "map", MASTER)
    with pytest.raises(NotFound):
        way.look("P" + "A" * 16, "anna")
    assert json.loads(way.trail.read_text())["found"] == 0


@pytest.mark.parametrize("typed", ["DOE^JOHN 12345", "1.2.826.0.1", "2.25.4711", "p" * 17])
def test_what_is_no_pseudonym_is_refused_and_not_written_down(tmp_path: Path, typed: str) -> None:
    way = WayBack(tmp_path / "map", MASTER)
    with pytest.raises(BadInput):
        way.look(typed, "anna")
    line = json.loads(way.trail.read_text())
    assert (line["actor"], line["subject"], line["found"]) == ("anna", "", 0)
    assert typed not in way.trail.read_text()


@given(st.text(max_size=64))
def test_each_uid_that_is_made_has_the_form_of_one(original: str) -> None:
    assert is_pseudonym(new_uid(KEYS, original))


def test_a_merged_person_has_all_identifiers(tmp_path: Path) -> None:
    way, instance = WayBack(tmp_path / "map", MASTER), clean()
    for number in ("1", "2", "1"):
        way.remember(instance, Originals(number, "H", "1.2", "1.3", "1.4"))
    assert sorted(original.value for original in way.look(instance.patient, "anna")) == ["1", "2"]


@pytest.mark.parametrize("harm", ["change", "remove", "swap", "forge"])
def test_a_trail_that_was_touched_is_noticed(tmp_path: Path, harm: str) -> None:
    way = WayBack(tmp_path / "map", MASTER)
    for name in ("anna", "bert", "cleo"):
        with pytest.raises(NotFound):
            way.look("P" + "A" * 16, name)
    lines = way.trail.read_text().splitlines()
    if harm == "change":
        lines[1] = lines[1].replace("bert", "bart")
    elif harm == "remove":
        del lines[0]
    elif harm == "swap":
        lines[0], lines[1] = lines[1], lines[0]
    else:
        lines.append(json.dumps({"seq": 4, "previous": json.loads(lines[-1])["digest"], "digest": "0" * 64}))
    way.trail.write_text("\n".join(lines) + "\n")
    with pytest.raises(Conflict):
        way.verify_trail()
    with pytest.raises(Conflict):  # nobody looks while the trail is broken
        way.look("P" + "A" * 16, "dora")


def test_originals_are_read_from_a_file_in_pieces_as_from_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, original = ct(size=512), parse(ct(size=512))
    (tmp_path / "ct").write_bytes(data)
    monkeypatch.setattr(files, "LARGE", 1 << 17)
    monkeypatch.setattr(files, "_CHUNKS", (1 << 16,))
    source = files.opened(tmp_path / "ct")
    assert not source.whole and len(source.data) < len(data)
    found = originals_in(source.data, source.pieces)
    assert found is not None and found == originals_of(data)
    assert (found.uid, found.patient_id) == (str(original.SOPInstanceUID), str(original.PatientID))
    assert originals_of(b"no DICOM at all") is None


def test_an_identifier_in_another_character_set_is_read_as_it_is_meant() -> None:
    data = changed(SpecificCharacterSet="ISO_IR 192", PatientID="Ñandú-7")
    found = originals_of(data)
    assert found is not None and found.patient_id == "Ñandú-7"


# --- mapping --------------------------------------------------------------------------------------------------------


def test_the_mapping_has_each_uid_that_was_replaced_and_no_other(tmp_path: Path) -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.77"
    data = changed(ReferencedImageSequence=Sequence([item]), FrameOfReferenceUID="1.2.3.88")
    original, instance = parse(data), Engine(HANDLING).clean(data)
    entries = set(entries_of(original, pydicom.dcmread(BytesIO(instance.data)), KEYS))
    assert ("patient", str(original.PatientID), instance.patient) in entries
    for uid in (original.SOPInstanceUID, original.StudyInstanceUID, "1.2.3.77", "1.2.3.88"):
        assert ("uid", str(uid), new_uid(KEYS, str(uid))) in entries
    assert not any(old.startswith("1.2.840.10008.") for _, old, _ in entries)


def test_the_mapping_files_keep_what_was_there_and_are_the_owners_only(tmp_path: Path) -> None:
    for old in ("1.2.9", "1.2.3", "1.2.9"):
        files = MappingFiles(tmp_path / "mapping")
        files.add([("uid", old, "2.25.1"), ("patient", "MRN", "P1")])
        files.write()
    uids, patients = (tmp_path / "mapping" / name for name in ("uid_mapping.csv", "patid_mapping.csv"))
    with uids.open(newline="") as file:
        assert list(csv.reader(file)) == [["id_old", "id_new"], ["1.2.3", "2.25.1"], ["1.2.9", "2.25.1"]]
    assert patients.read_text().splitlines() == ["id_old,id_new", "MRN,P1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (uids, patients)} == {0o600}


# --- report ---------------------------------------------------------------------------------------------------------


def counted(**changes: object) -> Counted:
    values: dict[str, object] = {
        "outcomes": {"released": 3, "content-not-checked": 2, "not-dicom": 1},
        "actions": {"X PS3.15 E.1-1: X": 7, "U PS3.15 E.1-1: U": 9},
        "people": {"patients": 1, "studies": 1, "series": 2, "instances": 3},
        "pixels": {"searched": 1, "with_text": 1, "places": 2},
        "anonymity": all_sets([{"sex": "F"}]),
        "about": {"engine": "2"},
    }
    return Counted(**{**values, **changes})  # type: ignore[arg-type]


def test_a_report_counts_what_was_done_by_action_and_reason() -> None:
    report = report_of(load_profile("basic"), "lung", counted())
    assert report["files"] == {
        "given": 6,
        "written": 3,
        "withheld": {"content-not-checked": 2},
        "not_copied": {"not-dicom": 1},
    }
    assert {"action": "X", "reason": "PS3.15 E.1-1: X", "elements": 7} in report["actions"]
    assert report["profile"]["sha256"] == load_profile("basic").digest
    assert report["anonymity"]["sets"][0]["k"] == 1


def test_the_same_work_gives_the_same_report_and_other_work_another_digest() -> None:
    first, second = (report_of(load_profile("basic"), "lung", counted()) for _ in range(2))
    assert digest_of(first) == digest_of(second) == digest_of(json.loads(json.dumps(first)))
    other = counted(actions={"X PS3.15 E.1-1: X": 8})
    assert digest_of(report_of(load_profile("basic"), "lung", other)) != digest_of(first)


def test_a_report_is_told_in_lines_and_a_broken_one_refused() -> None:
    report = report_of(load_profile("basic"), "lung", counted())
    text = "\n".join(lines_of(report))
    assert "3 of 6 files written" in text and "content-not-checked" in text and "smallest group 1" in text
    for broken in ({}, {"form": "carina-deid-report/1"}, {**report, "files": None}):
        with pytest.raises(BadInput):
            lines_of(broken)


# --- differences ----------------------------------------------------------------------------------------------------


def found(data: bytes) -> dict[str, Difference]:
    return {each.path: each for each in differences(data, HANDLING)}


def test_a_difference_shows_before_and_after_and_the_rule() -> None:
    data = changed(OperatorsName="Haverkampff^Jolan", KVP="120")
    shown = found(data)
    name = shown["(0010,0010)"]
    assert (name.before, name.after) == (str(parse(data).PatientName), clean().patient) and name.changed
    assert "PS3.15" in name.reason and name.keyword == "PatientName"
    gone = shown["(0008,1070)"]
    assert (gone.before, gone.after, gone.action) == ("Haverkampff^Jolan", None, "X")
    assert not shown["(0018,0060)"].changed and not shown["(7FE0,0010)"].changed
    assert (shown["(0012,0062)"].action, shown["(0012,0062)"].before) == ("+", None)


def test_differences_do_not_print_values_by_accident() -> None:
    assert "Haverkampff" not in repr(differences(changed(OperatorsName="Haverkampff^Jolan"), HANDLING))


def test_differences_reach_into_sequences_and_private_blocks() -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.77"
    dataset = pydicom.dcmread(BytesIO(changed(ReferencedImageSequence=Sequence([item]))))
    block = dataset.private_block(0x0029, "ACME MED", create=True)
    block.add_new(0x10, "LO", "Haverkampff")
    shown = found(part10(dataset))
    assert shown["(0008,1140)[1].(0008,1155)"].after == new_uid(KEYS, "1.2.3.77")
    private = shown["(0029,[ACME MED]10)"]
    assert (private.before, private.after, private.action) == ("Haverkampff", None, "X")
    assert shown["(0029,0010)"].after is None


def test_the_senders_file_meta_information_is_shown_as_written_anew() -> None:
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.file_meta.SourceApplicationEntityTitle = "HEDWIGCT"
    file = BytesIO()
    dataset.save_as(file)
    assert found(file.getvalue())["(0002,0016)"].before == "HEDWIGCT"
    assert found(file.getvalue())["(0002,0016)"].after is None


# --- key files ------------------------------------------------------------------------------------------------------


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    first, made = read_or_make_key(path)
    assert made and stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text().strip()) == 64
    assert read_or_make_key(path) == (first, False) == (read_key(path), False)


def test_blanks_around_a_secret_do_not_count_and_its_letters_do(tmp_path: Path) -> None:
    keys = []
    for number, text in enumerate(("s" * 32, "\n " + "s" * 32 + "\r\n", "S" * 32)):
        (tmp_path / str(number)).write_text(text)
        keys.append(read_key(tmp_path / str(number)))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("content", [b"", b"short", b" " * 64, b"s" * 31])
def test_a_secret_that_is_too_short_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(BadSettings):
        read_key(tmp_path / "key")
    with pytest.raises(BadSettings):
        read_or_make_key(tmp_path / "key")
    with pytest.raises(BadSettings):
        read_key(tmp_path / "none")
