"""De-identification, whatever the header holds: nothing identifying comes out, and what belongs together stays so."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from io import BytesIO
from string import ascii_letters

import pydicom
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.support import ct, part10

from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.rewrite import deidentify
from carina.deid.person import Person
from carina.deid.pixels.findings import Findings
from carina.deid.profile import Profile, load_profile
from carina.deid.pseudonyms import LONGEST_SHIFT, SHORTEST_SHIFT, ProjectKeys, new_uid, patient_key, shift_days
from carina.deid.words.terms import is_standard
from carina.deid.words.texts import is_technical
from carina.dicom.quiet import quiet
from carina.errors import CarinaError
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, RawInstance

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
OTHER = ProjectKeys.of(b"k" * 32, ProjectId("breast"))
BASIC, RESEARCH = load_profile("basic"), load_profile("research")
PROFILES = st.sampled_from([BASIC, RESEARCH])
LOOKED = Findings((), "none")
TEXTS = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
BLOBS = ("OB", "OW", "UN")
STEERING = {  # they decide whether an instance waits, so a planted text in them would end the test too early
    "ImageType",
    "FrameType",
    "Modality",
    "PhotometricInterpretation",
    "BurnedInAnnotation",
    "ConversionType",
    "SpecificCharacterSet",
    "EncapsulatedDocument",
    "PatientID",
    "PatientName",
}
PLACES = {
    vr: [
        tag
        for tag, (listed, _, _, _, keyword) in DicomDictionary.items()
        if listed == vr and tag >= 0x00080000 and tag >> 16 not in (0xFFFA, 0xFFFC, 0xFFFE) and keyword not in STEERING
    ]
    for vr in (*TEXTS, "OB", "OW")
}

few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
words = st.text(ascii_letters + "éüñ", min_size=5, max_size=12).filter(
    lambda word: not is_technical(word) and not is_standard(word.upper())
)
identities = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\\"), min_size=1)
days = st.dates(date(1970, 1, 2), date(2030, 12, 31))  # 1900, and the computers' first day, stand for no date


def clean(data: bytes, keys: ProjectKeys = KEYS, profile: Profile = BASIC, **options: object) -> CleanInstance:
    findings = LOOKED if profile is RESEARCH else None
    return deidentify(RawInstance(data), profile, keys, project=LUNG, findings=findings, **options)  # type: ignore[arg-type]


def read(instance: CleanInstance) -> Dataset:
    return pydicom.dcmread(BytesIO(instance.data))


def plant(dataset: Dataset, secret: str, tags: list[int]) -> None:
    """Put the secret into these elements, and into private ones."""
    for tag in tags:
        vr = DicomDictionary[tag][0]
        dataset[tag] = DataElement(tag, vr, secret.encode() * 2 if vr in BLOBS else secret[:16])
    dataset[0x00990010] = DataElement(0x00990010, "LO", secret)
    for number, vr in enumerate(("LO", "OB", "UN", "UT", "PN")):
        value = secret.encode() * 2 if vr in BLOBS else secret
        dataset[0x00991000 + number] = DataElement(0x00991000 + number, vr, value)


def forms(secret: str) -> list[bytes]:
    """A text as it might be encoded."""
    return [secret.encode(code, "ignore") for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")]


@st.composite
def some_places(draw: st.DrawFn) -> list[int]:
    return [tag for places in PLACES.values() for tag in draw(st.lists(st.sampled_from(places), max_size=60))]


@few
@given(secret=words, root=some_places(), nested=some_places(), profile=PROFILES)
def test_a_text_planted_anywhere_does_not_come_out(
    secret: str, root: list[int], nested: list[int], profile: Profile
) -> None:
    with quiet():
        dataset = pydicom.dcmread(BytesIO(ct()))
        dataset.PatientName = secret
        plant(dataset, secret.lower(), root)
        inner, outer = Dataset(), Dataset()
        plant(inner, secret.lower(), nested)
        outer[0x00081140] = DataElement(0x00081140, "SQ", Sequence([inner]))
        plant(outer, secret.capitalize(), nested)
        dataset[0x00081115] = DataElement(0x00081115, "SQ", Sequence([outer]))
        data = part10(dataset)
    out = clean(data, profile=profile).data
    for text in (secret, secret.lower(), secret.capitalize(), secret.upper()):
        assert not [form for form in forms(text) if form in out]


@few
@given(secret=words.filter(str.isascii), profile=PROFILES)
def test_a_persons_own_name_does_not_pass_as_a_code_string(secret: str, profile: Profile) -> None:
    elements = {
        "PatientName": f"{secret}^Maria",
        "BodyPartExamined": secret.upper(),
        "ScanOptions": ["HELICAL", secret.upper()],
        "ConvolutionKernel": secret.upper(),
    }
    out = clean(ct(elements=elements), profile=profile).data
    assert secret.upper().encode() not in out


@few
@given(
    secret=words.filter(str.isascii),
    place=st.sampled_from(["BodyPartExamined", "ScanOptions", "FilterMaterial"]),
    profile=PROFILES,
)
def test_a_name_that_nothing_else_in_the_header_tells_does_not_pass_as_a_code_string(
    secret: str, place: str, profile: Profile
) -> None:
    assert secret.upper().encode() not in clean(ct(elements={place: secret.upper()}), profile=profile).data


@few
@given(digits=st.from_regex(r"[1-9][0-9]{6,8}", fullmatch=True), profile=PROFILES)
def test_a_persons_own_number_does_not_pass_as_a_number(digits: str, profile: Profile) -> None:
    elements = {
        "PatientID": f"{digits[:3]}-{digits[3:]}",
        "SeriesNumber": digits,
        "KVP": digits,
        "XRayTubeCurrent": digits,
    }
    out = clean(ct(elements=elements), profile=profile)
    found = read(out)
    assert not any(found.get(keyword) for keyword in ("KVP", "XRayTubeCurrent"))
    assert digits not in str(found.get("SeriesNumber", ""))


@few
@given(first=days, second=days, patient=identities, profile=PROFILES)
def test_the_days_between_two_dates_of_a_person_stay(first: date, second: date, patient: str, profile: Profile) -> None:
    def shifted(day: date) -> date:
        text = f"{day.year:04}{day.month:02}{day.day:02}"
        with quiet():
            data = ct(elements={"StudyDate": text, "AcquisitionDateTime": f"{text}101112.5+0100", "PatientID": patient})
            found = read(clean(data, profile=profile))
        assert found.AcquisitionDateTime == f"{found.StudyDate}101112.5+0100"
        assert found.StudyTime == "101500"
        return date(int(found.StudyDate[:4]), int(found.StudyDate[4:6]), int(found.StudyDate[6:]))

    assert shifted(second) - shifted(first) == second - first
    assert SHORTEST_SHIFT <= (first - shifted(first)).days <= LONGEST_SHIFT


@settings(few, max_examples=10)
@given(
    patient=st.from_regex(r"[A-Z]{2}[0-9]{3,8}", fullmatch=True),
    numbers=st.sets(st.integers(1, 99), min_size=2, max_size=6),
    profile=PROFILES,
)
def test_files_of_a_series_stay_together_and_projects_share_nothing(
    patient: str, numbers: set[int], profile: Profile
) -> None:
    files = [ct(patient=patient, number=number) for number in sorted(numbers)]
    here, there = [[clean(data, keys, profile) for data in files] for keys in (KEYS, OTHER)]
    assert here == [clean(data, KEYS, profile) for data in files]
    assert len({instance.uid for instance in here}) == len(files)
    for name in ("patient", "study_uid", "series_uid"):
        assert len({getattr(instance, name) for instance in here}) == 1
    for name in ("patient", "study_uid", "series_uid", "uid", "source_digest"):
        ours, theirs = ({getattr(instance, name) for instance in found} for found in (here, there))
        assert ours.isdisjoint(theirs)


@given(issuers=st.lists(identities, min_size=2, max_size=2, unique=True), identifier=identities)
def test_one_identifier_of_two_issuers_is_two_persons(issuers: list[str], identifier: str) -> None:
    first, second = (Person(issuer, identifier) for issuer in issuers)
    assert patient_key(KEYS, first) != patient_key(KEYS, second)
    assert patient_key(KEYS, first) == patient_key(KEYS, Person(issuers[0], identifier))
    assert patient_key(KEYS, first) != patient_key(OTHER, first)


@few
@given(old=identities, new=identities)
def test_an_alias_gives_one_person_one_pseudonym_and_one_shift(old: str, new: str) -> None:
    aliases = {Person("HUS", old): Person("HUS", new)}
    with quiet():
        files = [ct(elements={"PatientID": patient}) for patient in (old, new)]
    merged, kept = (clean(data, aliases=aliases, default_issuer="HUS") for data in files)
    assert merged.patient == kept.patient == patient_key(KEYS, Person("HUS", new))
    assert read(merged).StudyDate == read(kept).StudyDate


@given(uid=st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,9})){2,5}", fullmatch=True))
def test_a_new_uid_is_a_valid_one_of_its_own(uid: str) -> None:
    found = new_uid(KEYS, uid)
    assert pydicom.uid.UID(found).is_valid
    assert len(found) <= 44
    assert found not in (uid, new_uid(OTHER, uid))


@given(identities)
def test_no_shift_is_none(patient: str) -> None:
    assert -LONGEST_SHIFT <= shift_days(KEYS, Person("HUS", patient)) <= -SHORTEST_SHIFT


@st.composite
def some_headers(draw: st.DrawFn) -> bytes:
    """A slice of a person with texts in some of its elements, in one of the two common encodings."""
    with quiet():
        dataset = pydicom.dcmread(BytesIO(ct(patient=draw(st.from_regex(r"[A-Z]{2}[0-9]{3,8}", fullmatch=True)))))
        dataset.PatientName = draw(words)
        inner = Dataset()
        plant(dataset, draw(words), draw(some_places()))
        plant(inner, draw(words), draw(some_places()))
        dataset[0x00081115] = DataElement(0x00081115, "SQ", Sequence([inner]))
        return part10(dataset, draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian])))


def result_of(way: Callable[[], CleanInstance]) -> object:
    """What comes out: the instance, or why it is refused."""
    try:
        return way()
    except CarinaError as error:
        return type(error), str(error)


@settings(few, max_examples=10)
@given(files=st.lists(some_headers(), min_size=2, max_size=4), profile=PROFILES)
def test_no_result_depends_on_what_came_before_or_on_the_way_that_was_taken(
    files: list[bytes], profile: Profile
) -> None:
    engine, handling = Engine(Handling(LUNG, profile, KEYS)), Handling(LUNG, profile, KEYS)
    there = [result_of(lambda data=data: engine.clean(data, findings=LOOKED)) for data in files]
    back = [result_of(lambda data=data: engine.clean(data, findings=LOOKED)) for data in reversed(files)]
    assert back[::-1] == there
    slow = SlowEngine(handling)
    assert [result_of(lambda data=data: slow.clean(data, findings=LOOKED)) for data in files] == there


class SlowEngine(Engine):
    """An engine that leaves all to pydicom."""

    def _walk(self, *given: object) -> None:  # type: ignore[override]
        return None


PROCESS = """
import hashlib, sys
from carina.deid import Engine, Handling, ProjectKeys, load_profile
from carina.deid.pixels.findings import Findings
engine = Engine(Handling("lung", load_profile("research"), ProjectKeys.of(b"k" * 32, "lung")))
data = sys.stdin.buffer.read()
print(hashlib.sha256(engine.clean(data, findings=Findings((), "none")).data).hexdigest())
"""


def test_another_process_gives_the_same_bytes() -> None:
    with quiet():
        dataset = pydicom.dcmread(BytesIO(ct()))
        dataset.PatientName, dataset.StudyDescription = "Kowalska^Anna Maria", "CT LUNG Kowalska, Anna 4711998"
        plant(dataset, "Kowalska", [0x00081030, 0x00104000, 0x00180010, 0x00204000])
        data = part10(dataset)
    expected = hashlib.sha256(clean(data, profile=RESEARCH).data).hexdigest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told = subprocess.run(
            [sys.executable, "-c", PROCESS], input=data, capture_output=True, check=True, env=environment
        )
        assert told.stdout.decode().strip() == expected
