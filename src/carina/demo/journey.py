"""The journey that `carina demo --once` goes by HTTP, as a researcher and a data manager would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from carina.app.http import http_client
from carina.demo.folder import Place, State
from carina.errors import JourneyFailed
from carina.interfaces.client.client import connect
from carina.model.cohort import All, Between, OneOf, Query
from carina.model.search import NodeAnswer

QUERIES: tuple[tuple[str, Query], ...] = (
    ("CT of the chest", All((OneOf("modality", ("CT",)), OneOf("body_part", ("CHEST",))))),
    ("MR", OneOf("modality", ("MR",))),
    ("lung cancer, 50 to 80 years", All((OneOf("diagnosis", ("C34",)), Between("age", 50, 80)))),
)


@dataclass(frozen=True)
class Search:
    """What one of the searches found."""

    name: str
    patients: int
    studies: int
    nodes: dict[str, int | None]


def go(state: State, figures_expected: bool = True) -> list[Search]:
    """Home → sign in → three searches → catalogue → a dataset → each node's images. Raises `JourneyFailed`.

    `figures_expected`: with one's own images a search may rightly find fewer than the threshold.
    """
    _page(state.hub, "/")
    account = next(item for item in state.accounts if item.service == "hub" and item.role == "researcher")
    found = []
    with connect(state.hub.url, account=account.name, password=account.password) as client:
        for name, query in QUERIES:
            result = client.search(query)
            _require_all(name, result.answers, state, figures_expected)
            shown = {item.title: item.counts.patients if item.counts else None for item in result.answers}
            found.append(Search(name, result.total.patients, result.total.studies, shown))
        datasets = client.datasets()
    if len({item.node for item in datasets}) != len(state.nodes):
        raise JourneyFailed(f"The catalogue has datasets of {len(datasets)} nodes, not of {len(state.nodes)}.")
    for item in datasets:
        _page(state.hub, f"/datasets/{item.iri}")
    for place in state.nodes:
        _look_at_an_image(place, figures_expected)
    return found


def everyone(state: State) -> dict[str, int]:
    """How many patients each node (by title) gives when the hub asks it for everyone; below the threshold: 0."""
    account = next(item for item in state.accounts if item.service == "hub" and item.role == "researcher")
    with connect(state.hub.url, account=account.name, password=account.password) as client:
        answers = client.search(All(())).answers
    return {item.title: (item.counts.patients or 0) if item.counts else 0 for item in answers}


def _require_all(name: str, answers: Sequence[NodeAnswer], state: State, figures_expected: bool) -> None:
    if len(answers) != len(state.nodes):
        raise JourneyFailed(f"The search '{name}' was answered for {len(answers)} nodes, not {len(state.nodes)}.")
    for answer in answers:
        allowed = ("counted",) if figures_expected else ("counted", "below-threshold")
        if answer.state not in allowed:
            raise JourneyFailed(f"{answer.title} did not give figures for '{name}' ({answer.state}).")


def _page(place: Place, path: str) -> None:
    with http_client(place.url, timeout=10) as client:
        answer = client.get(place.url + path, headers={"Accept": "text/html"})
    if answer.status_code != 200 or "text/html" not in answer.headers.get("content-type", ""):
        raise JourneyFailed(f"The page {path} of {place.title} answered {answer.status_code}.")


def _look_at_an_image(place: Place, images_expected: bool) -> None:
    """QIDO-RS and WADO-RS as the node's staff: one study with CT, one of its CT images, rendered."""
    web = f"{place.url}/dicom-web"
    headers = {"Authorization": f"Bearer {place.staff_token}"}
    with http_client(place.url, timeout=20) as client:
        answer = client.get(
            f"{web}/studies?ModalitiesInStudy=CT&limit=1", headers={**headers, "Accept": "application/dicom+json"}
        )
        if answer.status_code == 204 and not images_expected:
            return
        study = _first(answer, place, "0020000D")
        answer = client.get(
            f"{web}/studies/{study}/instances?Modality=CT&limit=1",
            headers={**headers, "Accept": "application/dicom+json"},
        )
        series, instance = _first(answer, place, "0020000E"), _first(answer, place, "00080018")
        answer = client.get(
            f"{web}/studies/{study}/series/{series}/instances/{instance}/rendered",
            headers={**headers, "Accept": "image/png"},
        )
    if answer.status_code != 200 or not answer.content.startswith(b"\x89PNG"):
        raise JourneyFailed(f"{place.title} did not render an image ({answer.status_code}).")


def _first(answer: httpx2.Response, place: Place, tag: str) -> str:
    if answer.status_code != 200 or not answer.json():
        raise JourneyFailed(f"{place.title} found none of its images ({answer.status_code}).")
    return str(answer.json()[0][tag]["Value"][0])
