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
from carina.interfaces.client.archive import Archive, Instance
from carina.interfaces.client.client import Client, connect
from carina.model.clock import now
from carina.model.permit import ACTIONS, Action

PERMITTED: tuple[tuple[Action, ...], ...] = (ACTIONS, ("view", "analyse"), ("retrieve", "analyse"))
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
            done.looked = _a_slice(state.nodes[0], archives[0], figures_expected)
            say(f"Looked at an image of {state.nodes[0].title}")
            _run(client, permits, done, figures_expected)
            say("An analysis came back from three nodes")
            _be_cut_off(state, client, permits, archives, done)
        say(f"After the revocation every node refused within {max(done.cut_off.values()):.1f} s")
    return done


def use(state: State) -> str:
    """Request → decisions → countersignatures → run, which stay as they are; the id of the first node's permit.

    Raises `JourneyFailed`.
    """
    done = Access()
    with _signed_in(state, "researcher") as client:
        permits = _be_permitted(state, client, done)
        _run(client, permits, done, figures_expected=False)
    return permits[0].id


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


def _look(state: State, client: Client, permits: Sequence[Permit], done: Access, visits: ExitStack) -> list[Archive]:
    """Enter each node, and try there what its committee has not granted: the node itself must refuse."""
    archives = [visits.enter_context(client.open(permit)) for permit in permits]
    for place, actions, archive in zip(state.nodes, PERMITTED, archives, strict=True):
        done.refused[place.title] = []
        instance = _first_image(archive)
        if instance is None:
            continue
        for action, reason in (("view", _picture(archive, instance)[1]), ("retrieve", _object(instance))):
            if (reason == "") != (action in actions):
                raise JourneyFailed(f"{place.title} did not keep to what its committee had granted ({action}).")
            if reason:
                done.refused[place.title].append({"asked": action, "reason": reason})
    return archives


def _first_image(archive: Archive, modality: str = "") -> Instance | None:
    """An image of the dataset, of this modality if one is named."""
    wanted = (modality,) if modality else ("CT", "MR", "PT")
    for study in archive.studies():
        for series in study.series:
            if series.modality in wanted:
                return series.instances[0]
    return None


def _picture(archive: Archive, instance: Instance) -> tuple[bytes, str]:
    """The image as the node draws it, and the reason why not."""
    path = f"/studies/{instance.study}/series/{instance.series}/instances/{instance.uid}/rendered"
    headers = {"Authorization": f"Bearer {archive.token}", "Accept": "image/png"}
    with http_client(archive.url, timeout=20) as http:
        answer = http.get(archive.dicomweb + path, headers=headers)
    if answer.status_code == 403:
        return b"", str(answer.json().get("reason"))
    if answer.status_code != 200 or not answer.content.startswith(b"\x89PNG"):
        raise JourneyFailed(f"{archive.url} did not render the image ({answer.status_code}).")
    return answer.content, ""


def _object(instance: Instance) -> str:
    """Fetch the image as a DICOM object; the reason why not."""
    try:
        instance.dataset()
    except PermitDenied as refused:
        return refused.reason
    return ""


def _a_slice(place: Place, archive: Archive, expected: bool) -> dict[str, Any]:
    """A CT slice as a picture that the node makes, and as a DICOM object."""
    instance = _first_image(archive, "CT")
    if instance is None:
        if expected:
            raise JourneyFailed(f"{place.title} has no CT to look at.")
        return {}
    picture, _ = _picture(archive, instance)
    pixels = instance.dataset().pixel_array
    return {
        "node": place.title,
        "rows": int(pixels.shape[0]),
        "columns": int(pixels.shape[1]),
        "picture_bytes": len(picture),
    }


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
    state: State, client: Client, permits: Sequence[Permit], archives: Sequence[Archive], done: Access
) -> None:
    """Each committee ends its permit; then each node must refuse the visit under it."""
    began = []
    for place, permit in zip(state.nodes, permits, strict=True):
        with _signed_in(state, f"{COMMITTEE}-{place.key}") as member:
            member.revoke(permit, "The demonstration is over")
        began.append(time.monotonic())
    for place, archive, ended in zip(state.nodes, archives, began, strict=True):
        refused = _until(f"{place.title} refused", partial(_refuses, archive))
        seconds = time.monotonic() - ended
        if seconds > _CUT_OFF_WITHIN:
            raise JourneyFailed(f"{place.title} went on for {seconds:.0f} s after the revocation.")
        done.cut_off[place.title] = round(seconds, 1)
        done.refused[place.title].append({"asked": "after the revocation", "reason": refused})
    try:
        client.run(permits)
    except NotAllowed:
        return
    raise JourneyFailed("An analysis began although its permits had ended.")


def _refuses(archive: Archive) -> str | None:
    """The reason for which the node refuses a visit now; None while it does not."""
    try:
        archive.studies()
    except PermitDenied as refused:
        return refused.reason
    return None


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
