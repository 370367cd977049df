"""A dataset under a permit as a foreign client sees it: dicomweb-client, unmodified, over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import requests  # noqa: TID251  the client's own library
from dicomweb_client.api import DICOMwebClient
from sqlalchemy import select
from tests.access import MANAGER, Scene, deliver, open_scene, permit_in_force, share
from tests.archive import outside_application, served, take_in
from tests.support import ct

from carina.hub import catalogue, permits
from carina.model.cohort import OneOf
from carina.node import datasets, membership, snapshots, visits
from carina.storage.schema import instances

CHEST = OneOf("body_part", ("CHEST",))
PET = {
    "Modality": "PT",
    "BodyPartExamined": "HEAD",
    "StudyTime": "235959",
    "StudyDate": "20240404",
    "StudyDescription": "PET head",
    "PatientAge": "051Y",
    "PatientWeight": "82.5",
}
"""What an object that is not in the dataset says of the study, and no other does."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A dataset of chests: three slices of A, whose study has an abdomen too, which is none of it; nor is B's, nor A's
    PET, which came first. Snapshot 1 holds the same."""
    abdomen = {"BodyPartExamined": "ABDOMEN"}
    files = [ct("A", series=3, elements=PET), *(ct("A", number=number) for number in (1, 2, 3))]
    files += [ct("A", series=2, elements=abdomen), ct("B", elements=abdomen)]
    with open_scene(tmp_path_factory.mktemp("permitted")) as made:
        take_in(made.node, files)
        iri = share(made.hub, made.node, query=CHEST)
        snapshots.take(made.node, MANAGER, iri)
        described = datasets.describe(made.node, datasets.get(made.node, iri))
        catalogue.accept(made.hub, made.node.id, membership.description(described))
        yield replace(made, dataset=iri)


@pytest.fixture(scope="module")
def url(scene: Scene) -> Iterator[str]:
    with served(scene.node, outside_application) as address:
        yield f"{address}/datasets/{scene.dataset}/dicom-web"


@pytest.fixture
def reader(scene: Scene, url: str, request: pytest.FixtureRequest) -> Iterator[tuple[DICOMwebClient, str]]:
    """A client with a visit for everything, of the live dataset or of a version, and the permit's id."""
    permit = permit_in_force(scene, version=getattr(request, "param", "live"))
    code = permits.handover(scene.hub, scene.rosa, permit.id).code
    visit = visits.enter(scene.node, code, lifetime=visits.PROGRAM)
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {visit.secret}"
        session.trust_env = False
        yield DICOMwebClient(url, session=session), permit.id


def test_the_dataset_is_an_archive_of_its_own(reader: tuple[DICOMwebClient, str]) -> None:
    client, _ = reader
    [study] = client.search_for_studies(fields=["NumberOfStudyRelatedInstances", "ModalitiesInStudy"])
    assert study["00201208"]["Value"] == [3]
    [series] = client.search_for_series()
    place = study["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
    found = client.search_for_instances(*place)
    assert len(found) == 3
    assert [item["00180015"]["Value"] for item in client.retrieve_study_metadata(place[0])] == [["CHEST"]] * 3


def test_its_objects_frames_and_pictures_are_retrieved(reader: tuple[DICOMwebClient, str]) -> None:
    client, _ = reader
    [study] = client.search_for_studies()
    whole = client.retrieve_study(study["0020000D"]["Value"][0])
    assert len(whole) == 3
    sent = {ct_pixels(number).tobytes() for number in (1, 2, 3)}
    assert {one.pixel_array.tobytes() for one in whole} == sent
    one = whole[0]
    where = one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID
    assert client.retrieve_instance(*where).SOPInstanceUID == one.SOPInstanceUID
    [frame] = client.retrieve_instance_frames(*where, [1])
    assert np.array_equal(np.frombuffer(frame, np.int16).reshape(32, 32), one.pixel_array)
    assert client.retrieve_instance_frames_rendered(*where, [1], media_types=("image/png",)).startswith(b"\x89PNG")
    assert client.retrieve_bulkdata(client.retrieve_instance_metadata(*where)["7FE00010"]["BulkDataURI"])


@pytest.mark.parametrize("reader", ["live", "1"], indirect=True)
def test_nothing_tells_of_an_object_of_the_same_study_that_is_not_in_it(
    scene: Scene, reader: tuple[DICOMwebClient, str]
) -> None:
    client, _ = reader
    with scene.node.engine.connect() as connection:
        headers = list(connection.execute(select(instances.c.header)).scalars())
    [pet] = [header for header in headers if header["00080060"]["Value"] == ["PT"]]
    [chest, *_] = [header for header in headers if header["00180015"]["Value"] == ["CHEST"]]
    said = {
        tag for tag in ("00080020", "00080030", "00081030", "00101010", "00101030") if pet.get(tag) != chest.get(tag)
    }
    assert {"00080020", "00080030"} <= said
    [study] = client.search_for_studies(fields=["all"])
    uid = study["0020000D"]["Value"][0]
    rows = [study, *client.search_for_series(fields=["all"]), *client.search_for_instances(fields=["all"])]
    rows += client.retrieve_study_metadata(uid)
    for tag in said:
        assert all(row.get(tag) == chest.get(tag) for row in rows), tag
        for value in pet.get(tag, {}).get("Value", ()):
            for search in (client.search_for_studies, client.search_for_series, client.search_for_instances):
                assert search(search_filters={tag: str(value)}) == [], tag


def ct_pixels(number: int) -> np.ndarray:
    return pydicom.dcmread(io.BytesIO(ct("A", number=number))).pixel_array


def test_after_a_revocation_the_client_is_refused(scene: Scene, reader: tuple[DICOMwebClient, str]) -> None:
    client, permit = reader
    [study] = client.search_for_studies()
    permits.revoke(scene.hub, scene.clara, permit, "The study has ended.")
    deliver(scene.hub, scene.node)
    for ask in (client.search_for_studies, lambda: client.retrieve_study(study["0020000D"]["Value"][0])):
        with pytest.raises(requests.HTTPError) as refused:
            ask()
        assert refused.value.response.status_code == 403
