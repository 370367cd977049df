"""Requests, permits, runs and images by the client and the commands: a hub and a node on real ports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.access import (
    PASSWORD,
    Scene,
    countersign,
    deliver,
    in_days,
    open_scene,
    own_permit,
    permit_for,
    permit_in_force,
    tell_states,
)
from tests.archive import take_in
from tests.support import ROOT, ct
from tests.unit.interfaces.client.slices import segmented

import carina
from carina.cli import permits as permits_command
from carina.cli import request as request_command
from carina.cli import runs as runs_command
from carina.errors import BadInput, BadSettings, InvalidInstance, NotFound, PermitDenied, Unreachable
from carina.federation import wire
from carina.hub import permits as hub_permits
from carina.hub import runs as hub_runs
from carina.hub.centre import Hub
from carina.interfaces.api.hub import api_routes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.node import outside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.api.visitors import entries, visitors
from carina.interfaces.client.archive import Archive, enter
from carina.interfaces.client.client import Client
from carina.interfaces.dicomweb.outside import dataset_dicomweb_routes
from carina.interfaces.web.outside import outside_pages
from carina.node import jobs
from carina.node.site import Node

Serve = Callable[[ASGIApp], AbstractContextManager[int]]
SLICES = [ct(number=number, elements={"ImagePositionPatient": [0, 0, 50 - 2.5 * number]}) for number in (3, 1, 4, 2)]
OTHERS = [ct(patient="MRN-0002", number=1), ct(study=2, series=2, number=1)]


class Relay:
    """An address that is known before what answers there is made."""

    def __init__(self) -> None:
        self.app: ASGIApp = Starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture
def scene(tmp_path: Path, serve: Serve) -> Iterator[Scene]:
    """A hub and a node whose images are at a real port; the dataset has two patients, three studies."""
    relay = Relay()
    with serve(relay) as port:
        url = f"http://node.localhost:{port}"
        with open_scene(tmp_path, real=True, public_url=url, threshold=2, hub_threshold=2) as scene:
            relay.app = outside(scene.node, url)
            assert set(take_in(scene.node, [*SLICES, *OTHERS])) == {"archived"}
            yield scene


def outside(node: Node, url: str) -> Starlette:
    identity, limit = visitors(node, secure=False), entries()
    routes = [
        *outside_routes(node, limit),
        *dataset_dicomweb_routes(node, identity.cookie, url),
        *outside_pages(node, identity, limit),
    ]
    rules = Rules(url)
    return Starlette(routes=routes, middleware=middleware(rules, identity), exception_handlers=exception_handlers())  # type: ignore[arg-type]


def hub_site(hub: Hub) -> Starlette:
    async def search(_: Any) -> Any:
        for answer in ():
            yield answer

    identity = Identity(LocalAccounts(hub.engine, hub.id), hub.id, secure=False)
    return Starlette(
        routes=api_routes(hub, identity, search, RateLimit(60, 60)),
        middleware=middleware(Rules(hub.url), identity),
        exception_handlers=exception_handlers(),
    )


@pytest.fixture
def address(scene: Scene, serve: Serve) -> Iterator[str]:
    with serve(hub_site(scene.hub)) as port:
        yield f"http://hub.localhost:{port}"


@pytest.fixture
def rosa(address: str) -> Iterator[Client]:
    with carina.connect(address, account="rosa", password=PASSWORD) as client:
        yield client


@pytest.fixture
def clara(address: str) -> Iterator[Client]:
    with carina.connect(address, account="clara", password=PASSWORD) as client:
        yield client


ASKED: dict[str, Any] = {
    "project": "Lung nodules",
    "purpose": "To find them",
    "organisation": "University of Example",
    "actions": ("view", "retrieve", "analyse"),
}


# --- requests and permits -----------------------------------------------------------------------------------------


def test_a_request_goes_from_question_to_permit(scene: Scene, rosa: Client, clara: Client) -> None:
    asked = rosa.request(rosa.datasets(), last_day=in_days(30), people=["Rosa"], **ASKED)
    [item] = asked.items
    assert (item.state, item.turn, item.dataset) == ("waiting", "committee", scene.dataset)
    [(request, waiting)] = clara.committee()
    assert (request.project, waiting.id) == ("Lung nodules", item.id)
    assert clara.decide(item, "ask", "Which scanners?").turn == "researcher"
    assert rosa.answer(item, "All of them.").turn == "committee"
    granted = clara.decide(
        item, "grant", "Sound.", actions=["retrieve"], last_day=in_days(10), conditions="No sharing."
    )
    assert granted.state == "granted"
    assert clara.committee() == []
    assert [entry[1].state for entry in clara.committee(decided=True)] == ["granted"]
    [permit] = rosa.permits()
    assert permit.id == granted.permit
    assert (permit.actions, permit.last_day, permit.conditions) == (("retrieve",), in_days(10), "No sharing.")
    assert not permit.usable
    assert permit.condition == "waits for the node"
    assert [event.words for event in rosa.request_state(asked).items[0].events] == [
        "", "Which scanners?", "All of them.", "Sound.",
    ]  # fmt: skip


def test_a_refusal_and_a_withdrawal_are_seen_by_both_sides(rosa: Client, clara: Client) -> None:
    first = rosa.request(rosa.datasets(), last_day=in_days(30), **ASKED)
    assert clara.decide(first.items[0], "refuse", "No ethics vote.").state == "refused"
    second = rosa.request(rosa.datasets(), last_day=in_days(30), **ASKED)
    assert rosa.withdraw(second.items[0].id).state == "withdrawn"
    assert [request.items[0].state for request in rosa.requests()] == ["withdrawn", "refused"]
    with pytest.raises(carina.CarinaError):
        clara.decide(second.items[0], "refuse", "Too late.")


def test_a_request_without_an_end_says_so(rosa: Client) -> None:
    with pytest.raises(BadInput, match="end date"):
        rosa.request(rosa.datasets(), last_day="", **ASKED)
    with pytest.raises(NotFound):
        rosa.request(["urn:uuid:none"], last_day=in_days(1), **ASKED)


def test_a_permit_that_was_given_back_has_ended(scene: Scene, rosa: Client) -> None:
    permit = permit_in_force(scene)
    assert rosa.permit_state(permit.id).usable
    assert rosa.revoke(permit.id).condition == "ended"
    with pytest.raises(carina.CarinaError, match="over already"):
        rosa.revoke(permit.id)


# --- images -------------------------------------------------------------------------------------------------------


def test_a_permit_opens_the_datasets_studies_as_pydicom_datasets(scene: Scene, rosa: Client) -> None:
    with rosa.open(permit_in_force(scene).id) as archive:
        assert archive.dataset == scene.dataset
        studies = archive.studies()
        assert len(studies) == 3 and len({study.patient for study in studies}) == 2
        assert all("Garcia" not in repr(study) and "MRN" not in repr(study) for study in studies)
        [series] = [series for study in studies for series in study.series if series.size == 4]
        assert (series.modality, series.body_part) == ("CT", "CHEST")
        assert [instance.number for instance in series.instances] == [1, 2, 3, 4]
        datasets = series.datasets()
    sent = {int(pydicom.dcmread(BytesIO(data)).InstanceNumber): pydicom.dcmread(BytesIO(data)) for data in SLICES}
    assert len(datasets) == 4
    for dataset in datasets:
        assert np.array_equal(dataset.pixel_array, sent[int(dataset.InstanceNumber)].pixel_array)


def test_one_instance_comes_by_itself(scene: Scene, rosa: Client) -> None:
    with rosa.open(permit_in_force(scene).id) as archive:
        [series] = [series for study in archive.studies() for series in study.series if series.size == 4]
        instance = series.instances[1]
        assert (instance.rows, instance.columns) == (32, 32)
        assert instance.dataset().SOPInstanceUID == instance.uid


def test_a_series_is_a_volume_from_foot_to_head(scene: Scene, rosa: Client) -> None:
    with rosa.open(permit_in_force(scene).id) as archive:
        [(study, series)] = [(study, one) for study in archive.studies() for one in study.series if one.size == 4]
        volume, again = series.volume(), series.volumes()
    assert isinstance(volume, carina.Volume)
    assert volume.shape == (4, 32, 32)
    assert volume.spacing == (2.5, 1, 1)
    assert volume.origin == (0, 0, 40)
    last = next(pydicom.dcmread(BytesIO(data)) for data in SLICES if pydicom.dcmread(BytesIO(data)).InstanceNumber == 4)
    assert np.array_equal(volume.array[0], last.pixel_array.astype(np.float32) - 1024)
    source = volume.source
    assert (source.node, source.dataset) == (archive.url, scene.dataset)
    assert (source.study, source.series) == (series.study, series.uid)
    assert [one.shape for one in [volume, *again]] == [(4, 32, 32)] * 2
    for shown in (archive, study, series):
        table = shown._repr_html_()
        assert table.startswith("<table>") and str(archive.token) not in table


def test_segmentations_lie_on_their_images_and_the_how_to_does_what_it_says(
    scene: Scene, rosa: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = sorted(map(pydicom.dcmread, map(BytesIO, SLICES)), key=lambda one: float(one.ImagePositionPatient[2]))
    mask = np.zeros((4, 32, 32))
    mask[1, 3:9, 4:20] = 1
    file = BytesIO()
    segmented(sources, [mask]).save_as(file)
    assert take_in(scene.node, [file.getvalue()]) == ["archived"]
    with rosa.open(permit_in_force(scene).id) as archive:
        [(study, series)] = [(study, one) for study in archive.studies() for one in study.segmentations]
        [images] = [one for one in study.series if one.modality == "CT"]
        found, alone = series.segmentation(), series.segmentation(own_grid=True)
        volume = images.volume()
        given = series.segmentation(volume, instance=series.instances[0].uid)
        with pytest.raises(InvalidInstance, match="no image"):
            series.volume()
        with pytest.raises(InvalidInstance, match="neither"):
            images.segmentation()
        with pytest.raises(BadInput, match="either"):
            series.segmentation(volume, own_grid=True)
        monkeypatch.chdir(tmp_path)
        text = (ROOT / "docs" / "how-to" / "use-data.md").read_text(encoding="utf-8")
        told = text[text.index("\n## Volumes") : text.index("\n## Only look")]
        blocks = re.findall(r"```python\n(.*?)```", told, re.DOTALL)
        assert len(blocks) == 6
        names = {"series": images, "study": study}
        for block in blocks:
            exec(block, names)  # the how-to's own words
        assert {path.name for path in tmp_path.glob("*.n*")} == {"ct.nii.gz", "ct.nrrd", "labels.nii.gz"}
    assert isinstance(found, carina.Segmentation)
    assert np.array_equal(found.labels, mask) and np.array_equal(given.labels, mask)
    assert np.array_equal(found.affine, volume.affine)
    assert alone.shape == (1, 32, 32) and np.array_equal(alone.labels[0], mask[1])
    assert found.source.dataset == scene.dataset


def test_a_search_of_many_studies_is_asked_page_by_page(
    scene: Scene, rosa: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carina.interfaces.client.archive.PAGE", 2)
    with rosa.open(permit_in_force(scene).id) as archive:
        assert len({study.uid for study in archive.studies()}) == 3


def test_a_permit_to_look_only_fetches_no_object_and_the_node_says_why(scene: Scene, rosa: Client) -> None:
    with rosa.open(permit_in_force(scene, actions=("view",)).id) as archive:
        [study, *_] = archive.studies()
        with pytest.raises(PermitDenied) as refused:
            study.series[0].datasets()
    assert refused.value.reason == "action-not-granted"


def test_a_revocation_ends_an_open_archive(scene: Scene, rosa: Client) -> None:
    permit = permit_in_force(scene)
    with rosa.open(permit.id) as archive:
        assert archive.studies()
        hub_permits.revoke(scene.hub, scene.clara, permit.id, "The project is over.")
        tell_states(scene.hub, scene.node)
        with pytest.raises(PermitDenied) as refused:
            archive.studies()
        assert refused.value.reason == "revoked"


def test_a_permit_that_waits_for_the_node_opens_nothing_yet(scene: Scene, rosa: Client) -> None:
    permit = permit_for(scene)
    deliver(scene.hub, scene.node)
    with pytest.raises(PermitDenied, match="waits for the node") as refused:
        rosa.open(permit.id)
    assert refused.value.reason == "not-countersigned"
    countersign(scene, permit)
    rosa.open(own_permit(scene, permit).id).close()


def test_a_node_without_an_address_is_said_to_offer_no_images(tmp_path: Path, serve: Serve) -> None:
    with (
        open_scene(tmp_path, real=True, public_url=None) as scene,
        serve(hub_site(scene.hub)) as port,
        carina.connect(f"http://hub.localhost:{port}", account="rosa", password=PASSWORD) as rosa,
    ):
        with pytest.raises(BadInput, match="no images"):
            rosa.request(rosa.datasets(), last_day=in_days(3), **ASKED)
        asked = rosa.request(rosa.datasets(), last_day=in_days(3), **{**ASKED, "actions": ["analyse"]})
        with carina.connect(rosa.url, account="clara", password=PASSWORD) as clara:
            clara.decide(asked.items[0], "grant", "Sound.", actions=["analyse"], last_day=in_days(3))
        deliver(scene.hub, scene.node)
        [permit] = rosa.permits()
        assert permit.public_url is None
        with pytest.raises(PermitDenied):
            rosa.open(permit)


def test_a_code_is_good_once(scene: Scene) -> None:
    permit = permit_in_force(scene)
    handover = hub_permits.handover(scene.hub, scene.rosa, permit.id)
    with enter(handover.url, handover.code) as archive:
        assert archive.studies()
    with pytest.raises(PermitDenied) as refused:
        enter(handover.url, handover.code)
    assert refused.value.reason == "used-code"


def test_the_token_is_shown_nowhere_and_worth_nothing_after_closing(scene: Scene, rosa: Client) -> None:
    archive = rosa.open(permit_in_force(scene).id)
    token = archive.token
    assert token
    assert token not in repr(archive) and token not in archive.dicomweb and token not in repr(archive.studies())
    archive.close()
    assert archive.token is None
    again = archive_at(scene, token)
    with pytest.raises(carina.NotSignedIn) as refused:
        again.studies()
    assert "open the permit again" in refused.value.hint
    again.close()


def archive_at(scene: Scene, token: str) -> Archive:
    """The scene's archive with a token of one's own."""
    handover = hub_permits.handover(scene.hub, scene.rosa, hub_permits.listed(scene.hub, scene.rosa)[0].id)
    made = enter(handover.url, handover.code)
    made._connection.leave(f"datasets/{made.dataset}/leave")
    made._connection.token = token
    return made


def test_without_pydicom_the_extra_is_named(scene: Scene, rosa: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with rosa.open(permit_in_force(scene).id) as archive:
        series = archive.studies()[0].series[0]
        monkeypatch.setitem(sys.modules, "pydicom", None)
        with pytest.raises(BadSettings) as refused:
            series.datasets()
    assert "carina[images]" in refused.value.hint


def other_node(*parts: bytes, media: str = 'multipart/related; type="application/dicom"; boundary=edge') -> Starlette:
    """Something that lets everybody in, and gives this as every series."""

    async def let_in(request: Request) -> Response:
        return JSONResponse({"token": "t", "dataset": "urn:uuid:x", "expires": "later"}, 201)

    async def give(request: Request) -> Response:
        return Response(b"".join(parts), media_type=media)

    return Starlette(
        routes=[Route("/api/enter", let_in, methods=["POST"]), Route("/datasets/{iri}/dicom-web/{rest:path}", give)]
    )


HEAD = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"


@pytest.mark.parametrize(
    ("node", "kind", "said"),
    [
        (other_node(HEAD, SLICES[0], b"\r\n", HEAD, SLICES[1][:500]), Unreachable, "broke the images off"),
        (other_node(HEAD, b"no image", b"\r\n--edge--\r\n"), InvalidInstance, "cannot be read as DICOM"),
        (other_node(b"<h1>Hello</h1>", media="text/html"), Unreachable, "no Carina node"),
    ],
)
def test_what_a_node_should_not_give_is_an_error_and_no_shorter_series(
    serve: Serve, node: Starlette, kind: type[carina.CarinaError], said: str
) -> None:
    with (
        serve(node) as port,
        enter(f"http://127.0.0.1:{port}/", "code") as archive,
        pytest.raises(kind, match=said),
    ):
        list(archive.retrieve("1.2", "1.3"))


def test_a_node_may_lie_below_a_path(serve: Serve) -> None:
    paths = []

    async def let_in(request: Request) -> Response:
        paths.append(request.url.path)
        return JSONResponse({"token": "t", "dataset": "urn:uuid:x", "expires": "later"}, 201)

    async def nothing(request: Request) -> Response:
        paths.append(request.url.path)
        return Response(status_code=204)

    app = Starlette(routes=[Route("/node/api/enter", let_in, methods=["POST"]), Route("/{rest:path}", nothing)])
    with serve(app) as port, enter(f"http://127.0.0.1:{port}/node", "code") as archive:
        assert archive.studies() == []
        assert archive.url == f"http://127.0.0.1:{port}/node"
    assert paths == ["/node/api/enter", "/node/datasets/urn:uuid:x/dicom-web/studies"]


def test_a_refusal_that_is_no_permits_is_one_too_at_a_node(serve: Serve) -> None:
    async def refuse(request: Request) -> Response:
        problem = {"error": "not-allowed", "detail": "Plain HTTP is not answered.", "hint": "Use https."}
        return JSONResponse(problem, 403, media_type="application/problem+json")

    with serve(Starlette(routes=[Route("/api/enter", refuse, methods=["POST"])])) as port:  # noqa: SIM117
        with pytest.raises(PermitDenied, match="Plain HTTP is not answered"):
            enter(f"http://127.0.0.1:{port}", "code")


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_is_begun_seen_and_cancelled(scene: Scene, rosa: Client) -> None:
    permit = rosa.permit_state(permit_in_force(scene).id)
    assert [analysis.name for analysis in rosa.analyses()] == ["signal-statistics"]
    begun = rosa.run([permit], title="A first look")
    assert (begun.title, begun.analysis, begun.ended) == ("A first look", "signal-statistics", False)
    [job] = begun.jobs
    assert (job.state, job.permit, job.dataset, job.groups) == ("waiting", permit.id, scene.dataset, ())
    assert rosa.runs() == [rosa.run_state(begun)]
    assert rosa.cancel(begun).cancelled_at is not None
    assert rosa.run_state(begun).ended
    [names, waiting] = rosa.run_csv(begun).splitlines()
    assert names == "group,node,dataset,state,n,mean,standard deviation,m2"
    assert waiting.split(",")[3] == "cancelled"


def test_a_run_needs_a_permit_to_analyse(scene: Scene, rosa: Client, clara: Client) -> None:
    look = permit_in_force(scene, actions=("view",))
    with pytest.raises(PermitDenied, match="Lung CT"):
        rosa.run([look.id])
    with pytest.raises(NotFound):
        rosa.run([permit_in_force(scene).id], "mind-reading")
    with pytest.raises(carina.CarinaError):
        clara.run([look.id])


def do_all(scene: Scene) -> None:
    """The node fetches its jobs, does them, and tells the hub."""
    for paper in hub_runs.open_jobs(scene.hub, scene.node.id, wire.Jobs(progress={})).orders:
        jobs.take(scene.node, scene.hub.id, paper)
    while (waiting := jobs.next_job(scene.node)) is not None:
        assert jobs.begin(scene.node, *waiting)
        jobs.compute_job(scene.node, *waiting)
    for outcome in jobs.undelivered(scene.node, scene.hub.id):
        hub_runs.outcome(scene.hub, scene.node.id, outcome)


def test_a_runs_numbers_come_back(
    scene: Scene, rosa: Client, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client, and by the command that waits for them."""
    begun = rosa.run([permit_in_force(scene).id])
    do_all(scene)
    run = rosa.run_state(begun)
    assert run.ended
    [pooled] = run.pooled
    assert (pooled.moments.group, pooled.moments.n, pooled.released) == ("CT", 2, ("Test node",))
    assert pooled.moments == run.jobs[0].groups[0]
    assert repr(float(pooled.moments.mean)) in rosa.run_csv(run)
    shown = command(runs_command.run, "show", run.id)
    assert f"{pooled.moments.mean:.6g}" in shown and "counts twice" in shown and "1 of 1 done." in shown
    monkeypatch.setattr(runs_command.time, "sleep", lambda _: do_all(scene))
    permit = run.jobs[0].permit
    waited = json.loads(command(runs_command.run, "start", permit, "--title", "Again", "--wait", "--json"))
    assert waited["jobs"][0]["state"] == "done"
    assert waited["pooled"][0]["mean"] == float(pooled.moments.mean)


# --- commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(address: str, rosa: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a researcher's command, and gives what it prints."""
    assert rosa.token
    monkeypatch.setenv("CARINA_HUB", address)
    monkeypatch.setenv("CARINA_TOKEN", rosa.token)

    def run(group: Any, *arguments: str) -> str:
        result: Result = CliRunner().invoke(group, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert rosa.token not in result.output
        return result.output

    return run


def test_commands_ask_and_show_what_became_of_it(
    scene: Scene, command: Callable[..., str], clara: Client, rosa: Client
) -> None:
    group = request_command.request
    options = ["--project", "Lungs", "--purpose", "To see", "--organisation", "U", "--last-day", in_days(9)]
    made = json.loads(command(group, "new", scene.dataset, *options, "--action", "retrieve", "--json"))
    assert made["actions"] == ["retrieve"]
    [item] = made["items"]
    clara.decide(item["id"], "ask", "Which scanners?")
    shown = command(group, "show", made["id"])
    assert "Which scanners?" in shown and "yours" in shown and "1 dataset." in shown
    assert "committee's turn" in command(group, "answer", item["id"], "All.")
    listed = command(group, "list")
    assert made["id"] in listed and listed.endswith("1 request.\n")
    assert [request["id"] for request in json.loads(command(group, "list", "--json"))] == [made["id"]]
    assert "Withdrawn" in command(group, "withdraw", item["id"])
    assert rosa.requests()[0].items[0].state == "withdrawn"


def test_commands_show_permits_and_give_them_back(scene: Scene, command: Callable[..., str]) -> None:
    permit = permit_in_force(scene)
    group = permits_command.permits
    assert command(group) == command(group, "list")
    assert permit.id in command(group) and "in force" in command(group)
    assert json.loads(command(group, "list", "--json"))[0]["usable"] is True
    assert "Used        view 0, retrieve 0, analyse 0" in command(group, "show", permit.id)
    assert json.loads(command(group, "show", permit.id, "--json"))["id"] == permit.id
    assert "Ended" in command(group, "revoke", permit.id)
    assert "ended" in command(group)


def test_commands_begin_show_export_and_cancel_runs(scene: Scene, command: Callable[..., str], tmp_path: Path) -> None:
    permit = permit_in_force(scene)
    group = runs_command.run
    begun = json.loads(command(group, "start", permit.id, "--title", "Look", "--json"))
    assert "0 of 1 done." in command(group, "show", begun["id"])
    assert "going on" in command(group, "list")
    assert json.loads(command(group, "export", begun["id"], "--format", "json"))["id"] == begun["id"]
    command(group, "export", begun["id"], "--output", str(tmp_path / "run.csv"))
    assert (tmp_path / "run.csv").read_bytes().startswith(b"group,node,dataset,state,n,mean,standard deviation,m2\r\n")
    assert "Cancelled" in command(group, "cancel", begun["id"])
    assert json.loads(command(group, "list", "--json"))[0]["cancelled_at"]
    assert json.loads(command(group, "show", begun["id"], "--json"))["jobs"][0]["state"] == "cancelled"


@pytest.mark.parametrize("group", [request_command.request, permits_command.permits, runs_command.run])
def test_every_command_has_help(group: Any) -> None:
    assert group.help
    assert all(command.help for command in group.commands.values())


def test_requests_permits_and_runs_need_the_light_base_install_only() -> None:
    program = (
        "import sys, carina; carina.Permit; carina.Run; carina.Volume; carina.Archive\n"
        "import carina.cli.request, carina.cli.permits, carina.cli.runs\n"
        "print(sorted({'starlette', 'pydantic', 'sqlalchemy', 'jinja2', 'cryptography', 'numpy', 'pydicom', 'uvicorn'}"
        " & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
