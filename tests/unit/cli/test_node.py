"""`carina node …` on a real folder."""

from __future__ import annotations

import getpass
import json
import re
import shlex
import stat
import threading
from pathlib import Path

import click
import pytest
from tests.reviewing import hold, ultrasound
from tests.support import ROOT, ct
from tests.unit.cli.conftest import Run, Said

from carina.app.site import open_node
from carina.cli.main import carina
from carina.cli.node_status import _pixel_lines
from carina.model.instance import Source
from carina.node import worker
from carina.node.ingest import receive
from carina.storage.accounts import add_account
from carina.storage.schema import hubs

INIT = ("--title", "Hospital Ficticio", "--institution", "Hospital Ficticio", "--country", "es")
PASSWORD = "correct horse battery"
HEADER = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"
ROW = "MRN-0001,,F,1960-01-02,C34.1,8140/3,2024-03-01,IIIA,surgery,alive\n"


def archive(folder: Path) -> None:
    """Do what the workers of a running node do, until nothing waits."""
    with open_node(folder) as opened:
        while worker.work(opened, "test"):
            pass


# --- founding ---------------------------------------------------------------------------------------------------------


def test_init_makes_a_node_whose_keys_lie_outside_and_have_a_backup(run: Run, tmp_path: Path) -> None:
    said = run("node", "init", tmp_path / "node", *INIT, "--key-backup", tmp_path / "safe" / "keys.json")
    assert said.code == 0 and "is ready in" in said.output and "carina node serve" in said.output
    keys, backup = tmp_path / "node-keys" / "node.json", tmp_path / "safe" / "keys.json"
    assert keys.read_bytes() == backup.read_bytes()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (keys, backup, tmp_path / "node")] == [0o600, 0o600, 0o700]
    assert 'country = "ES"' in (tmp_path / "node" / "node.toml").read_text()
    assert run("node", "audit", tmp_path / "node").output == "The audit trail is whole, up to row 0.\n"


def test_init_leaves_a_node_that_is_there_alone(run: Run, node: Path, tmp_path: Path) -> None:
    before = (node / "node.toml").read_bytes()
    run("node", "init", node, *INIT, "--key-backup", "-").complaint(
        73, "already", "Hospital Ficticio", "another folder"
    )
    assert (node / "node.toml").read_bytes() == before
    assert not (tmp_path / "node-keys").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--country", "Spain", "--key-backup", "safe.json"), 65, "--country"),
        (("--title", " ", "--key-backup", "safe.json"), 65, "--title"),
        (("--inside-port", "70000", "--key-backup", "safe.json"), 65, "--inside-port"),
        (("--ae-title", "A" * 17, "--key-backup", "safe.json"), 65, "--ae-title"),
        (("--project", "Lung Cancer", "--key-backup", "safe.json"), 65, "--project"),
        (("--keys", "node/keys.json", "--key-backup", "safe.json"), 78, "--keys"),
        (("--key-backup", "node/keys.json"), 65, "back-up"),
        (("--key-backup", "node-keys/node.json"), 65, "back-up"),
        (("--key-backup", "occupied"), 65, "back-up"),
    ],
)
def test_an_init_that_is_refused_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("occupied").write_text("something else")
    run("node", "init", "node", *INIT, *arguments).complaint(code, word)
    assert [path.name for path in tmp_path.rglob("*")] == ["occupied"]
    assert run("node", "init", "node", *INIT, "--key-backup", "safe.json").code == 0


def test_keys_are_never_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("other keys")
    said = run("node", "init", tmp_path / "node", *INIT, "--keys", tmp_path / "keys.json", "--key-backup", "-")
    said.complaint(75, "keys are never overwritten")
    assert (tmp_path / "keys.json").read_text() == "other keys"
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("command", ["serve", "status", "audit", "join"])
def test_a_folder_that_is_no_node_is_named_as_such(run: Run, tmp_path: Path, command: str) -> None:
    run("node", command, tmp_path, typed=b"\n").complaint(78, "There is no node.toml", "carina node init")


def test_an_unknown_setting_stops_every_command_and_is_named(run: Run, node: Path) -> None:
    with (node / "node.toml").open("a") as file:
        file.write('\n[colours]\nsky = "blue"\n')
    run("node", "status", node).complaint(78, "colours", "docs/reference/settings.md")


# --- people and tokens ------------------------------------------------------------------------------------------------


def test_accounts_are_made_once_and_get_new_passwords(run: Run, node: Path) -> None:
    add = ("node", "account", "add", node)
    assert run(*add, "ana", "--password", PASSWORD).output == "ana can sign in.\n"
    run(*add, "ana", "--password", PASSWORD).complaint(73, "already")
    run(*add, "eva", "--password", "short").complaint(65, "10 to 1000")
    run(*add, "Not A Name", "--password", PASSWORD).complaint(65, "name")
    assert run("node", "account", "password", node, "ana", "--password", "x" * 12).code == 0
    run("node", "account", "password", node, "nobody", "--password", PASSWORD).complaint(66, "no account")


def test_a_token_is_shown_once_listed_and_revoked(run: Run, node: Path) -> None:
    secret = run("node", "token", "create", node, "pacs", "--days", "30").output.strip()
    assert secret.startswith("carina_")
    run("node", "token", "create", node, "pacs").complaint(73, "token of this name")
    run("node", "token", "create", node, "other", "--days", "0").complaint(65, "days")
    listed = run("node", "token", "list", node).output
    assert "pacs" in listed and "good" in listed and secret not in listed
    assert run("node", "token", "revoke", node, "pacs").code == 0
    assert "revoked" in run("node", "token", "list", node).output
    run("node", "token", "revoke", node, "nobody").complaint(66, "no token")


# --- images -----------------------------------------------------------------------------------------------------------


def test_files_and_folders_are_taken_in_and_counted(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "some" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a", "some/b.dcm", "some/deep/c")):
        (tmp_path / name).write_bytes(ct(number=number))
    said = run("node", "ingest", node, tmp_path / "a", tmp_path / "some", "--source", "/nowhere/inbox")
    assert (said.code, said.output.split(), said.error) == (0, ["3", "received"], "")
    assert json.loads(run("node", "status", node, "--json").output)["spool"]["waiting"] == 3
    archive(node)
    status = json.loads(run("node", "status", node, "--json").output)
    assert status["archive"] == {"patients": 1, "studies": 1, "series": 1, "instances": 3}
    assert "3 instances" in run("node", "status", node).output


def test_a_file_below_a_known_folder_has_that_folder_as_its_source(run: Run, node: Path, tmp_path: Path) -> None:
    text = (node / "node.toml").read_text().replace("/nowhere/inbox", str(tmp_path / "inbox"))
    (node / "node.toml").write_text(text)
    for place in ("inbox/today", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.dcm").write_bytes(ct(number=len(place)))
        assert run("node", "ingest", node, tmp_path / place).code == 0
    archive(node)
    status = json.loads(run("node", "status", node, "--json").output)
    assert (status["archive"]["instances"], status["quarantine"]) == (1, {"unmapped-source": 1})


def test_what_is_refused_is_counted_kept_and_ends_with_65(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(ct())
    (tmp_path / "in" / "Garcia_Maria.dcm").write_bytes(b"a letter about Maria Garcia")
    said = run("node", "ingest", node, tmp_path / "in")
    said.complaint(65, "1 of 2 files")
    assert "1 received" in said.output and "1 refused: The bytes are no DICOM file." in said.output
    assert "Garcia" not in said.output + said.error
    assert "not-dicom" in run("node", "quarantine", "list", node).output


def test_an_empty_folder_or_a_missing_file_is_said(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run("node", "ingest", node, tmp_path / "empty").complaint(65, "no files")
    missing = run("node", "ingest", node, tmp_path / "missing")
    assert missing.code == 2 and "does not exist" in missing.error


def test_quarantine_is_listed_retried_and_discarded(run: Run, node: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(ct(number=number))
    assert run("node", "ingest", node, *sorted(tmp_path.glob("*.dcm"))).code == 0  # from no known folder
    archive(node)
    rows = json.loads(run("node", "quarantine", "list", node, "--json").output)
    assert [(row["reason"], row["count"]) for row in rows] == [("unmapped-source", 3)]
    reason = ("--reason", "unmapped-source")
    entries = json.loads(run("node", "quarantine", "list", node, *reason, "--json").output)
    assert [entry["modality"] for entry in entries] == ["CT"] * 3
    assert entries[0]["id"] in run("node", "quarantine", "list", node, *reason).output

    assert run("node", "quarantine", "retry", node, entries[0]["id"]).output == "1 will be tried again.\n"
    run("node", "quarantine", "retry", node, entries[0]["id"]).complaint(66, "Not all of these are in quarantine")
    run("node", "quarantine", "retry", node).complaint(65, "Name ids, or filters")
    refused = run("node", "quarantine", "discard", node, *reason, typed=b"n\n")
    assert refused.code == 130 and "ended" in refused.error
    assert (
        run("node", "quarantine", "discard", node, *reason, "--yes").output
        == "2 discarded. `restore` takes them back within 24 hours.\n"
    )
    assert "Nothing is in quarantine." in run("node", "quarantine", "list", node).output
    archive(node)
    assert len(json.loads(run("node", "quarantine", "list", node, *reason, "--json").output)) == 1


def test_what_was_discarded_is_taken_back_or_destroyed_at_once(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no image")
    run("node", "ingest", node, tmp_path / "letter.txt")
    reason = ("--reason", "not-dicom")
    run("node", "quarantine", "discard", node, *reason, "--yes")
    [gone] = json.loads(run("node", "quarantine", "list", node, "--discarded", "--json").output)
    assert gone["state"] == "discarded" and gone["kept_until"]
    assert run("node", "quarantine", "restore", node, gone["id"]).output == "1 taken back.\n"
    shown = run("node", "quarantine", "show", node, gone["id"]).output
    assert "not-dicom" in shown and "discard, retry" in shown
    assert run("node", "quarantine", "discard", node, *reason, "--now", "--yes").output == "1 destroyed.\n"
    run("node", "quarantine", "restore", node, gone["id"]).complaint(66, "Not all of these")
    assert json.loads(run("node", "quarantine", "list", node, "--discarded", "--json").output) == []


def test_the_trail_is_narrowed_and_exported_and_jobs_are_listed(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no image")
    run("node", "ingest", node, tmp_path / "letter.txt")
    assert "quarantined" in run("node", "audit", node, "--action", "quarantined").output
    place = tmp_path / "audit.jsonl"
    assert (
        f"Rows written to {place}: 1."
        in run("node", "audit", node, "--action", "quarantined", "--export", place).output
    )
    assert json.loads(place.read_text())["action"] == "quarantined"
    run("node", "audit", node, "--export", place).complaint(73, "already")
    assert run("node", "audit", node, "--export", "-", "--form", "csv").output.startswith("seq,at,")
    assert "audit-exported" in run("node", "audit", node, "--list").output
    run("node", "audit", node, "--since", "today").complaint(65, "no day")
    assert run("node", "job", "list", node).output == "No job waits or runs.\n"
    run("node", "job", "cancel", node, "nothing").complaint(66, "No job of this id")


# --- datasets ---------------------------------------------------------------------------------------------------------


def test_a_dataset_goes_from_draft_to_published_to_withdrawn(run: Run, node: Path) -> None:
    made = run("node", "dataset", "create", node, "--project", "lung", "--title", "Lung CT", "--query", "modality=CT")
    iri = made.output.strip()
    assert iri.startswith("urn:uuid:")
    assert "draft" in run("node", "dataset", "list", node).output
    run("node", "dataset", "withdraw", node, iri).complaint(73, "not published")
    assert "fewer than 10 patients" in run("node", "dataset", "publish", node, iri).output
    assert "published" in run("node", "dataset", "list", node).output
    assert run("node", "dataset", "withdraw", node, iri).output == "Withdrawn.\n"
    assert json.loads(run("node", "status", node, "--json").output)["datasets"]["withdrawn"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--project", "breast", "--title", "T"), 66, "no such project"),
        (("--project", "Not One", "--title", "T"), 65, "no name for a project"),
        (("--project", "lung", "--title", " "), 65, "title"),
        (("--project", "lung", "--title", "T", "--query", "modality"), 65, "modality=CT"),
        (("--project", "lung", "--title", "T", "--query", "colour=red"), 65, "colour"),
        (("--project", "lung", "--title", "T", "--query", "age=old"), 65, "age"),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(
    run: Run, node: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    run("node", "dataset", "create", node, *arguments).complaint(code, word)
    assert json.loads(run("node", "status", node, "--json").output)["datasets"]["draft"] == 0


def test_an_unknown_dataset_is_not_found(run: Run, node: Path) -> None:
    for verb in ("publish", "withdraw"):
        run("node", "dataset", verb, node, "urn:uuid:nothing").complaint(66, "no such dataset")


# --- clinical data and merged identifiers -----------------------------------------------------------------------------


def test_clinical_rows_of_persons_without_images_wait_for_them(run: Run, node: Path, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(ct("MRN-0001"))
    run("node", "ingest", node, tmp_path / "a.dcm", "--source", "/nowhere/inbox")
    archive(node)
    (tmp_path / "t.csv").write_text(HEADER + ROW + ROW.replace("MRN-0001", "MRN-0002"))
    said = run("node", "clinical", "import", node, tmp_path / "t.csv", "--project", "lung")
    assert (said.code, said.error) == (0, "")
    assert said.output.splitlines() == [
        "2 rows of 2 persons are kept.",
        "1 of these persons have no images here yet; their rows wait for them.",
    ]


def test_a_bad_table_names_line_and_column_and_quotes_nothing(run: Run, node: Path, tmp_path: Path) -> None:
    bad = ROW.replace("MRN-0001", "MRN-SECRET").replace("C34.1", "LUNGENKREBS").replace("1960-01-02", "02.01.1960")
    (tmp_path / "t.csv").write_text(HEADER + ROW + bad)
    said = run("node", "clinical", "import", node, tmp_path / "t.csv", "--project", "lung")
    line = said.complaint(65, "line 3, topography", "line 3, birth_date", "clinical-data.md")
    assert not any(value in line + said.output for value in ("SECRET", "LUNGENKREBS", "02.01.1960"))
    (tmp_path / "t.csv").write_text(HEADER + ROW)
    again = run("node", "clinical", "import", node, tmp_path / "t.csv", "--project", "lung")
    assert "1 rows of 1 persons" in again.output


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"patient_id;sex\n1;F\n", "first line"),
        ((HEADER + ROW).encode("utf-16"), "UTF-8"),
        ((HEADER + 'x,"').encode(), "no CSV"),
        (b"", "first line"),
    ],
)
def test_what_is_no_clinical_table_is_refused(run: Run, node: Path, tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    run("node", "clinical", "import", node, tmp_path / "t.csv", "--project", "lung").complaint(65, word)
    run("node", "clinical", "import", node, tmp_path / "t.csv", "--project", "other").complaint(
        65 if word == "UTF-8" else 66
    )


def test_merged_identifiers_make_one_person_of_two(run: Run, node: Path, tmp_path: Path) -> None:
    table = b"old_issuer,old_id,new_issuer,new_id\n,MRN-OLD,HOSPITAL,MRN-NEW\n"
    assert run("node", "alias", "import", node, "-", typed=table).output == "1 merged identifiers are kept.\n"
    for number, patient in enumerate(("MRN-OLD", "MRN-NEW")):
        (tmp_path / f"{number}.dcm").write_bytes(ct(patient))
    run("node", "ingest", node, *tmp_path.glob("*.dcm"), "--source", "/nowhere/inbox")
    archive(node)
    status = json.loads(run("node", "status", node, "--json").output)
    assert (status["archive"]["patients"], status["archive"]["studies"]) == (1, 2)


@pytest.mark.parametrize(
    ("table", "code", "word"),
    [
        (b"old,new\nA,B\n", 65, "columns"),
        (b"old_issuer,old_id,new_issuer,new_id\n,MRN-A,,MRN-B\n,,,MRN-C\n", 65, "Line 3"),
        (b"old_issuer,old_id,new_issuer,new_id\n,MRN-A,,MRN-B\n,MRN-B,,MRN-A\n", 73, "loop"),
        (b"old_issuer,old_id,new_issuer,new_id\n,MRN-A,,MRN-A\n", 73, "Line 2"),
        ("old_issuer,old_id,new_issuer,new_id\n,Ä,,B\n".encode("latin-1"), 65, "UTF-8"),
    ],
)
def test_bad_merges_are_refused_as_a_whole(run: Run, node: Path, table: bytes, code: int, word: str) -> None:
    said = run("node", "alias", "import", node, "-", typed=table)
    assert "MRN-" not in said.complaint(code, word)
    assert not (node / "aliases").exists()


# --- trust ------------------------------------------------------------------------------------------------------------


def test_a_changed_audit_trail_is_found(run: Run, node: Path) -> None:
    run("node", "token", "create", node, "pacs")
    run("node", "token", "revoke", node, "pacs")
    assert "whole, up to row 2" in run("node", "audit", node).output
    with open_node(node) as opened, opened.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'nobody' WHERE seq = (SELECT min(seq) FROM audit)")
    run("node", "audit", node).complaint(73, "audit trail")


def test_serving_one_folder_twice_is_refused(run: Run, node: Path) -> None:
    from carina.app.processes import only_one

    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with only_one(node):
            held.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    run("node", "serve", node).complaint(75, "already runs")
    free.set()
    thread.join()


def test_a_merge_can_be_taken_back_and_the_identifiers_are_never_shown(run: Run, node: Path, tmp_path: Path) -> None:
    table = tmp_path / "merges.csv"
    table.write_text("old_issuer,old_id,new_issuer,new_id\n,OLD-1,,NEW-1\nHUS,OLD-2,,NEW-1\n")
    assert run("node", "alias", "import", node, table).code == 0
    assert run("node", "alias", "status", node).output == "2 merged identifiers are kept.\n"
    assert (
        run("node", "alias", "separate", node, typed=b"OLD-1\n").output == "The identifier stands for itself again.\n"
    )
    assert run("node", "alias", "separate", node, "--issuer", "HUS", typed=b"OLD-2\n").code == 0
    assert run("node", "alias", "status", node).output == "0 merged identifiers are kept.\n"
    again = run("node", "alias", "separate", node, typed=b"OLD-1\n")
    assert again.code != 0 and "OLD-1" not in again.output + again.error
    assert run("node", "alias", "separate", node, typed=b"\n").code != 0


def test_a_hub_can_be_left(run: Run, node: Path) -> None:
    hub = "h-" + "a" * 26
    row: dict[str, object] = {"id": hub, "title": "Test hub",
           "url": "http://127.0.0.1:1", "broker": "127.0.0.1:2", "broker_ca": "",
           "key": {}, "joined_at": "2026-01-01T00:00:00.000000Z", "state": "joined", "last_contact": None}  # fmt: skip
    with open_node(node) as opened, opened.engine.begin() as connection:
        connection.execute(hubs.insert(), row)
    assert "joined" in run("node", "hub", "list", node).output
    assert run("node", "hub", "leave", node, hub).output == f"Left {hub}.\n"
    assert "left" in run("node", "hub", "list", node).output
    assert run("node", "hub", "leave", node, "h-" + "b" * 26).code != 0


@pytest.mark.parametrize("page", ["run-a-node.md", "clinical-data.md", "sample-data.md", "use-data.md"])
def test_the_commands_of_the_how_tos_are_as_the_command_line_has_them(page: str) -> None:
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for line in re.findall(r"^(?:\$ )?carina .*$", text, re.MULTILINE)]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = carina
        context = click.Context(carina, info_name="carina")
        while isinstance(command, click.Group) and (words or not command.invoke_without_command):
            name, found, words = command.resolve_command(context, words)
            assert found is not None, line
            command, context = found, click.Context(found, info_name=name, parent=context)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        required = [item for item in command.params if isinstance(item, click.Argument) and item.required]
        given = [word for word in words if word.startswith("--")]
        assert [word for word in given if word not in options] == [], line
        flags = {word for item in command.params if getattr(item, "is_flag", False) for word in item.opts}
        plain = len(words) - len(given) - sum(word not in flags for word in given)
        assert plain >= len(required), line


def test_titles_are_shown_as_they_are(node: Path, run: Run) -> None:
    title = "Lung [conceal]CT[/x]"
    assert run("node", "dataset", "create", node, "--project", "lung", "--title", title).code == 0
    assert title in run("node", "dataset", "list", node).output


def test_the_evidence_of_a_dataset_is_printed_or_written(run: Run, node: Path, tmp_path: Path) -> None:
    made = run("node", "dataset", "create", node, "--project", "lung", "--title", "All").output.strip()
    found = json.loads(run("node", "evidence", node, made).output)
    assert found["evidence"]["dataset"]["iri"] == made
    assert run("node", "evidence", node, made, "--out", tmp_path / "e.json").code == 0
    assert json.loads((tmp_path / "e.json").read_text())["evidence"]["node"] == found["evidence"]["node"]
    run("node", "evidence", node, "urn:uuid:0").complaint(66, "no such dataset")


def test_the_way_back_is_audited_even_when_it_leads_nowhere(run: Run, node: Path) -> None:
    run("node", "reveal", node, "PAAAAAAAAAAAAAAAA", "--actor", "ana").complaint(66, "does not have this pseudonym")
    with open_node(node) as opened:
        assert [one.actor for one in opened.audit.entries(1, action="revealed")] == ["ana"]


def test_who_looks_is_the_account_of_the_machine_unless_it_is_said(run: Run, node: Path) -> None:
    run("node", "reveal", node, "DOE^JOHN 12345").complaint(65, "no pseudonym")
    with open_node(node) as opened:
        entries = opened.audit.entries(1, action="revealed")
    assert [(one.actor, one.subject) for one in entries] == [(getpass.getuser(), "")]


def test_the_status_says_what_the_pixel_check_could_not_do() -> None:
    found = {"pixels": {"looked_at": 0, "failed": 2, "waiting": 3}, "text_finder": "unavailable"}
    first, second = _pixel_lines(found)
    assert first == "Pixels: 0 searched for text, 3 wait to be searched, 2 could not be searched"
    assert "The text finder cannot start. Run the set-up again" in second
    assert list(_pixel_lines({"pixels": {"looked_at": 0}, "text_finder": ""})) == []


def test_datasets_what_was_asked_and_the_trail_are_for_programs_too(run: Run, node: Path) -> None:
    with open_node(node) as opened:
        for number in (1, 2):
            receive(opened, ct(number=number), Source("aet", "SCANNER"))
        while worker.work(opened, "test"):
            pass
    iri = run("node", "dataset", "create", node, "--project", "lung", "--title", "Lung CT").output.strip()
    run("node", "dataset", "publish", node, iri)
    [listed] = json.loads(run("node", "dataset", "list", node, "--json").output)
    assert (listed["iri"], listed["state"]) == (iri, "published")
    told = json.loads(run("node", "dataset", "show", node, iri, "--json").output)
    assert (told["images"], told["studies"], told["in_step"]) == (2, 1, True)
    said = run("node", "dataset", "show", node, iri).output
    assert "permits in force" in said and "fewer than" in said and "Traceback" not in said
    run("node", "dataset", "show", node, "urn:uuid:none").complaint(66, "dataset")
    study = run("node", "arrivals", node).output
    assert "Last image (UTC)" in study and "receiving" in study
    asked = json.loads(run("node", "asked", node, "--json").output)
    assert asked == {
        "jobs": [],
        "given": [],
        "searches": [],
        "more": dict.fromkeys(("jobs", "given", "searches"), False),
    }
    with open_node(node) as opened:
        opened.audit.append("retrieved", "rosa", "1.2.3", hub="h-x", permit="p1", dataset=iri, instances=3)
        opened.audit.append("search-answered", "h-x", "s1", state="counted", variables=["sex"])
    said = run("node", "asked", node).output
    assert "Analyses: none." in said and "rosa" in said and "counted" in said and "sex" in said
    assert "rosa" not in run("node", "asked", node, "--account", "nobody").output
    run("node", "asked", node, "--since", "2026-02-31").complaint(65, "no day")
    rows = json.loads(run("node", "audit", node, "--action", "archived", "--json").output)["entries"]
    assert [row["action"] for row in rows] == ["archived"] * 2
    assert json.loads(run("node", "audit", node, "--json").output)["state"] == "whole"


def test_a_reader_decides_at_the_terminal(run: Run, node: Path, tmp_path: Path) -> None:
    with open_node(node) as opened:
        add_account(opened.engine, "nora", PASSWORD, {"data-manager"})
        first, second = (hold(opened, ultrasound(number), source=Source("aet", "SCANNER")) for number in (1, 2))
    [one, _] = json.loads(run("node", "review", "list", node, "--json").output)
    assert one["id"] == first and "0 of 1" in run("node", "review", "list", node).output
    picture = tmp_path / "look.png"
    nora = ("--account", "nora", "--password", PASSWORD)
    assert "12,16,36,232; 12,470,36,624" in run("node", "review", "show", node, first).output
    run("node", "review", "show", node, first, "--picture", picture).complaint(65, "account of their own")
    wrong = ("--account", "nora", "--password", "wrong")
    run("node", "review", "show", node, first, "--picture", picture, *wrong).complaint(77, "password is wrong")
    assert not picture.exists()
    run("node", "review", "show", node, first, "--picture", picture, *nora)
    assert picture.read_bytes().startswith(b"\x89PNG")
    run("node", "review", "show", node, first, "--picture", picture, *nora).complaint(73, "already")

    def decide(*words: str, of: str = first) -> Said:
        return run("node", "review", "decide", node, of, *words, *nora)

    for unclear in (("accept",), ("accept", "--proposed", "--no-text"), ("reject", "--proposed")):
        decide(*unclear).complaint(65, "not clear")
    decide("accept", "--box", "1,2,x,4").complaint(65, "four numbers")
    decide("accept", "--box", "0,0,9999,9").complaint(65, "outside")
    run("node", "review", "decide", node, first, "reject").complaint(65, "account of their own")
    assert "back to the workers" in decide("accept", "--proposed").output
    assert "Rejected" in decide("reject", of=second).output
    decide("reject", of=second).complaint(66, "waits for a reader")
    with open_node(node) as opened:
        assert [entry.action for entry in opened.audit.entries(9) if entry.actor == "nora"][:2] == [
            "quarantine-discarded", "image-decided"]  # fmt: skip
    assert "No image waits" in run("node", "review", "list", node).output


def test_who_sent_what_no_project_has_is_shown_only_when_asked_for(run: Run, node: Path) -> None:
    with open_node(node) as opened:
        for number in (1, 2):
            receive(opened, ct(number=number), Source("aet", "STRANGER"))
        while worker.work(opened, "test"):
            pass
    first, second = json.loads(run("node", "quarantine", "list", node, "--reason", "unmapped-source", "--json").output)
    assert "STRANGER" not in run("node", "quarantine", "show", node, first["id"]).output
    assert "aet:STRANGER" in run("node", "quarantine", "show", node, first["id"], "--sender").output
    [later] = json.loads(run("node", "quarantine", "list", node, "--after", first["id"], "--json").output)
    assert later["id"] == second["id"]
