"""Searches by a foreign client: dicomweb-client, unmodified, over HTTP, against what it stored itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests  # noqa: TID251  the client's own library
from dicomweb_client.api import DICOMwebClient
from tests.archive import READER, archive, served
from tests.support import ct


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DICOMwebClient]:
    files = [ct(patient, number=number) for patient in "ABC" for number in (1, 2, 3)] + [ct("A", series=2)]
    folder: Path = tmp_path_factory.mktemp("archive")
    with archive(folder, files) as node, served(node) as url:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {READER}"
        session.trust_env = False
        yield DICOMwebClient(f"{url}/dicom-web", session=session)
        session.close()


def values(rows: list[dict[str, Any]], tag: str) -> list[Any]:
    return [row[tag]["Value"][0] for row in rows]


def test_all_pages_are_fetched_by_the_client_s_own_paging(reader: DICOMwebClient) -> None:
    whole = reader.search_for_instances()
    assert reader.search_for_instances(limit=3, get_remaining=True) == whole
    assert len(whole) == 10
    assert reader.search_for_studies(limit=1, get_remaining=True) == reader.search_for_studies()


def test_every_level_below_another_is_searched(reader: DICOMwebClient) -> None:
    for study in values(reader.search_for_studies(), "0020000D"):
        below = reader.search_for_series(study)
        assert values(reader.search_for_instances(study), "00080018")
        for series, count in zip(values(below, "0020000E"), values(below, "00201209"), strict=True):
            found = reader.search_for_instances(study, series)
            assert len(found) == count
            assert values(found, "0020000E") == [series] * count


def test_wildcards_ranges_and_lists_are_understood(reader: DICOMwebClient) -> None:
    studies = reader.search_for_studies(fields=["StudyDescription"])
    uids, patients = values(studies, "0020000D"), values(studies, "00100020")
    found = reader.search_for_studies(search_filters={"PatientID": f"{patients[0][:-2]}*"})
    assert patients[0] in values(found, "00100020")
    assert values(reader.search_for_studies(search_filters={"StudyInstanceUID": ",".join(uids[:2])}), "0020000D") == [
        uid for uid in uids if uid in uids[:2]
    ]
    dates = sorted(values(studies, "00080020"))
    between = reader.search_for_studies(search_filters={"StudyDate": f"{dates[0]}-{dates[-1]}"})
    assert len(between) == len(studies)
    assert reader.search_for_series(search_filters={"Modality": "?T", "SeriesNumber": 2})


def test_more_attributes_come_and_what_is_not_done_is_told(
    reader: DICOMwebClient, recwarn: pytest.WarningsRecorder
) -> None:
    [row] = reader.search_for_instances(limit=1, fields=["AvailableTransferSyntaxUID", "KVP"])
    assert row["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert row["00180060"]["Value"] == [120]
    everything = reader.search_for_instances(limit=1, fields=["all"])[0]
    assert len(everything) > len(row)
    assert reader.search_for_studies(fuzzymatching=True)
    recwarn.clear()
