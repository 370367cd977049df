from __future__ import annotations

import logging
import statistics
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from sqlalchemy import select, update
from tests import access
from tests.access import Scene, open_scene
from tests.archive import take_in
from tests.federating import open_joined_node
from tests.support import ct, ring
from tests.unit.node import job_process

from carina.compute import moments, sandbox
from carina.compute.signal import frame_snr
from carina.dicom.parse import parse
from carina.errors import Conflict, InvalidMessage, NotFound, TooMany
from carina.federation import wire
from carina.federation.messages import seal_message
from carina.federation.papers import make_order
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, peek, verify
from carina.hub import catalogue, permits, runs
from carina.hub.permits import Permit
from carina.model.clock import new_id, now, stamp
from carina.model.ids import DatasetIri
from carina.model.instance import CleanInstance
from carina.model.job import JobOrder
from carina.node import analyses, datasets, fetch, jobs, membership, snapshots
from carina.node import permits as node_permits
from carina.storage.instances import InstanceStore
from carina.storage.members import Members
from carina.storage.schema import instances, node_jobs, permit_states, series, studies

PATIENTS = ("P1", "P2", "P3", "P4")


def image(patient: str, number: int = 1, **more: Any) -> bytes:
    """A slice with a bright half, another for each patient and number."""
    elements = more.pop("elements", {})
    random = np.random.default_rng([*patient.encode(), number])
    pixels = random.integers(0, 100, (32, 32), dtype=np.int16)
    pixels[:, 16:] += random.integers(1000, 1100 + number)
    return ct(patient, number=number, elements={"PixelData": pixels.tobytes(), **elements}, **more)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A dataset without images, a threshold of three."""
    with open_scene(tmp_path, real=True, threshold=3, hub_threshold=1) as made:
        yield made


@pytest.fixture
def full(scene: Scene) -> Scene:
    """The scene with four patients, the first with three slices."""
    take_in(scene.node, [image("P1", 1), image("P1", 3), *(image(patient, 2) for patient in PATIENTS)])
    return scene


def order_of(scene: Scene, permit: Permit, **changes: Any) -> JobOrder:
    plain = JobOrder(
        id=new_id(),
        hub=scene.hub.id,
        run=new_id(),
        permit=permit.id,
        dataset=permit.dataset,
        subject=permit.account,
        analysis="signal-statistics",
    )
    return replace(plain, **changes)


def paper_of(scene: Scene, order: JobOrder, *, key: PermitKey | None = None, node: str = "", ends: int = 60) -> str:
    """The order as the hub signs it, an hour old, so that it may have expired."""
    at = now()
    return make_order(
        key or scene.hub.permit_key,
        order,
        node=node or scene.node.id,
        expires=at + timedelta(minutes=ends),
        now=at - timedelta(hours=1),
    )


def taken(scene: Scene, permit: Permit | None = None, **changes: Any) -> str:
    """A job that the node has taken; its id."""
    order = order_of(scene, permit or access.permit_in_force(scene), **changes)
    jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    return order.id


def running(scene: Scene, permit: Permit | None = None) -> str:
    job = taken(scene, permit)
    assert jobs.begin(scene.node, scene.hub.id, job)
    return job


def done(scene: Scene, permit: Permit | None = None) -> wire.Result:
    """What a job gave."""
    job = running(scene, permit)
    jobs.compute_job(scene.node, scene.hub.id, job)
    (outcome,) = [item for item in jobs.undelivered(scene.node, scene.hub.id) if item.job == job]
    assert outcome.state == "done"
    assert outcome.result is not None
    return wire.read(wire.Result, verify(outcome.result.encode(), scene.node.signing.public_jwk))


def state_of(scene: Scene, job: str) -> tuple[str, str]:
    found = jobs.get_job(scene.node, scene.hub.id, job)
    return found.state, found.reason


def details(scene: Scene, action: str) -> dict[str, Any]:
    """Of the newest row of the node's audit trail with this action."""
    return dict(scene.node.audit.entries(1, action=action)[0].details)


def forget_states(scene: Scene) -> None:
    """Let the hub's last word on permits be a minute old."""
    old = stamp(now() - timedelta(seconds=61))
    with scene.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(issued_at=old, received_at=old))


def ratios(scene: Scene, *, only: str | None = None) -> dict[str, list[float]]:
    """By patient, the ratio of the central slice of each series, from the files of the archive."""
    wanted = (
        select(studies.c.patient, instances.c.series_uid, instances.c.content)
        .join(instances, instances.c.study_uid == studies.c.study_uid)
        .join(series, series.c.series_uid == instances.c.series_uid)
        .where(series.c.modality == (only or "CT"))
        .order_by(instances.c.series_uid, instances.c.instance_number)
    )
    by_series: dict[tuple[str, str], list[str]] = {}
    with scene.node.engine.connect() as connection:
        for row in connection.execute(wanted):
            by_series.setdefault((row.patient, row.series_uid), []).append(row.content)
    found: dict[str, list[float]] = {}
    for (patient, _), contents in by_series.items():
        with scene.node.instances.open(contents[len(contents) // 2]) as file:
            ratio = frame_snr(parse(file.read()), 1, "CT")
        assert ratio is not None
        found.setdefault(patient, []).append(ratio)
    return found


# --- taking -------------------------------------------------------------------------------------------------------


def test_an_order_under_a_permit_in_force_is_taken_and_counted_as_a_use(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    job = taken(scene, permit)
    assert state_of(scene, job) == ("taken", "")
    assert jobs.progress(scene.node, scene.hub.id) == {job: wire.Progress(state="taken", percent=0)}
    assert details(scene, "job-taken")["account"] == "rosa"
    access.deliver(scene.hub, scene.node)
    assert access.own_permit(scene, permit).use["analyse"] == 1


def test_the_same_order_again_changes_nothing(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    for _ in range(3):
        jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    assert len(jobs.list_jobs(scene.node)) == 1
    assert len(scene.node.audit.entries(10, action="job-taken")) == 1


def test_a_job_for_a_dataset_outside_the_permit_is_refused_and_audited(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    other = access.share(scene.hub, scene.node, "Other")
    job = taken(scene, permit, dataset=DatasetIri(other))
    assert state_of(scene, job) == ("refused", "no-permit")
    assert details(scene, "access-refused")["door"] == "job"
    assert details(scene, "job-refused")["reason"] == "no-permit"
    assert jobs.next_job(scene.node) is None


def test_a_job_under_a_permit_to_view_only_is_refused_and_audited(scene: Scene) -> None:
    job = taken(scene, access.permit_in_force(scene, actions=("view",)))
    assert state_of(scene, job) == ("refused", "action-not-granted")
    assert details(scene, "job-refused")["reason"] == "action-not-granted"


def test_a_job_for_another_person_than_the_permits_is_refused(scene: Scene) -> None:
    assert state_of(scene, taken(scene, subject="mallory")) == ("refused", "no-permit")


def test_a_job_under_a_permit_that_nobody_countersigned_is_refused(scene: Scene) -> None:
    permit = access.permit_for(scene)
    access.deliver(scene.hub, scene.node)
    assert state_of(scene, taken(scene, permit)) == ("refused", "not-countersigned")


def test_another_permit_of_the_person_does_not_help_an_order(scene: Scene) -> None:
    access.permit_in_force(scene)
    view_only = access.permit_in_force(scene, actions=("view",))
    assert state_of(scene, taken(scene, view_only)) == ("refused", "action-not-granted")


def test_an_unknown_analysis_fails(scene: Scene) -> None:
    job = taken(scene, analysis="guess-everything")
    assert state_of(scene, job) == ("failed", "unknown-analysis")
    assert details(scene, "job-failed")["reason"] == "unknown-analysis"


def test_while_the_permits_state_is_unknown_the_order_stays_at_the_hub_and_is_done_once_it_is_known(
    scene: Scene,
) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    forget_states(scene)
    jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    assert jobs.list_jobs(scene.node) == []
    assert details(scene, "access-refused")["reason"] == "status-unknown"
    access.deliver(scene.hub, scene.node)
    for _ in range(2):
        jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    assert [job.state for job in jobs.list_jobs(scene.node)] == ["taken"]


def offered(scene: Scene, paper: str) -> list[str]:
    """Take an order as it comes over the wire; why messages were refused, latest first."""
    asked = membership.seal(scene.node, scene.hub.id, wire.Jobs(progress={}))
    answer = wire.Open(orders=(paper,), stop=())
    names = {"hub": scene.hub.id, "sender": scene.hub.id, "to": scene.node.id}
    fetch.take_orders(
        scene.node, scene.hub.id, asked, seal_message(scene.hub.signing, answer, re=asked.nonce, **names).data
    )
    return [entry.details["reason"] for entry in scene.node.audit.entries(9, action="message-refused")]


def test_an_order_that_another_key_signed_is_refused_and_audited(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    stolen = PermitKey.from_master(ring(5).permits)
    assert offered(scene, paper_of(scene, order, key=stolen)) == ["forged"]
    assert jobs.list_jobs(scene.node) == []


def test_an_expired_order_is_refused_and_audited(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    assert offered(scene, paper_of(scene, order, ends=-1)) == ["expired"]
    assert jobs.list_jobs(scene.node) == []


def test_an_order_for_another_node_is_refused_and_audited(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    assert offered(scene, paper_of(scene, order, node=f"n-{'a' * 26}")) == ["misaddressed"]
    assert jobs.list_jobs(scene.node) == []


def test_an_order_from_another_hub_is_refused(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene), hub=f"h-{'a' * 26}")
    assert offered(scene, paper_of(scene, order)) == ["misaddressed"]


def test_an_order_of_a_hub_that_was_left_is_refused(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    membership.leave(scene.node, scene.hub.id)
    with pytest.raises(InvalidMessage, match="does not know the key"):
        jobs.take(scene.node, scene.hub.id, paper_of(scene, order))


def test_another_order_under_a_known_id_is_refused_and_audited(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    assert offered(scene, paper_of(scene, order)) == []
    assert offered(scene, paper_of(scene, replace(order, run=new_id()))) == ["replayed"]
    assert len(jobs.list_jobs(scene.node)) == 1


def test_a_replayed_order_is_refused_and_audited_and_its_job_not_done_again(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene))
    paper = paper_of(scene, order)
    assert offered(scene, paper) == []
    jobs.begin(scene.node, scene.hub.id, order.id)
    jobs.compute_job(scene.node, scene.hub.id, order.id)
    (outcome,) = jobs.undelivered(scene.node, scene.hub.id)
    assert offered(scene, paper) == []  # its outcome is on the way
    jobs.delivered(scene.node, scene.hub.id, order.id)
    assert offered(scene, paper) == []  # the two may have crossed
    with scene.node.engine.begin() as connection:
        connection.execute(update(node_jobs).values(delivered_at=stamp(now() - timedelta(seconds=61))))
    assert offered(scene, paper) == ["replayed"]
    assert jobs.next_job(scene.node) is None
    assert jobs.undelivered(scene.node, scene.hub.id) == [outcome]  # for a hub that has lost it


def test_a_replayed_order_that_was_refused_is_told_once_more_and_leaves_no_further_trace(scene: Scene) -> None:
    order = order_of(scene, access.permit_in_force(scene), subject="mallory")
    paper = paper_of(scene, order)
    assert offered(scene, paper) == []
    jobs.delivered(scene.node, scene.hub.id, order.id)
    with scene.node.engine.begin() as connection:
        connection.execute(update(node_jobs).values(delivered_at=stamp(now() - timedelta(seconds=61))))
    assert offered(scene, paper) == []
    assert [outcome.job for outcome in jobs.undelivered(scene.node, scene.hub.id)] == [order.id]
    for action in ("access-refused", "job-refused"):
        assert len(scene.node.audit.entries(9, action=action)) == 1


def take_at_once(scene: Scene, paper: str, times: int = 8) -> None:
    """Take an order in several threads."""
    takers = [threading.Thread(target=jobs.take, args=(scene.node, scene.hub.id, paper)) for _ in range(times)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()


def test_an_order_that_comes_several_times_at_once_is_one_use_and_one_job(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    take_at_once(scene, paper_of(scene, order_of(scene, permit)))
    assert node_permits.get(scene.node, scene.hub.id, permit.id).use.analyse == 1
    assert len(scene.node.audit.entries(9, action="job-taken")) == 1
    take_at_once(scene, paper_of(scene, order_of(scene, permit, subject="mallory")))
    assert len(scene.node.audit.entries(9, action="access-refused")) == 1


def test_a_hub_has_so_many_jobs_at_a_node_and_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_OPEN", 2)
    permit = access.permit_in_force(scene)
    first, second, third = (order_of(scene, permit) for _ in range(3))
    for order in (first, second):
        jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    jobs.take(scene.node, scene.hub.id, paper_of(scene, first))  # which it has
    with pytest.raises(TooMany):
        jobs.take(scene.node, scene.hub.id, paper_of(scene, third))
    assert offered(scene, paper_of(scene, third)) == []  # it stays at the hub
    assert len(jobs.list_jobs(scene.node)) == 2
    assert node_permits.get(scene.node, scene.hub.id, permit.id).use.analyse == 2
    jobs.stop(scene.node, scene.hub.id, [first.id])
    jobs.take(scene.node, scene.hub.id, paper_of(scene, third))
    assert state_of(scene, third.id) == ("taken", "")


# --- computing ----------------------------------------------------------------------------------------------------


def test_the_result_is_signed_and_is_of_one_value_per_patient(full: Scene) -> None:
    result = done(full)
    expected = moments.of("CT", [of_patient[0] for of_patient in ratios(full).values()])
    (group,) = result.groups
    assert (group.group, group.n, group.mean, group.m2) == (
        "CT",
        4,
        moments.digits(expected.mean),
        moments.digits(expected.m2),
    )
    assert (result.node, result.dataset, result.version) == (full.node.id, full.dataset, "live")
    assert (result.threshold, result.analysis, result.analysis_version) == (3, "signal-statistics", "1")
    audited = details(full, "job-done")
    assert audited["groups"] == {"CT": 4}
    assert (audited["withheld"], audited["series"], audited["left_out"]) == (0, 4, 0)


def test_a_patient_of_several_series_counts_with_their_median(full: Scene) -> None:
    take_in(full.node, [image("P1", 5, series=series) for series in (2, 3)] + [image("P2", 7, series=2)])
    result = done(full)
    expected = moments.of("CT", [statistics.median(of_patient) for of_patient in ratios(full).values()])
    assert result.groups[0].mean == moments.digits(expected.mean)
    assert result.groups[0].n == 4


def test_a_group_below_the_threshold_is_neither_given_nor_named(full: Scene) -> None:
    mr = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}
    take_in(full.node, [image(patient, 9, study=2, series=7, elements=mr) for patient in PATIENTS[:2]])
    assert len(ratios(full, only="MR")) == 2
    result = done(full)
    assert [group.group for group in result.groups] == ["CT"]
    audited = details(full, "job-done")
    assert (audited["groups"], audited["withheld"]) == ({"CT": 4}, 1)
    assert "MR" not in str(audited)


def test_with_fewer_patients_than_the_threshold_nothing_leaves_at_all(full: Scene) -> None:
    strict = replace(full, node=replace(full.node, threshold=5))
    assert done(strict).groups == ()


def divided(scene: Scene, numbers: dict[str, int], start: int = 0) -> None:
    """Take in so many patients of each modality, each with a value."""
    made = [
        image(f"{modality}{number}", elements={"Modality": modality})
        for modality, wanted in numbers.items()
        for number in range(start, wanted)
    ]
    take_in(scene.node, made)


def test_a_result_gives_no_group_that_the_catalogue_hides_beside_a_small_one(scene: Scene) -> None:
    divided(scene, {"CT": 5, "MR": 4, "PT": 2})
    described = datasets.describe(scene.node, datasets.get(scene.node, scene.dataset))
    assert (described.patients, [group.value for group in described.groups["modality"]]) == (11, ["CT"])
    assert [(group.group, group.n) for group in done(scene).groups] == [("CT", 5)]
    assert details(scene, "job-done")["withheld"] == 2


def test_a_result_of_a_snapshot_gives_what_may_leave_beside_its_own_members(scene: Scene) -> None:
    divided(scene, {"CT": 5, "MR": 4, "PT": 2})
    snapshots.take(scene.node, "dora", scene.dataset)
    described = datasets.describe(scene.node, datasets.get(scene.node, scene.dataset))
    catalogue.accept(scene.hub, scene.node.id, membership.description(described))
    divided(scene, {"PT": 4}, start=2)
    assert [group.group for group in done(scene, access.permit_in_force(scene, version="1")).groups] == ["CT"]
    assert [group.group for group in done(scene).groups] == ["CT", "MR", "PT"]


def test_patients_are_counted_as_the_description_counts_them_and_in_a_snapshot_as_it_was(full: Scene) -> None:
    divided(full, {"MR": 4, "SR": 3})
    take_in(full.node, [image("P1", 9, study=2, series=7, elements={"Modality": "MR"})])
    dataset = datasets.get(full.node, full.dataset)
    described = datasets.describe(full.node, dataset)
    snapshots.take(full.node, "dora", full.dataset)
    live = Members(dataset.project, query=dataset.query)
    first = Members(dataset.project, dataset=dataset.iri, number=1)
    for members in (live, first):
        found = analyses.signal_statistics(full.node, members, lambda percent: None)
        assert found.total == described.patients
        assert {group.value: group.patients for group in described.groups["modality"]} == found.patients
    divided(full, {"MR": 9}, start=4)
    assert analyses.signal_statistics(full.node, live, lambda percent: None).patients["MR"] == 10
    assert analyses.signal_statistics(full.node, first, lambda percent: None).patients["MR"] == 5


def test_progress_is_told_in_steps_that_do_not_count_the_series(full: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PROGRESS_EVERY", 0.0)
    take_in(full.node, [image(patient, 5, series=number) for patient in PATIENTS for number in (2, 3, 4)])
    job = running(full)
    told: set[int] = set()
    watch = _Watched(full.node.instances, lambda: told.add(jobs.progress(full.node, full.hub.id)[job].percent))
    jobs.compute_job(replace(full.node, instances=watch), full.hub.id, job)
    assert told == {0, 25, 50, 75}


def test_a_snapshot_holds_what_it_held_and_nothing_that_came_later(full: Scene) -> None:
    assert snapshots.take(full.node, "dora", full.dataset).number == 1
    described = datasets.describe(full.node, datasets.get(full.node, full.dataset))
    catalogue.accept(full.hub, full.node.id, membership.description(described))
    before = moments.of("CT", [of_patient[0] for of_patient in ratios(full).values()])
    take_in(full.node, [image("P5"), image("P1", 0)])
    result = done(full, access.permit_in_force(full, version="1"))
    assert (result.version, result.groups[0].n, result.groups[0].mean) == ("1", 4, moments.digits(before.mean))
    assert done(full).groups[0].n == 5


def test_an_image_that_cannot_be_decoded_is_left_out_logged_and_counted(
    full: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with full.node.engine.begin() as connection:
        content = connection.execute(select(instances.c.content).where(instances.c.instance_number == 2)).scalars()
        path = next(full.node.folder.rglob(f"{content.first()}.dcm"))
    take_in(full.node, [image(patient, 5, series=2) for patient in PATIENTS])
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(data[:-100]))
    with caplog.at_level(logging.WARNING, logger="carina"):
        result = done(full)
    assert result.groups[0].n == 4
    assert (details(full, "job-done")["series"], details(full, "job-done")["left_out"]) == (7, 1)
    (record,) = [record for record in caplog.records if record.message == "image-left-out"]
    assert vars(record)["error"] == "InvalidInstance"


def test_a_file_that_is_gone_and_an_image_of_nothing_are_left_out_too(full: Scene) -> None:
    empty = image("P5", elements={"PixelData": bytes(2 * 32 * 32)})
    take_in(full.node, [empty])
    with full.node.engine.connect() as connection:
        gone = connection.execute(select(instances.c.content).where(instances.c.instance_number == 2)).scalars().first()
    next(full.node.folder.rglob(f"{gone}.dcm")).unlink()
    assert done(full).groups == ()  # or one could count the two without a value
    audited = details(full, "job-done")
    assert (audited["series"], audited["empty"], audited["left_out"]) == (3, 1, 1)


def test_colour_and_what_is_no_image_are_not_looked_at(full: Scene) -> None:
    colour = {
        "Modality": "US",
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "PhotometricInterpretation": "RGB",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": bytes(3 * 32 * 32),
    }
    other = {"Modality": "OT"}
    take_in(full.node, [image("P1", 8, study=3, series=8, elements=colour)])
    take_in(full.node, [image("P1", 9, study=3, series=9, elements=other)])
    done(full)
    assert (details(full, "job-done")["series"], details(full, "job-done")["left_out"]) == (4, 0)


class _Watched:
    """A store that does something before the first file is read."""

    def __init__(self, store: InstanceStore, before: Any) -> None:
        self._store, self._before = store, before

    def put(self, instance: CleanInstance) -> str:
        return self._store.put(instance)

    def open(self, content: str) -> BinaryIO:
        self._before()
        return self._store.open(content)

    def remove(self, content: str) -> None:
        self._store.remove(content)


def test_a_permit_that_ends_while_the_job_computes_lets_nothing_leave(full: Scene) -> None:
    permit = access.permit_in_force(full)
    job = running(full, permit)
    once: list[bool] = []

    def revoke() -> None:
        if not once:
            once.append(True)
            permits.revoke(full.hub, full.clara, permit.id, "Enough.")
            access.tell_states(full.hub, full.node)

    jobs.compute_job(replace(full.node, instances=_Watched(full.node.instances, revoke)), full.hub.id, job)
    assert state_of(full, job) == ("refused", "revoked")
    assert jobs.get_job(full.node, full.hub.id, job).released == ()
    assert details(full, "job-refused")["reason"] == "revoked"


def test_a_job_that_was_cancelled_while_it_computes_gives_nothing(full: Scene) -> None:
    job = running(full)
    cancel = _Watched(full.node.instances, lambda: jobs.stop(full.node, full.hub.id, [job]))
    jobs.compute_job(replace(full.node, instances=cancel), full.hub.id, job)
    assert state_of(full, job) == ("cancelled", "")
    assert jobs.get_job(full.node, full.hub.id, job).released == ()


def test_a_job_that_does_not_run_is_not_computed(scene: Scene) -> None:
    job = taken(scene)
    jobs.compute_job(scene.node, scene.hub.id, job)
    jobs.compute_job(scene.node, scene.hub.id, new_id())
    assert state_of(scene, job) == ("taken", "")


def test_a_job_computed_twice_gives_one_result(scene: Scene) -> None:
    job = running(scene)
    jobs.compute_job(scene.node, scene.hub.id, job)
    first = jobs.undelivered(scene.node, scene.hub.id)
    jobs.compute_job(scene.node, scene.hub.id, job)
    assert not jobs.finish(scene.node, scene.hub.id, job, "failed", "crashed")
    assert jobs.undelivered(scene.node, scene.hub.id) == first
    assert len(scene.node.audit.entries(9, action="job-done")) == 1


# --- running and stopping -----------------------------------------------------------------------------------------


def test_jobs_begin_once_each_the_oldest_first(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    first, second = taken(scene, permit), taken(scene, permit)
    for job in (first, second):
        assert jobs.next_job(scene.node) == (scene.hub.id, job)
        assert jobs.begin(scene.node, scene.hub.id, job)
        assert not jobs.begin(scene.node, scene.hub.id, job)
    assert jobs.next_job(scene.node) is None


def test_stopping_a_job_that_waits_ends_it_at_once_and_one_that_runs_is_told(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    runs_now, waits = running(scene, permit), taken(scene, permit)
    assert jobs.still_allowed(scene.node, scene.hub.id, runs_now) is None
    jobs.stop(scene.node, scene.hub.id, [runs_now, waits, new_id()])
    assert jobs.still_allowed(scene.node, scene.hub.id, runs_now) == "cancelled"
    assert jobs.next_job(scene.node) is None
    assert {item.state for item in jobs.undelivered(scene.node, scene.hub.id)} == {"cancelled"}
    assert len(scene.node.audit.entries(9, action="job-cancelled")) == 2


def test_a_running_job_must_end_when_its_permit_does(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    job = running(scene, permit)
    permits.revoke(scene.hub, scene.clara, permit.id, "Enough.")
    access.tell_states(scene.hub, scene.node)
    assert jobs.still_allowed(scene.node, scene.hub.id, job) == "revoked"
    jobs.end(scene.node, scene.hub.id, job, "revoked")
    assert state_of(scene, job) == ("refused", "revoked")


def test_a_running_job_must_end_when_the_states_of_permits_are_not_known_and_waits_for_them(scene: Scene) -> None:
    job = running(scene)
    forget_states(scene)
    assert jobs.still_allowed(scene.node, scene.hub.id, job) == "status-unknown"
    jobs.end(scene.node, scene.hub.id, job, "status-unknown")
    assert state_of(scene, job) == ("taken", "")
    assert details(scene, "job-stopped")["reason"] == "status-unknown"
    assert jobs.next_job(scene.node) is None
    access.tell_states(scene.hub, scene.node)
    assert jobs.next_job(scene.node) == (scene.hub.id, job)


def test_a_job_of_a_hub_that_was_left_is_not_begun(scene: Scene) -> None:
    taken(scene)
    membership.leave(scene.node, scene.hub.id)
    assert jobs.next_job(scene.node) is None


@pytest.mark.parametrize("word", ["crashed", "out-of-memory", "out-of-time"])
def test_a_job_that_misbehaved_has_failed_for_that_word(scene: Scene, word: str) -> None:
    job = running(scene)
    jobs.end(scene.node, scene.hub.id, job, word)
    assert state_of(scene, job) == ("failed", word)
    assert jobs.is_ended(scene.node, scene.hub.id, job)
    assert details(scene, "job-failed")["reason"] == word
    jobs.end(scene.node, scene.hub.id, job, "cancelled")
    assert state_of(scene, job) == ("failed", word)


def test_what_ran_when_the_node_ended_is_done_again_after_its_start(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    ended, interrupted = running(scene, permit), running(scene, permit)
    jobs.compute_job(scene.node, scene.hub.id, ended)
    jobs.reset(scene.node)
    assert state_of(scene, ended) == ("done", "")
    assert jobs.next_job(scene.node) == (scene.hub.id, interrupted)


def test_a_job_at_whose_running_the_node_ended_three_times_has_crashed(scene: Scene) -> None:
    job = taken(scene)
    for _ in range(2):
        assert jobs.begin(scene.node, scene.hub.id, job)
        jobs.reset(scene.node)
        assert state_of(scene, job) == ("taken", "")
    assert jobs.begin(scene.node, scene.hub.id, job)
    jobs.reset(scene.node)
    assert state_of(scene, job) == ("failed", "crashed")
    assert details(scene, "job-failed")["reason"] == "crashed"


def test_a_job_that_was_stopped_by_no_fault_of_its_own_is_done_anew_however_often_behind_the_others(
    scene: Scene,
) -> None:
    permit = access.permit_in_force(scene)
    job, other = taken(scene, permit), taken(scene, permit)
    for _ in range(5):
        assert jobs.begin(scene.node, scene.hub.id, job)
        jobs.put_back(scene.node, scene.hub.id, job, "interrupted")
        assert state_of(scene, job) == ("taken", "")
        assert jobs.next_job(scene.node) == (scene.hub.id, other)
    assert details(scene, "job-stopped")["reason"] == "interrupted"
    jobs.put_back(scene.node, scene.hub.id, job, "interrupted")  # it does not run
    assert len(scene.node.audit.entries(9, action="job-stopped")) == 5


def test_a_job_in_a_process_of_its_own_has_enough_memory_with_the_least_that_can_be_set(full: Scene) -> None:
    job = running(full)
    args = (full.node.folder, full.hub.id, job)
    assert sandbox.run(job_process.compute, args, memory=1 << 28, seconds=60, should_stop=lambda: None) == ""
    assert state_of(full, job) == ("done", "")


def test_a_job_that_never_ends_is_killed_when_its_permit_is_revoked(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    job = running(scene, permit)
    permits.revoke(scene.hub, scene.clara, permit.id, "Enough.")
    access.tell_states(scene.hub, scene.node)
    word = sandbox.run(
        job_process.hang,
        (scene.node.folder, scene.hub.id, job),
        memory=1 << 28,
        seconds=60,
        should_stop=lambda: jobs.still_allowed(scene.node, scene.hub.id, job),
    )
    assert word == "revoked"


# --- delivering ---------------------------------------------------------------------------------------------------


def test_an_outcome_waits_until_it_is_delivered(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    refused, failed = taken(scene, permit, subject="mallory"), running(scene, permit)
    jobs.end(scene.node, scene.hub.id, failed, "crashed")
    assert [(item.job, item.state, item.reason) for item in jobs.undelivered(scene.node, scene.hub.id)] == [
        (refused, "refused", "no-permit"),
        (failed, "failed", "crashed"),
    ]
    jobs.delivered(scene.node, scene.hub.id, refused)
    assert [item.job for item in jobs.undelivered(scene.node, scene.hub.id)] == [failed]
    assert jobs.progress(scene.node, scene.hub.id) == {}


def test_what_has_not_ended_cannot_be_delivered(scene: Scene) -> None:
    job = running(scene)
    jobs.delivered(scene.node, scene.hub.id, job)
    jobs.compute_job(scene.node, scene.hub.id, job)
    assert [item.job for item in jobs.undelivered(scene.node, scene.hub.id)] == [job]


def test_a_result_does_not_leave_once_the_data_manager_has_taken_the_permit_back(full: Scene) -> None:
    permit = access.permit_in_force(full)
    job = running(full, permit)
    jobs.compute_job(full.node, full.hub.id, job)
    node_permits.withdraw(full.node, access.MANAGER, full.hub.id, permit.id, "No more.")
    for _ in range(2):
        (outcome,) = jobs.undelivered(full.node, full.hub.id)
        assert (outcome.state, outcome.reason, outcome.result) == ("refused", "declined", None)
    assert state_of(full, job) == ("refused", "declined")
    with full.node.engine.connect() as connection:
        assert connection.execute(select(node_jobs.c.result)).scalar_one() is None
    assert details(full, "job-refused").items() >= {"reason": "declined", "was": "done"}.items()
    assert len(full.node.audit.entries(9, action="job-refused")) == 1


def test_a_result_waits_while_the_state_of_its_permit_is_not_known_and_holds_up_no_other_outcome(full: Scene) -> None:
    permit = access.permit_in_force(full)
    finished, refused = running(full, permit), taken(full, permit, subject="mallory")
    jobs.compute_job(full.node, full.hub.id, finished)
    forget_states(full)
    assert [outcome.job for outcome in jobs.undelivered(full.node, full.hub.id)] == [refused]
    access.tell_states(full.hub, full.node)
    assert {outcome.job: outcome.state for outcome in jobs.undelivered(full.node, full.hub.id)} == {
        finished: "done",
        refused: "refused",
    }


def test_a_result_from_before_a_change_of_key_is_delivered_under_the_new_one(scene: Scene) -> None:
    done(scene)
    changed = replace(scene.node, signing=SigningKey.from_seed(b"n" * 32))
    (before,), (after,) = (jobs.undelivered(node, scene.hub.id) for node in (scene.node, changed))
    assert before.result is not None
    assert after.result is not None
    assert verify(after.result.encode(), changed.signing.public_jwk) == peek(before.result.encode())[1]


def test_the_hub_takes_the_result_of_its_own_order_once(full: Scene) -> None:
    permit = access.permit_in_force(full)
    run = runs.start(full.hub, full.rosa, [permit.id], "signal-statistics")
    opened = runs.open_jobs(full.hub, full.node.id, wire.Jobs(progress={}))
    for paper in opened.orders:
        jobs.take(full.node, full.hub.id, paper)
    found = jobs.next_job(full.node)
    assert found is not None
    jobs.begin(full.node, *found)
    told = wire.Jobs(progress=jobs.progress(full.node, full.hub.id))
    assert runs.open_jobs(full.hub, full.node.id, told) == wire.Open(orders=(), stop=())
    assert runs.get(full.hub, full.rosa, run.id).jobs[0].state == "running"
    jobs.compute_job(full.node, *found)
    for _ in range(2):
        for outcome in jobs.undelivered(full.node, full.hub.id):
            runs.outcome(full.hub, full.node.id, outcome)
    jobs.delivered(full.node, *found)
    (job,) = runs.get(full.hub, full.rosa, run.id).jobs
    assert (job.state, job.groups) == ("done", jobs.get_job(full.node, *found).released)
    assert len(full.hub.audit.entries(9, action="job-done")) == 1
    assert runs.open_jobs(full.hub, full.node.id, wire.Jobs(progress={})).orders == ()


def test_the_pool_of_two_nodes_is_what_all_their_images_give_together(full: Scene, tmp_path: Path) -> None:
    hub = full.hub
    with open_joined_node(tmp_path / "other", hub, seed=2, threshold=3, public_url=access.IMAGES_URL) as (node, joined):
        take_in(node, [image(patient, 2) for patient in ("Q1", "Q2", "Q3")])
        other = Scene(
            hub, node, joined, full.rosa, access.member(hub, node.id, "carlos"), access.share(hub, node, "Other")
        )
        chosen = [access.permit_in_force(scene).id for scene in (full, other)]
        run = runs.start(hub, full.rosa, chosen, "signal-statistics")
        for scene in (full, other):
            for paper in runs.open_jobs(hub, scene.node.id, wire.Jobs(progress={})).orders:
                jobs.take(scene.node, hub.id, paper)
            found = jobs.next_job(scene.node)
            assert found is not None
            assert jobs.begin(scene.node, *found)
            jobs.compute_job(scene.node, *found)
            for outcome in jobs.undelivered(scene.node, hub.id):
                runs.outcome(hub, scene.node.id, outcome)
        (pooled,) = runs.get(hub, full.rosa, run.id).pooled
        values = [of_patient[0] for scene in (full, other) for of_patient in ratios(scene).values()]
    together = moments.of("CT", values)
    assert (pooled.moments.n, len(pooled.released)) == (7, 2)
    assert abs(pooled.moments.mean / together.mean - 1) < Decimal("1e-12")
    assert abs(pooled.moments.m2 / together.m2 - 1) < Decimal("1e-12")


def test_a_job_that_was_never_asked_for_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        jobs.get_job(scene.node, scene.hub.id, new_id())


def test_the_list_of_jobs_says_what_left_and_what_did_not(full: Scene) -> None:
    permit = access.permit_in_force(full)
    done(full, permit)
    taken(full, permit, analysis="guess-everything")
    newest, before = jobs.list_jobs(full.node)
    assert (newest.state, newest.released, newest.threshold) == ("failed", (), None)
    assert (before.state, before.released[0].n, before.threshold) == ("done", 4, 3)
    assert before.hub_title == "Test hub"
    assert len(jobs.list_jobs(full.node, limit=1)) == 1


def test_a_data_manager_ends_a_job_for_good_and_the_hub_is_told_why(scene: Scene) -> None:
    permit = access.permit_in_force(scene)
    order = order_of(scene, permit)
    jobs.take(scene.node, scene.hub.id, paper_of(scene, order))
    assert jobs.begin(scene.node, scene.hub.id, order.id)
    ended = jobs.cancel(scene.node, "nora", scene.hub.id, order.id)
    assert (ended.state, ended.reason) == ("cancelled", "stopped-by-node")
    assert jobs.still_allowed(scene.node, scene.hub.id, order.id) == "cancelled"
    [outcome] = jobs.undelivered(scene.node, scene.hub.id)
    assert (outcome.state, outcome.reason, outcome.result) == ("cancelled", "stopped-by-node", None)
    newest = scene.node.audit.entries(1)[0]
    assert (newest.action, newest.actor, newest.subject) == ("job-cancelled", "nora", order.id)
    jobs.take(scene.node, scene.hub.id, paper_of(scene, order))  # the hub asks once more: nothing runs again
    assert jobs.next_job(scene.node) is None and jobs.open_jobs(scene.node) == []
    with pytest.raises(Conflict):
        jobs.cancel(scene.node, "nora", scene.hub.id, order.id)
    with pytest.raises(NotFound):
        jobs.cancel(scene.node, "nora", scene.hub.id, "another")


def test_a_job_that_is_just_done_is_not_cancelled_and_its_answer_stays(full: Scene) -> None:
    job = running(full)
    jobs.compute_job(full.node, full.hub.id, job)
    with pytest.raises(Conflict, match="ended already") as refused:
        jobs.cancel(full.node, "nora", full.hub.id, job)
    assert "its answer leaves" in refused.value.hint
    [outcome] = jobs.undelivered(full.node, full.hub.id)
    assert (outcome.state, outcome.result is not None) == ("done", True)
