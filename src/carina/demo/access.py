"""The rest of the journey that `carina demo --once` goes: ask, be permitted, look, run, be cut off.

A researcher, three committees and two data managers, each by the door that such a person has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import httpx2

from carina.app.http import http_client
from carina.demo.folder import Place, State
from carina.demo.founding import COMMITTEE
from carina.errors import CarinaError, JourneyFailed, NotAllowed, PermitDenied
from carina.interfaces.api.access_documents import Permit
from carina.interfaces.api.exports import Run
from carina.interfaces.client.archive import Archive
from carina.interfaces.client.client import Client, connect
from carina.model.clock import now
from carina.model.permit import ACTIONS, Action

PERMITTED: tuple[tuple[Action, ...], ...] = (("view", "retrieve", "analyse"), ("view", "analyse"), ("analyse",))
"""What each committee grants of the three actions that the researcher asks for, in the order of the nodes."""
_PATIENCE = 90.0  # s for a node to hear of something, or to compute
_CUT_OFF_WITHIN = 60.0  # s from a revocation to each node's refusal

T = TypeVar("T")


@dataclass
class Access:
    """What became of it.

    granted    by node: actions
    refused    by node: what was tried beyond the permit and why it was refused; then what the revocation cut off
    looked     the image that was looked at and fetched
    pooled     by group: n, mean, M2, the nodes that released it, those that did not
    jobs       by node: how its job ended, and the number of patients in each group it released
    cut_off    by node: seconds from the revocation until the node itself refused
    """

    granted: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    looked: dict[str, Any] = field(default_factory=dict)
    pooled: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cut_off: dict[str, float] = field(default_factory=dict)


def go(state: State, say: Callable[[str], None], figures_expected: bool = True) -> Access:
    """Request → decisions → countersignatures → look → run → revocation. Raises `JourneyFailed`."""
    done = Access()
    with _signed_in(state, "researcher") as client:
        permits = _be_permitted(state, client, done)
        say("Three committees have decided, and the data managers agree")
        with ExitStack() as visits:
            archives = _look(state, client, permits, done, visits)
            done.looked = _a_slice(state.nodes[0], archives[state.nodes[0].key], figures_expected)
            say(f"Looked at an image of {state.nodes[0].title}")
            _run(client, permits, done, figures_expected)
            say("An analysis came back from three nodes")
            _be_cut_off(state, client, permits, archives, done)
        say(f"After the revocation every node refused within {max(done.cut_off.values()):.1f} s")
    return done


@contextmanager
def _signed_in(state: State, name: str) -> Iterator[Client]:
    account = next(item for item in state.accounts if (item.service, item.name) == ("hub", name))
    with connect(state.hub.url, account=account.name, password=account.password) as client:
        yield client


# --- ask and be permitted -----------------------------------------------------------------------------------------


def _be_permitted(state: State, client: Client, done: Access) -> list[Permit]:
    """One request over the datasets of all nodes; each committee grants something else."""
    by_node: dict[str, str] = {dataset.node: dataset.iri for dataset in client.datasets()}
    last_day = (now() + timedelta(days=30)).date()
    made = client.request(
        [by_node[place.id] for place in state.nodes],
        project="Noise in everyday scans",
        purpose="Compare the signal-to-noise ratio of clinical images over institutions",
        organisation="University of the Demonstration",
        last_day=last_day,
        actions=ACTIONS,
        people=["Rosa Researcher"],
    )
    for place, actions in zip(state.nodes, PERMITTED, strict=True):
        with _signed_in(state, f"{COMMITTEE}-{place.key}") as member:
            [item] = [item for request, item in member.committee() if request.id == made.id]
            member.decide(item, "grant", "In line with our terms", actions=actions, last_day=last_day)
        done.granted[place.title] = list(actions)
    ids = {item.node: item.permit for item in client.request_state(made.id).items}
    for place in state.nodes:
        _agree(place, str(ids[place.id]))
    return [_in_force(client, str(ids[place.id])) for place in state.nodes]


def _agree(place: Place, permit: str) -> None:
    """The node's data manager signs the permit, once the node has it, unless the node trusts its hub."""
    found = _until(f"{place.title} had the permit", lambda: _at_node(place, permit))
    if found["state"] == "waiting":
        answer = _staff(place, "POST", f"/api/permits/{found['hub']}/{permit}", {"step": "countersign"})
        if answer.status_code != 200:
            raise JourneyFailed(f"{place.title} did not take its data manager's signature ({answer.status_code}).")


def _in_force(client: Client, permit: str) -> Permit:
    def usable() -> Permit | None:
        found = client.permit_state(permit)
        return found if found.usable else None

    return _until("a permit was in force", usable)


# --- look ---------------------------------------------------------------------------------------------------------


def _look(
    state: State, client: Client, permits: Sequence[Permit], done: Access, visits: ExitStack
) -> dict[str, Archive]:
    """Enter the nodes that permit it, look at a CT slice of the first, and try what is not permitted."""
    archives = {}
    for place, permit in zip(state.nodes, permits, strict=True):
        done.refused[place.title] = []
        try:
            archives[place.key] = visits.enter_context(client.open(permit))
        except PermitDenied as refused:
            _note(done, place, "view", refused)
    second = archives[state.nodes[1].key]
    try:
        for study in second.studies()[:1]:
            next(second.retrieve(study.uid))
    except PermitDenied as refused:
        _note(done, state.nodes[1], "retrieve", refused)
    for place in state.nodes[1:]:
        if not done.refused[place.title] and not state.data:
            raise JourneyFailed(f"{place.title} gave more than its committee had granted.")
    return archives


def _a_slice(place: Place, archive: Archive, expected: bool) -> dict[str, Any]:
    """A CT slice as a picture that the node makes, and as a DICOM object."""
    found = [series for study in archive.studies() for series in study.series if series.modality == "CT"]
    if not found and not expected:
        return {}
    instance = found[0].instances[0]
    path = f"/studies/{instance.study}/series/{instance.series}/instances/{instance.uid}/rendered"
    headers = {"Authorization": f"Bearer {archive.token}", "Accept": "image/png"}
    with http_client(archive.url, timeout=20) as http:
        answer = http.get(archive.dicomweb + path, headers=headers)
    if answer.status_code != 200 or not answer.content.startswith(b"\x89PNG"):
        raise JourneyFailed(f"{place.title} did not render the image ({answer.status_code}).")
    pixels = instance.dataset().pixel_array
    return {"node": place.title, "rows": int(pixels.shape[0]), "columns": int(pixels.shape[1])}


# --- run ----------------------------------------------------------------------------------------------------------


def _run(client: Client, permits: Sequence[Permit], done: Access, figures_expected: bool) -> None:
    """Signal statistics over all three."""
    run = client.run(permits, title="Noise in everyday scans")

    def ended() -> Run | None:
        found = client.run_state(run.id)
        return found if found.ended else None

    found = _until("the analysis ended", ended)
    for job in found.jobs:
        done.jobs[job.node_title] = {
            "state": job.state,
            "reason": job.reason,
            "groups": {moments.group: moments.n for moments in job.groups},
        }
        if job.state != "done":
            raise JourneyFailed(f"{job.node_title} did not compute the analysis ({job.state} {job.reason}).")
    if not found.pooled and figures_expected:
        raise JourneyFailed("The analysis gave no figures.")
    for pooled in found.pooled:
        moments = pooled.moments
        done.pooled.append(
            {
                "group": moments.group,
                "n": moments.n,
                "mean": float(moments.mean),
                "m2": float(moments.m2),
                "released_by": list(pooled.released),
                "not_released_by": list(pooled.withheld),
            }
        )


# --- be cut off ---------------------------------------------------------------------------------------------------


def _be_cut_off(
    state: State, client: Client, permits: Sequence[Permit], archives: dict[str, Archive], done: Access
) -> None:
    """Each committee ends its permit; then each node must refuse, a visit under it too."""
    began = {}
    for place, permit in zip(state.nodes, permits, strict=True):
        with _signed_in(state, f"{COMMITTEE}-{place.key}") as member:
            member.revoke(permit, "The demonstration is over")
        began[place.key] = time.monotonic()
    for place, permit in zip(state.nodes, permits, strict=True):
        refused = _until(
            f"{place.title} refused",
            partial(_refuses, place, permit.id, archives.get(place.key)),
        )
        seconds = time.monotonic() - began[place.key]
        if seconds > _CUT_OFF_WITHIN:
            raise JourneyFailed(f"{place.title} went on for {seconds:.0f} s after the revocation.")
        done.cut_off[place.title] = round(seconds, 1)
        done.refused[place.title].append({"asked": "after the revocation", "reason": refused})
    try:
        client.run(permits)
    except NotAllowed:
        return
    raise JourneyFailed("An analysis began although its permits had ended.")


def _refuses(place: Place, permit: str, archive: Archive | None) -> str | None:
    """The reason for which the node refuses now; None while it does not."""
    if archive is not None:
        try:
            archive.studies()
        except PermitDenied as refused:
            return refused.reason
        return None
    found = _at_node(place, permit)
    return "revoked" if found is not None and found["hub_state"] == "ended" else None


def _note(done: Access, place: Place, asked: Action, refused: PermitDenied) -> None:
    done.refused[place.title].append({"asked": asked, "reason": refused.reason})


def _at_node(place: Place, permit: str) -> dict[str, Any] | None:
    """The permit as the node's data manager sees it; None before the node has it."""
    answer = _staff(place, "GET", "/api/permits")
    if answer.status_code != 200:
        raise JourneyFailed(f"{place.title} did not show its permits ({answer.status_code}).")
    return next((dict(item) for item in answer.json() if item["id"] == permit), None)


def _staff(place: Place, method: str, path: str, content: dict[str, Any] | None = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {place.staff_token}", "Accept": "application/json"}
    with http_client(place.url, timeout=20) as http:
        return http.request(method, place.url + path, json=content, headers=headers)


def _until(what: str, look: Callable[[], T | None]) -> T:
    """What `look` gives in the end; `JourneyFailed` when that takes too long."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            found = look()
        except (PermitDenied, JourneyFailed):
            raise
        except CarinaError as error:
            raise JourneyFailed(f"While waiting until {what}: {error.message}") from error
        if found is not None:
            return found
        time.sleep(0.3)
    raise JourneyFailed(f"It took more than {_PATIENCE:.0f} s until {what}.")
