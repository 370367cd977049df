from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import literal, select, update
from tests import access
from tests.access import IMAGES_URL, Scene, open_scene
from tests.federating import open_joined_node

from carina.compute import moments
from carina.compute.groups import GROUPS
from carina.errors import BadInput, Conflict, InvalidMessage, NotFound, PermitDenied, TooMany
from carina.federation import wire
from carina.federation.papers import open_order
from carina.hub import nodes, permits, runs
from carina.hub.permits import Permit
from carina.hub.results import MOST_GROUPS
from carina.hub.runs import Run
from carina.model.clock import new_id, now, parse_stamp, stamp
from carina.model.job import ANALYSES
from carina.model.principal import Principal
from carina.node.site import Node
from carina.storage import accounts
from carina.storage.hub_schema import hub_jobs, hub_permits
from carina.storage.hub_schema import nodes as node_rows

ANALYSIS = "signal-statistics"
NONE = wire.Jobs(progress={})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path, hub_threshold=1) as made:
        yield made


@pytest.fixture
def second(scene: Scene, tmp_path: Path) -> Iterator[Node]:
    """Another node of the hub, with its own dataset and committee."""
    changes = {"title": "West node", "public_url": IMAGES_URL}
    with open_joined_node(tmp_path / "second", scene.hub, seed=2, **changes) as (node, _):
        access.publish(scene.hub, node, 2, title="Second CT")
        access.member(scene.hub, node.id, "carlos")
        yield node


def in_force(scene: Scene, **changes: Any) -> Permit:
    permit = access.permit_for(scene, **changes)
    access.hear(scene.hub, permit)
    return permit


def in_force_at(scene: Scene, node: Node, number: int, member: str = "carlos") -> Permit:
    asked = access.ask_for(scene.hub, scene.rosa, access.iri(number))
    who = Principal(member, scene.hub.id, frozenset({"researcher"}))
    permit = access.grant(scene.hub, who, asked.items[0].id)
    access.hear(scene.hub, permit)
    assert permit.node == node.id
    return permit


def started(scene: Scene, *chosen: Permit, title: str = "") -> Run:
    return runs.start(scene.hub, scene.rosa, [permit.id for permit in chosen], ANALYSIS, title)


def seen(scene: Scene, run: Run) -> Run:
    return runs.get(scene.hub, scene.rosa, run.id)


def result(scene: Scene, node: Node, job: runs.Job, values: dict[str, list[float]], /, **changes: Any) -> str:
    """What a node would sign."""
    groups = [moments.of(group, numbers) for group, numbers in values.items()]
    said = wire.Result(
        hub=scene.hub.id,
        node=node.id,
        job=job.id,
        permit=job.permit,
        dataset=job.dataset,
        version="live",
        analysis=ANALYSIS,
        analysis_version="1",
        threshold=1,
        groups=tuple(
            wire.Moments(group=item.group, n=item.n, mean=moments.digits(item.mean), m2=moments.digits(item.m2))
            for item in groups
        ),
        at=stamp(),
    )
    return node.signing.sign({**wire.write(said), **changes}).decode()


def done(scene: Scene, node: Node, job: runs.Job, values: dict[str, list[float]], /, **changes: Any) -> wire.Outcome:
    return wire.Outcome(job=job.id, state="done", reason="", result=result(scene, node, job, values, **changes))


def ended(job: runs.Job, state: Any, reason: str) -> wire.Outcome:
    return wire.Outcome(job=job.id, state=state, reason=reason, result=None)


def audited(scene: Scene, action: str) -> list[dict[str, Any]]:
    return [dict(entry.details) for entry in scene.hub.audit.entries(20, action=action)]


# --- starting -----------------------------------------------------------------------------------------------------


def test_a_run_has_one_job_for_each_permit_and_waits_for_the_nodes(scene: Scene, second: Node) -> None:
    first, other = in_force(scene), in_force_at(scene, second, 2)
    run = started(scene, first, other, title="  My run ")
    assert (run.title, run.analysis, run.account, run.cancelled_at) == ("My run", ANALYSIS, "rosa", None)
    assert [(job.node_title, job.dataset_title, job.permit, job.state) for job in run.jobs] == [
        ("Test node", "Lung CT", first.id, "waiting"),
        ("West node", "Second CT", other.id, "waiting"),
    ]
    assert run.pooled == ()
    assert audited(scene, "run-started") == [{"analysis": ANALYSIS, "permits": [first.id, other.id]}]


def test_a_run_without_a_title_has_the_analysis_s(scene: Scene) -> None:
    assert started(scene, in_force(scene)).title == "Signal statistics"


@pytest.mark.parametrize("title", ["x" * 201, "two\nlines", "\u202etxt"])
def test_a_title_that_cannot_be_shown_on_a_line_is_refused(scene: Scene, title: str) -> None:
    with pytest.raises(BadInput, match="title"):
        started(scene, in_force(scene), title=title)


def test_an_unknown_analysis_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound, match="analysis"):
        runs.start(scene.hub, scene.rosa, [in_force(scene).id], "guess")


def test_a_run_needs_a_permit_and_each_once(scene: Scene) -> None:
    permit = in_force(scene)
    with pytest.raises(BadInput, match="needs a permit"):
        started(scene)
    with pytest.raises(BadInput, match="twice"):
        started(scene, permit, permit)
    with pytest.raises(BadInput, match="at most"):
        runs.start(scene.hub, scene.rosa, [new_id() for _ in range(51)], ANALYSIS)
    assert runs.listed(scene.hub, scene.rosa) == []


def test_two_permits_for_one_dataset_would_count_its_patients_twice(scene: Scene) -> None:
    with pytest.raises(BadInput, match="same dataset"):
        started(scene, in_force(scene), in_force(scene))


def test_another_persons_permit_is_not_found_also_for_the_committee(scene: Scene) -> None:
    permit = in_force(scene)
    for who in (scene.clara, access.person(scene.hub, "olga", "operator"), access.person(scene.hub, "mallory")):
        with pytest.raises(NotFound, match="permit"):
            runs.start(scene.hub, who, [permit.id], ANALYSIS)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("waiting", "not-countersigned", "waits for the node"),
        ("declined", "declined", "refused"),
        ("withdrawn", "declined", "refused"),
    ],
)
def test_a_permit_that_its_node_has_not_put_in_force_is_refused_by_the_datasets_name(
    scene: Scene, state: str, reason: str, words: str
) -> None:
    permit = access.permit_for(scene)
    access.hear(scene.hub, permit, state)
    with pytest.raises(PermitDenied, match=f"“Lung CT” .*{words}") as refused:
        started(scene, permit)
    assert refused.value.reason == reason


def test_a_permit_for_looking_only_is_refused(scene: Scene) -> None:
    with pytest.raises(PermitDenied, match="“Lung CT” is not for analyses") as refused:
        started(scene, in_force(scene, actions=("view",)))
    assert refused.value.reason == "action-not-granted"


def test_a_permit_that_was_ended_or_has_expired_is_refused(scene: Scene) -> None:
    revoked, expired = in_force(scene), in_force(scene)
    permits.revoke(scene.hub, scene.clara, revoked.id, "Enough.")
    with scene.hub.engine.begin() as connection:
        this = hub_permits.c.id == expired.id
        connection.execute(update(hub_permits).where(this).values(expires_at=stamp(now() - timedelta(seconds=1))))
    for permit, reason in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(PermitDenied) as refused:
            started(scene, permit)
        assert refused.value.reason == reason


def test_when_one_of_several_permits_is_refused_nothing_is_started(scene: Scene, second: Node) -> None:
    good, bad = in_force_at(scene, second, 2), in_force(scene, actions=("view",))
    with pytest.raises(PermitDenied):
        started(scene, good, bad)
    assert runs.listed(scene.hub, scene.rosa) == []
    assert runs.open_jobs(scene.hub, second.id, NONE).orders == ()


def test_a_person_has_so_many_runs_at_once_and_no_more(scene: Scene) -> None:
    permit = in_force(scene)
    first = started(scene, permit)
    for _ in range(19):
        started(scene, permit)
    with pytest.raises(TooMany):
        started(scene, permit)
    runs.cancel(scene.hub, scene.rosa, first.id)
    started(scene, permit)


def test_a_run_is_seen_by_its_person_and_operators_only(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    operator = access.person(scene.hub, "olga", "operator")
    assert [item.id for item in runs.listed(scene.hub, operator)] == [run.id]
    assert runs.get(scene.hub, operator, run.id).id == run.id
    for who in (scene.clara, access.person(scene.hub, "mallory")):
        assert runs.listed(scene.hub, who) == []
        with pytest.raises(NotFound):
            runs.get(scene.hub, who, run.id)
        with pytest.raises(NotFound):
            runs.cancel(scene.hub, who, run.id)


def test_runs_are_listed_newest_first(scene: Scene) -> None:
    permit = in_force(scene)
    made = [started(scene, permit).id for _ in range(3)]
    assert [run.id for run in runs.listed(scene.hub, scene.rosa)] == sorted(made, reverse=True)


# --- nodes --------------------------------------------------------------------------------------------------------


def test_a_node_gets_the_orders_of_its_own_jobs_signed(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene), in_force_at(scene, second, 2))
    for node, job in zip((scene.node, second), run.jobs, strict=True):
        opened = runs.open_jobs(scene.hub, node.id, NONE)
        (paper,) = opened.orders
        order = open_order(paper, scene.hub.permit_key.public_jwk, hub=scene.hub.id, node=node.id)
        assert (order.id, order.run, order.permit, order.dataset) == (job.id, run.id, job.permit, job.dataset)
        assert (order.subject, order.analysis) == ("rosa", ANALYSIS)
        assert opened.stop == ()


def test_an_order_is_offered_until_the_node_says_that_it_has_it(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    assert len(runs.open_jobs(scene.hub, scene.node.id, NONE).orders) == 1
    assert len(runs.open_jobs(scene.hub, scene.node.id, NONE).orders) == 1
    told = wire.Jobs(progress={run.jobs[0].id: wire.Progress(state="taken", percent=0)})
    assert runs.open_jobs(scene.hub, scene.node.id, told) == wire.Open(orders=(), stop=())
    assert len(runs.open_jobs(scene.hub, scene.node.id, NONE).orders) == 1  # the node has lost it


def test_orders_come_oldest_first_and_not_all_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_ORDERS", 2)
    permit = in_force(scene)
    made = [started(scene, permit).jobs[0].id for _ in range(3)]
    opened = runs.open_jobs(scene.hub, scene.node.id, NONE)
    key, names = scene.hub.permit_key.public_jwk, {"hub": scene.hub.id, "node": scene.node.id}
    assert [open_order(paper, key, **names).id for paper in opened.orders] == sorted(made)[:2]


def test_progress_is_seen_by_the_researcher(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    job = run.jobs[0].id
    for state, percent in (("taken", 0), ("running", 0), ("running", 40), ("taken", 0)):
        told = wire.read(wire.Jobs, {"progress": {job: {"state": state, "percent": percent}}})
        runs.open_jobs(scene.hub, scene.node.id, told)
        assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].percent) == (state, percent)


def test_a_node_says_nothing_of_another_nodes_job(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene))
    told = wire.Jobs(progress={run.jobs[0].id: wire.Progress(state="running", percent=99)})
    assert runs.open_jobs(scene.hub, second.id, told).stop == (run.jobs[0].id,)
    assert seen(scene, run).jobs[0].state == "waiting"


def test_a_node_is_told_to_stop_what_was_cancelled_or_is_unknown(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    runs.cancel(scene.hub, scene.rosa, run.id)
    lost = new_id()
    told = wire.Jobs(progress={job: wire.Progress(state="running", percent=1) for job in (run.jobs[0].id, lost)})
    assert runs.open_jobs(scene.hub, scene.node.id, told) == wire.Open(orders=(), stop=(run.jobs[0].id, lost))
    assert (seen(scene, run).jobs[0].state, seen(scene, run).cancelled_at is not None) == ("cancelled", True)


def test_a_job_of_a_permit_that_was_ended_is_cancelled_for_that(scene: Scene) -> None:
    permit = in_force(scene)
    run = started(scene, permit)
    permits.revoke(scene.hub, scene.clara, permit.id, "Enough.")
    assert runs.open_jobs(scene.hub, scene.node.id, NONE).orders == ()
    assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].reason) == ("cancelled", "revoked")
    assert audited(scene, "job-cancelled") == [{"reason": "revoked"}]


def test_a_job_of_a_permit_that_has_expired_is_cancelled_for_that_also_without_the_node(scene: Scene) -> None:
    permit = in_force(scene)
    run = started(scene, permit)
    with scene.hub.engine.begin() as connection:
        connection.execute(update(hub_permits).values(expires_at=stamp(now() - timedelta(seconds=1))))
    assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].reason) == ("cancelled", "expired")


def test_a_job_waits_seven_days_for_its_node_and_then_has_failed(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    with scene.hub.engine.begin() as connection:
        (expires,) = connection.execute(hub_jobs.select().with_only_columns(hub_jobs.c.expires_at)).scalars()
        assert parse_stamp(expires) - parse_stamp(run.created_at) == timedelta(days=7)
        connection.execute(update(hub_jobs).values(expires_at=stamp(now() - timedelta(seconds=1))))
    assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].reason) == ("failed", "expired")
    assert audited(scene, "job-failed") == [{"reason": "expired"}]


def test_a_job_that_was_done_while_it_was_found_overdue_stays_done(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    with scene.hub.engine.begin() as connection:
        connection.execute(update(hub_jobs).values(expires_at=stamp(now() + timedelta(seconds=1))))
    with scene.hub.engine.connect() as connection:
        row = connection.execute(select(hub_jobs, literal("granted").label("permit_state"))).one()
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0]}))
    with scene.hub.engine.begin() as connection:
        runs._end_one(scene.hub, connection, row)
    assert seen(scene, run).jobs[0].state == "done"
    assert audited(scene, "job-cancelled") == audited(scene, "job-failed") == []


# --- outcomes -----------------------------------------------------------------------------------------------------


def test_a_hub_with_a_higher_threshold_shows_no_smaller_group(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0] * 4, "MR": [2.0] * 5}))
    strict = replace(scene.hub, threshold=5)
    found = runs.get(strict, scene.rosa, run.id)
    assert [group.group for group in found.jobs[0].groups] == ["MR"]
    assert found.jobs[0].threshold == 5
    assert [pooled.moments.group for pooled in found.pooled] == ["MR"]


@pytest.mark.parametrize(
    ("mean", "m2"),
    [
        ("1E+300", "1"),
        ("1", "-1"),
        ("1", "1E+300"),
        ("1E-101", "1"),
        ("-1E-9999", "1"),
        ("1", "9E-9000"),
        ("1.0000000000000000000000000000000001", "1"),
    ],
)
def test_a_result_of_impossible_numbers_is_refused(scene: Scene, mean: str, m2: str) -> None:
    run = started(scene, in_force(scene))
    body = done(scene, scene.node, run.jobs[0], {}, groups=[{"group": "CT", "n": 4, "mean": mean, "m2": m2}])
    with pytest.raises(InvalidMessage):
        runs.outcome(scene.hub, scene.node.id, body)


def test_a_result_of_zero_is_possible(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    zero = [{"group": "CT", "n": 4, "mean": "0E+0", "m2": "0E-33"}]
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {}, groups=zero))
    assert seen(scene, run).pooled[0].moments.mean == 0


@pytest.mark.parametrize(
    "names", [["SEG"], ["CT", "ct"], ["<b>"], [f"G{number}" for number in range(21)]], ids=lambda names: names[-1]
)
def test_a_result_with_groups_that_the_analysis_does_not_make_is_refused(scene: Scene, names: list[str]) -> None:
    run = started(scene, in_force(scene))
    groups = [{"group": name, "n": 4, "mean": "1", "m2": "1"} for name in names]
    with pytest.raises(InvalidMessage, match="groups"):
        runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {}, groups=groups))
    assert seen(scene, run).jobs[0].reason == "unusable-result"


def test_every_analysis_has_its_groups() -> None:
    assert GROUPS.keys() == ANALYSES.keys()
    assert all(len(groups) <= MOST_GROUPS for groups in GROUPS.values())


def test_a_result_is_taken_once_however_often_it_comes(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    body = done(scene, scene.node, run.jobs[0], {"CT": [1.0, 2.0, 6.0]})
    for _ in range(3):
        runs.outcome(scene.hub, scene.node.id, body)
    (job,) = seen(scene, run).jobs
    assert (job.state, job.percent, job.threshold, job.version) == ("done", 100, 1, "live")
    assert job.groups == (moments.of("CT", [1.0, 2.0, 6.0]),)
    assert len(audited(scene, "job-done")) == 1
    assert audited(scene, "outcome-late") == []


@pytest.mark.parametrize(
    ("state", "reason"), [("refused", "not-countersigned"), ("failed", "out-of-memory"), ("cancelled", "cancelled")]
)
def test_a_job_that_gave_nothing_says_why(scene: Scene, state: str, reason: str) -> None:
    run = started(scene, in_force(scene))
    runs.outcome(scene.hub, scene.node.id, ended(run.jobs[0], state, reason))
    assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].reason) == (state, reason)
    assert runs.open_jobs(scene.hub, scene.node.id, NONE).orders == ()


def test_after_an_end_another_outcome_changes_nothing_and_is_audited(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    runs.outcome(scene.hub, scene.node.id, ended(run.jobs[0], "failed", "crashed"))
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0]}))
    assert seen(scene, run).jobs[0].state == "failed"
    assert audited(scene, "outcome-late") == [{"state": "done", "was": "failed"}]


def test_a_result_that_comes_after_the_permit_was_ended_is_not_taken(scene: Scene) -> None:
    permit = in_force(scene)
    run = started(scene, permit)
    permits.revoke(scene.hub, scene.clara, permit.id, "Enough.")
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0]}))
    (job,) = seen(scene, run).jobs
    assert (job.state, job.reason, job.groups) == ("cancelled", "revoked", ())
    assert audited(scene, "outcome-late") == [{"state": "done", "was": "cancelled"}]


def test_a_nodes_word_that_it_stopped_what_was_cancelled_is_no_news(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    runs.cancel(scene.hub, scene.rosa, run.id)
    runs.outcome(scene.hub, scene.node.id, ended(run.jobs[0], "cancelled", "cancelled"))
    assert seen(scene, run).jobs[0].reason == ""
    assert audited(scene, "outcome-late") == []


def test_an_unknown_job_is_not_found_and_another_nodes_a_conflict(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene))
    with pytest.raises(NotFound):
        runs.outcome(scene.hub, second.id, ended(replace(run.jobs[0], id=new_id()), "failed", "crashed"))
    with pytest.raises(Conflict):
        runs.outcome(scene.hub, second.id, done(scene, second, run.jobs[0], {"CT": [1.0]}))
    assert seen(scene, run).jobs[0].state == "waiting"


def test_a_result_that_another_key_signed_is_forged_and_fails_the_job(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene))
    forged = result(scene, replace(second, id=scene.node.id), run.jobs[0], {"CT": [1.0]})
    body = wire.Outcome(job=run.jobs[0].id, state="done", reason="", result=forged)
    with pytest.raises(InvalidMessage) as refused:
        runs.outcome(scene.hub, scene.node.id, body)
    assert refused.value.reason == "forged"
    assert (seen(scene, run).jobs[0].state, seen(scene, run).jobs[0].reason) == ("failed", "unusable-result")


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "0" * 26},
        {"permit": "0" * 26},
        {"hub": f"h-{'a' * 26}"},
        {"node": f"n-{'a' * 26}"},
        {"dataset": "urn:uuid:00000000-0000-4000-8000-000000000099"},
        {"version": "3"},
        {"analysis": "another"},
        {"analysis_version": "2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_result_of_something_else_is_a_conflict(scene: Scene, changes: dict[str, str]) -> None:
    run = started(scene, in_force(scene))
    with pytest.raises(Conflict, match="not of this job"):
        runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0]}, **changes))
    assert (seen(scene, run).jobs[0].state, seen(scene, run).pooled) == ("failed", ())


@pytest.mark.parametrize(
    "groups",
    [
        [{"group": "CT", "n": 2, "mean": "1", "m2": "1"}] * 2,
        [{"group": "CT", "n": 2, "mean": "1", "m2": "-1"}],
        [{"group": "CT", "n": 0, "mean": "1", "m2": "1"}],
        [{"group": "CT", "n": 2, "mean": "NaN", "m2": "1"}],
    ],
    ids=["a group twice", "a negative spread", "nobody", "no number"],
)
def test_a_result_that_cannot_be_is_malformed(scene: Scene, groups: list[dict[str, Any]]) -> None:
    run = started(scene, in_force(scene))
    with pytest.raises(InvalidMessage) as refused:
        runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {}, groups=groups))
    assert refused.value.reason == "malformed"


def test_a_result_with_a_group_below_the_nodes_threshold_is_malformed(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    body = done(scene, scene.node, run.jobs[0], {"CT": [1.0] * 4}, threshold=5)
    with pytest.raises(InvalidMessage):
        runs.outcome(scene.hub, scene.node.id, body)


def test_a_removed_node_gives_no_results(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    body = done(scene, scene.node, run.jobs[0], {"CT": [1.0]})
    nodes.remove(scene.hub, scene.node.id)
    with pytest.raises(InvalidMessage):
        runs.outcome(scene.hub, scene.node.id, body)


# --- pooling ------------------------------------------------------------------------------------------------------


def test_what_the_nodes_released_is_pooled_and_the_others_are_named(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene), in_force_at(scene, second, 2))
    first_values, second_values = [1.0, 2.0, 4.5], [8.25, 1e-3]
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": first_values, "MR": [3.0]}))
    (partial, _) = seen(scene, run).pooled
    assert (partial.moments.n, partial.released, partial.withheld) == (3, ("Test node",), ())
    runs.outcome(scene.hub, second.id, done(scene, second, run.jobs[1], {"CT": second_values}))
    ct, mr = seen(scene, run).pooled
    together = moments.of("CT", first_values + second_values)
    assert (ct.moments.group, ct.moments.n) == ("CT", 5)
    assert abs(ct.moments.mean / together.mean - 1) < Decimal("1e-30")
    assert abs(ct.moments.m2 / together.m2 - 1) < Decimal("1e-30")
    assert (ct.released, ct.withheld) == (("Test node", "West node"), ())
    assert (mr.moments.n, mr.released, mr.withheld) == (1, ("Test node",), ("West node",))


def test_a_list_of_runs_pools_nothing(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0, 2.0]}))
    (found,) = runs.listed(scene.hub, scene.rosa)
    assert (found.jobs[0].groups[0].n, found.pooled) == (2, ())
    assert len(seen(scene, run).pooled) == 1


def test_a_node_that_refused_is_in_no_pool(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene), in_force_at(scene, second, 2))
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0, 2.0]}))
    runs.outcome(scene.hub, second.id, ended(run.jobs[1], "refused", "declined"))
    (ct,) = seen(scene, run).pooled
    assert (ct.released, ct.withheld) == (("Test node",), ())


def test_of_two_datasets_of_a_node_each_is_named(scene: Scene) -> None:
    access.publish(scene.hub, scene.node, 2, title="Other CT")
    run = started(scene, in_force(scene), in_force_at(scene, scene.node, 2, "clara"))
    for job in run.jobs:
        runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, job, {"CT": [1.0]}))
    (ct,) = seen(scene, run).pooled
    assert ct.released == ("Test node: Lung CT", "Test node: Other CT")


def test_a_silent_node_is_seen_as_one(scene: Scene) -> None:
    run = started(scene, in_force(scene))
    assert not run.jobs[0].node_online
    with scene.hub.engine.begin() as connection:
        connection.execute(update(node_rows).values(last_seen=stamp()))
    assert seen(scene, run).jobs[0].node_online


# --- cancelling ---------------------------------------------------------------------------------------------------


def test_cancelling_ends_what_has_not_ended_and_keeps_what_was_given(scene: Scene, second: Node) -> None:
    run = started(scene, in_force(scene), in_force_at(scene, second, 2))
    runs.outcome(scene.hub, scene.node.id, done(scene, scene.node, run.jobs[0], {"CT": [1.0, 2.0]}))
    cancelled = runs.cancel(scene.hub, scene.rosa, run.id)
    assert [job.state for job in cancelled.jobs] == ["done", "cancelled"]
    assert cancelled.pooled[0].moments.n == 2
    assert len(audited(scene, "run-cancelled")) == 1
    with pytest.raises(Conflict):
        runs.cancel(scene.hub, scene.rosa, run.id)


def test_a_person_who_was_shut_out_has_no_new_runs(scene: Scene) -> None:
    permit = in_force(scene)
    accounts.set_disabled(scene.hub.engine, "rosa", True)
    with pytest.raises(PermitDenied) as refused:
        started(scene, permit)
    assert refused.value.reason == "revoked"
