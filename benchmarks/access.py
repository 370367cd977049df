"""What a permit costs: judging an access, a picture through the outside listener, an analysis, and being cut off."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import httpx2
from benchmarks.search import percentile
from benchmarks.services import BenchNode, running, wait
from benchmarks.table import Row
from pydicom import dcmread

from carina.app.found import NewHub, found_hub
from carina.app.hub import open_hub
from carina.app.node import join
from carina.app.site import open_node
from carina.demo.folder import free_ports
from carina.dicom.rendering import render
from carina.errors import NotFound, PermitDenied
from carina.hub import catalogue, committee
from carina.hub.nodes import invite
from carina.interfaces.client.archive import Archive
from carina.interfaces.client.client import Client, connect
from carina.model.clock import now
from carina.model.ids import ProjectId
from carina.model.permit import ACTIONS
from carina.model.principal import Principal
from carina.node import datasets, permits
from carina.node.authorise import check
from carina.storage import accounts

PASSWORD = "correct horse battery"


def access(folder: Path, place: BenchNode, count: int) -> list[Row]:
    """The rows of the table: one node with images, its own hub, one researcher; `count` pictures."""
    port, broker = free_ports([0, 0])
    url, hub = f"http://127.0.0.1:{port}", folder / "access-hub"
    found_hub(hub, folder / "keys" / "access-hub.json", NewHub("Benchmark", url, port, broker))
    with open_hub(hub) as opened:
        for name in ("rosa", "clara"):
            accounts.add_account(opened.engine, name, PASSWORD, {"researcher"})
        invitation = invite(opened, 1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running("hub", hub, url))
        node = join_and_publish(place, invitation)
        with open_hub(hub) as opened:
            committee.add(opened, node, "clara")
        stack.enter_context(running("node", place.folder, place.url))
        rosa = stack.enter_context(connect(url, account="rosa", password=PASSWORD))
        clara = stack.enter_context(connect(url, account="clara", password=PASSWORD))
        permit = permitted(rosa, clara, hub, place)
        archive = stack.enter_context(rosa.open(permit))
        rows = [
            judging(place, archive.dataset, permit, count),
            *pictures(archive, place, count),
            analysed(rosa, permit),
        ]
        return [*rows, cut_off(clara, archive, permit)]


def join_and_publish(place: BenchNode, invitation: str) -> str:
    """Join the hub with a dataset of everything; the node's id."""
    join(place.folder, invitation)
    with open_node(place.folder) as node:
        made = datasets.create(node, "bench", ProjectId("bench"), "Benchmark")
        datasets.publish(node, "bench", made.iri)
        return node.id


def permitted(rosa: Client, clara: Client, hub: Path, place: BenchNode) -> str:
    """A permit for everything, in force."""
    with open_hub(hub) as opened:
        wait(lambda: catalogue.list_datasets(opened), 60, every=0.2)
    last_day = (now() + timedelta(days=2)).date()
    words = {"project": "Benchmark", "purpose": "Measure", "organisation": "Benchmark"}
    asked = rosa.request([rosa.datasets()[0].iri], last_day=last_day, actions=ACTIONS, **words)
    clara.decide(asked.items[0], "grant", "Yes", actions=ACTIONS, last_day=last_day)
    permit = str(rosa.request_state(asked.id).items[0].permit)
    with open_node(place.folder) as node:
        wait(lambda: _countersigned(node, permit), 60, every=0.1)
    wait(lambda: rosa.permit_state(permit).usable, 60, every=0.1)
    return permit


def _countersigned(node: object, permit: str) -> bool:
    for held in permits.listed(node):  # type: ignore[arg-type]
        if held.visa.id == permit:
            with contextlib.suppress(NotFound):
                permits.countersign(node, "bench", held.hub, permit)  # type: ignore[arg-type]
            return True
    return False


def judging(place: BenchNode, dataset: str, permit: str, count: int) -> Row:
    """`authorise` in this process, against one durable write of the same records."""
    with open_node(place.folder) as node:
        [held] = [one for one in permits.listed(node) if one.visa.id == permit]
        who = Principal("rosa", held.hub, frozenset({"researcher"}), permit=permit)
        judged = times(lambda: check(node, who, dataset, "view", door="web"), count)
        written = times(lambda: node.audit.append("benchmark", "bench"), count)
    return row("judging one access", judged, "one row of the audit trail", written)


def pictures(archive: Archive, place: BenchNode, count: int) -> list[Row]:
    """Pictures through the outside listener, against drawing the same slice, and against a request for nothing."""
    series = next(one for study in archive.studies() for one in study.series if one.modality == "CT")
    instances = series.instances
    with httpx2.Client(timeout=30, trust_env=False, headers={"Authorization": f"Bearer {archive.token}"}) as client:
        paths = [
            f"{archive.dicomweb}/studies/{one.study}/series/{one.series}/instances/{one.uid}/rendered"
            for one in instances
        ]
        turn = iter(range(10**9))
        seen = times(lambda: _get(client, paths[next(turn) % len(paths)]), count)
        bare = times(lambda: _get(client, f"{archive.url}/health/live"), count)
    buffer = io.BytesIO()
    dcmread_of = instances[0].dataset()
    dcmread_of.save_as(buffer, enforce_file_format=True)
    drawn = times(lambda: render(dcmread(io.BytesIO(buffer.getvalue()))), count)
    return [
        row("a picture under a permit", seen, "drawing it alone", drawn),
        row("the same", seen, "bare HTTP", bare),
    ]


def analysed(rosa: Client, permit: str) -> Row:
    """Signal statistics over the dataset, from the press of the button to the result."""
    begun = time.perf_counter()
    run = rosa.run([permit])
    wait(lambda: rosa.run_state(run.id).ended, 300, every=0.1)
    seconds = time.perf_counter() - begun
    [job] = rosa.run_state(run.id).jobs
    if job.state != "done":
        raise SystemExit(f"the analysis ended as {job.state} {job.reason}")
    return Row("signal statistics, from start to result", f"{seconds:.1f} s", "", None)


def cut_off(clara: Client, archive: Archive, permit: str) -> Row:
    """From a revocation at the hub to the node's first refusal; 60 s are allowed."""
    begun = time.perf_counter()
    clara.revoke(permit, "The benchmark is over")
    wait(lambda: _refused(archive), 60)
    seconds = time.perf_counter() - begun
    return Row("from a revocation to the node's refusal", f"{seconds:.2f} s", "allowed: 60 s", seconds / 60)


def _refused(archive: Archive) -> bool:
    try:
        archive.studies()
    except PermitDenied:
        return True
    return False


def times(act: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` acts, after one that is not counted."""
    act()
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return found


def row(name: str, seen: Sequence[float], limit: str, bare: Sequence[float]) -> Row:
    """Two medians and their ratio."""
    ours, least = percentile(seen, 50), percentile(bare, 50)
    return Row(f"{name}, median", f"{1000 * ours:.1f} ms", f"{limit}: {1000 * least:.1f} ms", ours / least)


def _get(client: httpx2.Client, url: str) -> None:
    answer = client.get(url, headers={"Accept": "image/png, application/json"})
    if answer.status_code != 200:
        raise SystemExit(f"a request was answered with {answer.status_code}")
