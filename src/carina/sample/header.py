"""What a hospital's machines write into every image: the person, the visit, the staff, the machine.

Nothing here is fit to leave a hospital; that is its purpose. Modules as in PS3.3: patient, general study, patient
study, general series, general equipment, and private elements in the manner of each maker.
"""

from __future__ import annotations

from datetime import date, timedelta

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.sample.cohort import SamplePatient, SampleStudy
from carina.sample.draws import Draws, uid
from carina.sample.exams import Series


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence, PS3.3 section 8.8."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def clock(study: SampleStudy, seconds: float) -> str:
    """A time of day as TM, `seconds` after the study began."""
    total = study.hour * 3600 + study.minute * 60 + seconds
    whole = int(total)
    return f"{whole // 3600:02}{whole // 60 % 60:02}{whole % 60:02}.{int((total - whole) * 1000):03}000"


def day(when: date) -> str:
    """A date as DA."""
    return when.strftime("%Y%m%d")


def series_uid(study: SampleStudy, number: int) -> str:
    """The UID of the study's series `number`, from 1; the segmentation's is 9."""
    return uid("series", *study.label, number)


def instance_uid(study: SampleStudy, number: int, instance: int) -> str:
    """The UID of an instance, both numbers from 1."""
    return uid("instance", *study.label, number, instance)


def extended(header: Dataset, more: Dataset | None = None) -> Dataset:
    """A new data set with the elements of both; neither is changed, unless an element that they share is."""
    whole = Dataset()
    whole.update(header)
    if more is not None:
        whole.update(more)
    return whole


def study_header(study: SampleStudy) -> Dataset:
    """All that the study's series share."""
    header = Dataset()
    header.SpecificCharacterSet = study.patient.site.character_set
    _patient(header, study.patient)
    _study(header, study)
    _visit(header, study)
    _equipment(header, study)
    return header


def add_series(header: Dataset, study: SampleStudy, series: Series, number: int) -> None:
    """General series and the requests it answers; `number` from 1."""
    begun = clock(study, 240 * number)
    header.Modality = series.modality
    header.SeriesInstanceUID = series_uid(study, number)
    header.SeriesNumber = number + 1
    header.SeriesDescription = series.description
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = header.InstanceCreationDate = day(study.day)
    header.SeriesTime = begun
    header.ProtocolName = f"{series.description} {study.patient.site.issuer}"
    header.BodyPartExamined = series.body_part
    header.PerformingPhysicianName = study.physician
    header.OperatorsName = study.operator
    header.PerformedProcedureStepID = f"PPS{study.study_id}"
    header.PerformedProcedureStepStartDate = day(study.day)
    header.PerformedProcedureStepStartTime = clock(study, 0)
    header.PerformedProcedureStepDescription = study.kind.description
    header.RequestAttributesSequence = Sequence([_request(study)])


def _patient(header: Dataset, person: SamplePatient) -> None:
    header.PatientName = person.name
    header.PatientID = person.patient_id
    header.IssuerOfPatientID = person.site.issuer
    header.PatientBirthDate = day(person.birth_date)
    header.PatientSex = person.sex
    other = Dataset()
    other.PatientID = person.national_id
    other.IssuerOfPatientID = person.site.national_issuer
    other.TypeOfPatientID = "TEXT"
    header.OtherPatientIDsSequence = Sequence([other])
    header.OtherPatientNames = person.other_name
    header.PatientMotherBirthName = person.mother
    header.PatientAddress = person.address
    header.PatientTelephoneNumbers = person.phone
    title = person.site.titles[person.sex == "M"]
    header.PatientComments = person.site.comment.format(
        title=title, name=person.spoken, id=person.patient_id, phone=person.phone
    )


def _study(header: Dataset, study: SampleStudy) -> None:
    person = study.patient
    header.StudyInstanceUID = study.uid
    header.StudyDate = day(study.day)
    header.StudyTime = clock(study, 0)
    header.StudyID = study.study_id
    header.AccessionNumber = study.accession
    header.StudyDescription = study.kind.description
    header.ReferringPhysicianName = study.referrer
    referrer = Dataset()
    referrer.PersonIdentificationCodeSequence = Sequence([code("4417", "99LOCAL", study.referrer.replace("^", " "))])
    referrer.PersonTelephoneNumbers = person.site.phone_form.replace("#", "0")
    referrer.InstitutionName = person.site.name
    header.ReferringPhysicianIdentificationSequence = Sequence([referrer])
    header.PhysiciansOfRecord = study.referrer
    header.NameOfPhysiciansReadingStudy = study.physician
    header.AdmittingDiagnosesDescription = f"{person.words} {person.topography}"
    header.PatientAge = f"{study.age:03}Y"
    header.PatientSize = f"{person.height:.2f}"
    header.PatientWeight = str(person.weight)
    header.Occupation = person.occupation
    header.AdditionalPatientHistory = person.site.history.format(name=person.spoken)


def _visit(header: Dataset, study: SampleStudy) -> None:
    person = study.patient
    header.AdmissionID = f"ADM{study.study_id}{person.number:04}"
    header.AdmittingDate = day(study.day - timedelta(days=1))
    header.CurrentPatientLocation = f"{person.site.city} {study.index + 3}B"
    header.RequestingPhysician = study.referrer
    header.RequestedProcedureDescription = study.kind.description
    header.RequestedProcedureComments = f"{person.words}: {person.site.history.format(name=person.spoken)}"


def _request(study: SampleStudy) -> Dataset:
    """The order as the worklist gave it, with its reason in words that name the patient."""
    item = Dataset()
    item.RequestedProcedureID = f"RP{study.study_id}"
    item.AccessionNumber = study.accession
    item.RequestedProcedureDescription = study.kind.description
    item.ReasonForTheRequestedProcedure = f"{study.patient.spoken}: {study.patient.words}"
    item.ScheduledProcedureStepID = f"SPS{study.study_id}"
    item.ScheduledProcedureStepDescription = study.kind.description
    protocol = code("PROT-7", "99LOCAL", study.kind.description)
    context = Dataset()
    context.ValueType = "TEXT"
    context.ConceptNameCodeSequence = Sequence([code("121046", "DCM", "Patient Note")])
    context.TextValue = f"{study.patient.spoken}, {study.patient.phone}"
    protocol.ProtocolContextSequence = Sequence([context])
    item.ScheduledProtocolCodeSequence = Sequence([protocol])
    return item


def _equipment(header: Dataset, study: SampleStudy) -> None:
    site, scanner = study.patient.site, study.scanner
    header.Manufacturer = scanner.manufacturer
    header.ManufacturerModelName = scanner.model
    header.SoftwareVersions = scanner.software
    header.StationName = scanner.station
    header.DeviceSerialNumber = scanner.serial
    header.InstitutionName = site.name
    header.InstitutionAddress = site.address
    header.InstitutionalDepartmentName = site.department
    header.DateOfLastCalibration = day(study.day - timedelta(days=Draws("calibration", *study.label).number(1, 60)))
    group, creator = scanner.block
    encoding = "utf-8" if site.character_set == "ISO_IR 192" else "latin-1"
    note = f"<PatientName>{study.patient.name}</PatientName><ID>{study.patient.patient_id}</ID>".encode(encoding)
    block = header.private_block(group, creator, create=True)
    block.add_new(0xE1, "LO", study.patient.name.replace("^", " "))
    block.add_new(0xE2, "SH", study.accession)
    block.add_new(0xE3, "LO", f"{scanner.station} {scanner.serial}")
    block.add_new(0xE4, "UI", uid("private", *study.label))
    block.add_new(0xE5, "OB", note + b" " * (len(note) % 2))
