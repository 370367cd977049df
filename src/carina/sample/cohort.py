"""Who the sample's patients are and what studies they had, decided before a pixel is drawn.

Everything follows from site, seed and the patient's place in the list, so that any process can make any part of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from carina.errors import BadInput
from carina.sample.cases import COMMON, DISEASES, EXTRA, Case, Exam
from carina.sample.draws import Draws, uid
from carina.sample.exams import KINDS, Kind
from carina.sample.scanners import Scanner
from carina.sample.sites import Site

PATIENTS = 34
"""How many patients a site has by default: its whole list of cases once."""

CSV_COLUMNS = (
    "patient_id", "issuer", "sex", "birth_date", "topography", "morphology", "diagnosis_date", "stage", "treatment",
    "vital_status",
)  # fmt: skip
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


@dataclass(frozen=True)
class SamplePatient:
    """One person who does not exist. Identifiers never pass the check-digit rules of the countries they imitate.

    number      place in the site's list, from 1
    name        Patient's Name (0010,0010): family^given
    spoken      the name as a sentence says it
    growth      how the lesion's radius changes to a follow-up: below 1 it shrinks
    height, weight   m, kg
    """

    site: Site
    seed: int
    number: int
    name: str
    spoken: str
    mother: str
    patient_id: str
    national_id: str
    sex: str
    birth_date: date
    address: str
    phone: str
    occupation: str
    height: float
    weight: int
    case: Case
    topography: str
    morphology: str
    diagnosis_date: date
    stage: str
    treatment: str
    vital_status: str
    growth: float

    @property
    def label(self) -> tuple[str, int, int]:
        """What draws and UIDs of this person begin with."""
        return (self.site.key, self.seed, self.number)

    @property
    def other_name(self) -> str:
        """A name the person had before."""
        return f"{self.mother.split('^')[0]}^{self.name.split('^')[1]}"

    @property
    def street(self) -> str:
        """Street and number."""
        return self.address.split("^")[0]

    @property
    def words(self) -> str:
        """The disease as a radiologist's request names it."""
        return DISEASES[self.case.disease].words


@dataclass(frozen=True)
class SampleStudy:
    """One study of a patient. `lesion` scales the lesion's radius; `burned` says whether pixels show text."""

    patient: SamplePatient
    index: int
    exam: Exam
    uid: str
    accession: str
    study_id: str
    day: date
    hour: int
    minute: int
    age: int
    scanner: Scanner
    physician: str
    referrer: str
    operator: str
    lesion: float
    burned: bool

    @property
    def kind(self) -> Kind:
        """Its machine and series."""
        return KINDS[self.exam.kind]

    @property
    def instances(self) -> int:
        """How many instances it has, the segmentation included."""
        return sum(series.images for series in self.kind.series) + int(self.exam.segmented)

    @property
    def label(self) -> tuple[str, int, int, int]:
        """What draws and UIDs of this study begin with."""
        return (*self.patient.label, self.index)


def cases(site: Site) -> tuple[Case, ...]:
    """The site's list of cases, in order."""
    return COMMON + tuple(EXTRA[name] for name in site.extra)


def patients(site: Site, seed: int = 1, count: int = PATIENTS) -> list[SamplePatient]:
    """The first `count` patients of a site. A longer list begins with the shorter one; beyond the site's cases they
    come round again with other persons. Raises `BadInput` for a count that is not 1 to 5,000.
    """
    if not 1 <= count <= 5000:
        raise BadInput("A sample has 1 to 5,000 patients per site.")
    return [_patient(site, seed, number) for number in range(1, count + 1)]


def studies(patient: SamplePatient) -> Iterator[SampleStudy]:
    """The patient's studies in the order they were made."""
    for index, exam in enumerate(patient.case.exams):
        yield _study(patient, index, exam)


def clinical_csv(people: Sequence[SamplePatient]) -> str:
    """The clinical table of these persons: a header row and one row each, comma, dates as YYYY-MM-DD."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for person in people:
        rows.writerow(
            (
                person.patient_id, person.site.issuer, person.sex, person.birth_date.isoformat(), person.topography,
                person.morphology, person.diagnosis_date.isoformat(), person.stage, person.treatment,
                person.vital_status,
            )
        )  # fmt: skip
    return text.getvalue()


def planted(people: Sequence[SamplePatient]) -> list[str]:
    """Every identifying text the files of these persons hold that is long and odd enough to be searched for.

    Names, identifiers, addresses, telephone numbers, accession numbers and study UIDs of the persons; staff, stations,
    departments and addresses of their sites. Not the institution's name, which its catalogue entry shows, nor dates.
    """
    texts: dict[str, None] = {}
    for person in people:
        site = person.site
        own = (
            person.name, person.spoken, person.other_name, person.mother, person.patient_id, person.national_id,
            person.street, person.phone,
        )  # fmt: skip
        texts.update(dict.fromkeys(own))
        for study in studies(person):
            texts.update(dict.fromkeys((study.accession, study.uid, study.scanner.station)))
            texts.update(dict.fromkeys((study.physician, study.referrer, study.operator)))
        texts.update(dict.fromkeys((site.department, site.address)))
    return [text for text in texts if len(text) >= 7]


def _patient(site: Site, seed: int, number: int) -> SamplePatient:
    known = cases(site)
    case = known[(number - 1) % len(known)]
    draws = Draws("patient", site.key, seed, number)
    disease = DISEASES[case.disease]
    diagnosed = date(2022, 3, 1) + timedelta(days=draws.number(0, 900))
    age = case.age if case.age > 85 else case.age + draws.number(-2, 2)
    born = _years_before(diagnosed, age) - timedelta(days=draws.number(20, 150))
    family, given = _names(site, seed, number, case.sex)
    patient_id = _patient_id(site, seed, number)
    tall = 1.76 if case.sex == "M" else 1.64
    height = round(draws.real(tall - 0.09, tall + 0.09), 2)
    return SamplePatient(
        site=site,
        seed=seed,
        number=number,
        name=f"{family}^{given}",
        spoken=f"{given} {family}",
        mother=f"{draws.choice(site.families)} {draws.choice(site.families)}^{draws.choice(site.women)}",
        patient_id=patient_id,
        national_id=_national_id(site, draws),
        sex=case.sex,
        birth_date=born,
        address=site.address_form.format(
            street=draws.choice(site.streets), number=draws.number(2, 189), floor=draws.number(1, 7),
            town=draws.choice(site.towns),
        ),
        phone=_fill(site.phone_form, draws),
        occupation=draws.choice(site.occupations),
        height=height,
        weight=round(height * height * draws.real(21, 31)),
        case=case,
        topography=draws.choice(disease.topographies),
        morphology=draws.choice(disease.morphologies),
        diagnosis_date=diagnosed,
        stage=draws.choice(disease.stages),
        treatment=draws.choice(disease.treatments),
        vital_status=draws.choice(("alive", "alive", "alive", "dead", "unknown")),
        growth=draws.choice((0.62, 0.7, 0.8, 1.0, 1.25, 1.4)),
    )  # fmt: skip


def _study(patient: SamplePatient, index: int, exam: Exam) -> SampleStudy:
    site = patient.site
    draws = Draws("study", *patient.label, index)
    machine = KINDS[exam.kind].machine
    scanner = draws.choice([each for each in site.scanners if each.modality == machine])
    day = patient.diagnosis_date + timedelta(days=30 * exam.months + draws.number(2, 16))
    while day.weekday() > 4:
        day += timedelta(days=1)
    followed = sum(1 for earlier in patient.case.exams[:index] if earlier.kind == exam.kind)
    return SampleStudy(
        patient=patient,
        index=index,
        exam=exam,
        uid=uid("study", *patient.label, index),
        accession=f"{site.key[:3].upper()}{day:%y}{draws.digits(7)}",
        study_id=draws.digits(5),
        day=day,
        hour=draws.number(8, 16),
        minute=draws.number(0, 59),
        age=_age(patient.birth_date, day),
        scanner=scanner,
        physician=draws.choice(site.physicians),
        referrer=draws.choice(site.physicians),
        operator=draws.choice(site.operators),
        lesion=patient.growth**followed,
        burned=machine == "US" or (machine == "MG" and (index + patient.number) % 4 != 1),
    )


def _names(site: Site, seed: int, number: int, sex: str) -> tuple[str, str]:
    """Family and given name; within a site no two of the first 48 patients share both."""
    begin = Draws("names", site.key, seed)
    shift, second, third = begin.number(0, 500), begin.number(1, 22), begin.number(0, 500)
    place = number + shift
    families = [site.families[place % len(site.families)]]
    if site.surnames == 2:
        families.append(site.families[(place + second) % len(site.families)])
    given = site.men if sex == "M" else site.women
    return " ".join(families), given[(number + third) % len(given)]


def _patient_id(site: Site, seed: int, number: int) -> str:
    """The hospital's number of this patient; no two of a site are the same."""
    room = 10 ** site.id_form.count("#")
    place = (Draws("id", site.key, seed).number(0, room - 1) + number * 61_987) % room
    return site.id_form.replace("#", "") + str(place).zfill(site.id_form.count("#"))


def _national_id(site: Site, draws: Draws) -> str:
    """An identifier in the country's form whose check digit or letter is wrong, so that it can be nobody's."""
    text = _fill(site.national_form, draws)
    digits = [int(character) for character in text if character.isdigit()]
    if site.country_code == "ES":
        right = int("".join(map(str, digits))) % 23
        return text.replace("X", _DNI_LETTERS[(right + 1) % 23])
    if site.country_code == "NL":
        total = sum(weight * digit for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True))
        return text if total % 11 else text[:-1] + str((digits[-1] + 1) % 10)
    total = sum(weight * digit for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9), digits, strict=False))
    wrong = str((total + 1) % 10)
    return f"{text[:9]}{wrong}{text[10:]}"


def _fill(form: str, draws: Draws) -> str:
    return "".join(str(draws.number(0, 9)) if character == "#" else character for character in form)


def _years_before(day: date, years: int) -> date:
    return day.replace(year=day.year - years, day=min(day.day, 28))


def _age(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
