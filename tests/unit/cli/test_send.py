"""`carina send`, `carina node send` and the tokens of services, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.peering import free_port, station
from tests.support import ct
from tests.unit.cli.conftest import Run

from carina.app.site import open_node
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.model.principal import EVERYTHING
from carina.node import datasets, worker
from carina.node.ingest import receive
from carina.storage import accounts

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""pynetdicom leaves the socket of a connection that was refused to the garbage collector."""


def files(folder: Path) -> Path:
    folder.mkdir()
    for number in (1, 2):
        (folder / f"MRN-0001-{number}.dcm").write_bytes(ct(number=number))
    return folder


def test_files_are_sent_and_counted(run: Run, tmp_path: Path) -> None:
    with station("PACS") as there:
        said = run("send", f"127.0.0.1:{there.port}", "PACS", files(tmp_path / "in"), "--from", "DESK")
    assert said.code == 0, said
    assert said.output.split() == ["2", "sent"]
    assert (len(there.files), set(there.callers)) == (2, {"DESK"})


def test_what_is_not_taken_is_named_by_number_and_never_by_a_word_of_its_own(run: Run, tmp_path: Path) -> None:
    folder = files(tmp_path / "in")
    (folder / "Rossi.txt").write_text("no image")
    with station("PACS", answer=lambda number: 0xA700 if number == 2 else 0) as there:
        said = run("send", f"127.0.0.1:{there.port}", "PACS", folder)
    said.complaint(65, "2 of 3")
    assert "number 2: refused by the other side (status A700)" in said.output
    assert "number 3: not sent: no DICOM file" in said.output
    assert not any(word in said.output + said.error for word in ("MRN", "Rossi", str(tmp_path)))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("127.0.0.1", "PACS"), 65),
        (("127.0.0.1:0", "PACS"), 65),
        (("127.0.0.1:104", "P" * 17), 65),
        (("127.0.0.1:104", "PACS", "--from", "A\\B"), 65),
        (("127.0.0.1:104", "PACS", "--key", __file__), 65),
        (("127.0.0.1:104", "PACS", "--tls", "--authorities", __file__), 78),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    run("send", *arguments[:2], files(tmp_path / "in"), *arguments[2:]).complaint(code)


def test_a_pacs_that_does_not_answer_is_unreachable(run: Run, tmp_path: Path) -> None:
    run("send", f"127.0.0.1:{free_port()}", "PACS", files(tmp_path / "in")).complaint(69, "does not answer")


def archived(folder: Path) -> str:
    """The node's one study, of two instances; its UID."""
    with open_node(folder) as node:
        for number in (1, 2):
            receive(node, ct(number=number), Source("aet", "SCANNER"))
        while worker.work(node, "test"):
            pass
        from carina.storage.schema import studies

        with node.engine.connect() as connection:
            found = connection.execute(studies.select()).mappings().all()
    return str(found[0]["study_uid"]) if found else ""


def test_a_study_or_dataset_of_the_archive_is_sent_to_a_peer_and_released(run: Run, node: Path) -> None:
    study = archived(node)
    assert study
    with open_node(node) as opened:
        project = ProjectId(next(iter(opened.projects)))
        iri = datasets.create(opened, "dora", project, "All").iri
    with station("PACS") as there:
        with (node / "node.toml").open("a") as settings:
            settings.write(f'\n[[peers]]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {there.port}\n')
        for chosen in (("--study", study), ("--dataset", iri)):
            said = run("node", "send", node, "PACS", *chosen)
            assert said.code == 0, said
            assert said.output.split() == ["2", "sent"]
    assert {one.StudyInstanceUID for one in there.files} == {study}
    with open_node(node) as opened:
        told = list(opened.audit.entries(5, action="released"))
    assert [(entry.actor, entry.details["to"], entry.details["instances"]) for entry in told] == [
        ("operator", "peer:PACS", 2)
    ] * 2
    run("node", "send", node, "NOBODY", "--study", study).complaint(66, "no such peer")
    run("node", "send", node, "PACS", "--study", "1.2.3").complaint(66)
    run("node", "send", node, "PACS").complaint(65, "Nothing was chosen")


def test_a_token_of_a_service_is_bound_listed_and_revoked(run: Run, node: Path) -> None:
    with open_node(node) as opened:
        iri = datasets.create(opened, "dora", ProjectId(next(iter(opened.projects))), "All").iri
    role = ("--role", "service")
    secret = run("node", "token", "create", node, "robot", *role, "--may", "view", "--dataset", iri, "--days", "9")
    assert secret.code == 0 and secret.output.startswith("carina_")
    assert run("node", "token", "create", node, "viewer", *role, "--may", "retrieve", "--dataset", "*").code == 0
    run("node", "token", "create", node, "none", *role, "--dataset", iri).complaint(65, "for nothing")
    run("node", "token", "create", node, "none", *role, "--may", "view").complaint(65, "no dataset")
    run("node", "token", "create", node, "none", "--may", "view", "--dataset", iri).complaint(65, "--role service")
    unknown = "urn:uuid:00000000-0000-4000-8000-000000000000"
    run("node", "token", "create", node, "none", *role, "--may", "view", "--dataset", unknown).complaint(66)
    assert run("node", "token", "revoke", node, "viewer").code == 0
    listed = run("node", "token", "list", node).output
    robot, viewer = (next(line for line in listed.splitlines() if name in line) for name in ("robot", "viewer"))
    assert "service" in robot and "view" in robot and iri in robot and robot.split()[-1] == "good"
    assert EVERYTHING in viewer and viewer.split()[-1] == "revoked"
    assert secret.output.strip() not in listed and secret.output.strip()[-4:] not in robot
    with open_node(node) as opened:
        entry = list(opened.audit.entries(5, action="token-created"))[-1]
        assert entry.details == {"role": "service", "may": ["view"], "datasets": [iri]}
        holder = accounts.token(opened.engine, secret.output.strip())
    assert holder is not None and holder.service is not None and holder.service.datasets == {iri}
