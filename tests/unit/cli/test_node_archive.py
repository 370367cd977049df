"""`carina node verify`, `export`, `import` and `status`, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support import ct

from carina.app.found import NewNode, found_node
from carina.app.site import open_node
from carina.cli.node import node as command
from carina.errors import Conflict
from carina.model.instance import Source
from carina.node import ingest, worker


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    new = NewNode("Test", "Hospital Ficticio", "ES", sources=(("aet", "SCANNER"),))
    found_node(folder, tmp_path / "keys" / "node.json", new)
    with open_node(folder) as node:
        ingest.receive(node, ct(), Source("aet", "SCANNER"))
        while worker.work(node, "test"):
            pass
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_verify_says_that_all_is_whole(site: Path) -> None:
    result = call("verify", site)
    assert result.exit_code == 0 and result.exception is None
    assert "1 stored files" in result.output and "All is whole." in result.output


def test_verify_names_what_is_not_and_ends_otherwise(site: Path) -> None:
    [path] = (site / "store").rglob("*.dcm")
    path.write_bytes(b"changed")
    result = call("verify", site, "--json")
    assert isinstance(result.exception, Conflict)
    told = json.loads(result.output)
    assert told["counts"] == {"damaged": 1, "size": 1, **({"frames": 1} if "frames" in told["counts"] else {})}
    assert {finding["subject"] for finding in told["findings"]} == {path.stem}
    result = call("verify", site, "--rate", "100")
    assert "damaged" in result.output and path.stem in result.output


def test_a_back_up_and_its_keys_come_back(site: Path, tmp_path: Path) -> None:
    keys = tmp_path / "safe" / "node.json"
    result = call("export", site, tmp_path / "one.tar", "--with-keys", keys)
    assert result.exit_code == 0, result.output
    assert "1 stored files" in result.output
    assert keys.read_bytes() == (tmp_path / "keys" / "node.json").read_bytes() and keys.stat().st_mode & 0o77 == 0
    assert keys.read_bytes()[:40] not in (tmp_path / "one.tar").read_bytes()
    (tmp_path / "keys" / "node.json").unlink()
    result = call("export", site, tmp_path / "two.tar")
    assert result.exit_code != 0
    result = call("import", tmp_path / "one.tar", tmp_path / "back", "--keys", keys, "--records", "sqlite")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "verified" in result.output
    assert str(keys) in (tmp_path / "back" / "node.toml").read_text()
    assert call("verify", tmp_path / "back").exit_code == 0


def test_a_later_back_up_needs_the_earlier_one(site: Path, tmp_path: Path) -> None:
    assert call("export", site, tmp_path / "one.tar").exit_code == 0
    result = call("export", site, tmp_path / "two.tar", "--since", tmp_path / "one.tar")
    assert "1 of them in earlier back-ups" in result.output
    assert call("import", tmp_path / "two.tar", tmp_path / "back").exit_code != 0
    result = call("import", tmp_path / "two.tar", tmp_path / "back", "--earlier", tmp_path / "one.tar")
    assert result.exit_code == 0, result.exception


def test_a_back_up_of_a_node_that_lacks_a_file_is_made_and_says_so(site: Path, tmp_path: Path) -> None:
    [path] = (site / "store").rglob("*.dcm")
    path.unlink()
    result = call("export", site, tmp_path / "one.tar")
    assert isinstance(result.exception, Conflict) and path.stem in result.output
    result = call("import", tmp_path / "one.tar", tmp_path / "back")
    assert result.exit_code == 0 and path.stem in result.output


def test_status_shows_studies_queue_and_disk(site: Path) -> None:
    with open_node(site) as node:
        ingest.receive(node, ct("MRN-2"), Source("aet", "SCANNER"))
    result = call("status", site)
    assert "may still get images; complete after 300 s" in result.output
    assert "1 waiting (" in result.output and "worked on by nobody now" in result.output
    told = json.loads(call("status", site, "--json").output)
    assert set(told["studies"]) == {"receiving", "complete"} and sum(told["studies"].values()) == 1
    assert told["quiet"] == 300 and 0 < told["disk_free"] < told["disk_size"]
