"""`carina node status`, `arrivals`, `storage` and `key list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import ct
from tests.unit.cli.conftest import Run

from carina.app.around import is_served
from carina.app.processes import only_one
from carina.app.site import open_node
from carina.model.keys import key_names
from carina.node import worker


@pytest.fixture
def filled(run: Run, node: Path, tmp_path: Path) -> Path:
    """Two images archived, one in quarantine; nothing runs."""
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(ct(number=number))
    assert run("node", "ingest", node, tmp_path / "in").code == 0
    with open_node(node) as opened:
        while worker.work(opened, "test"):
            pass
    return node


def test_status_begins_with_the_sentence_and_the_parts(run: Run, filled: Path) -> None:
    said = run("node", "status", filled).output.splitlines()
    assert said[1].startswith(("All is well", "Attention", "Trouble")) and "The node does not run" in "\n".join(said)
    told = json.loads(run("node", "status", filled, "--json").output)
    assert told["verdict"] in ("attention", "trouble") and told["parts"][0]["name"] == "Reception"


def test_a_node_that_runs_is_known_by_its_lock(filled: Path) -> None:
    assert is_served(filled) is False
    with only_one(filled):
        assert is_served(filled) is True


def test_arrivals_are_listed_by_source(run: Run, filled: Path) -> None:
    said = run("node", "arrivals", filled).output
    assert "In 15 min" in said and "never" in said
    assert json.loads(run("node", "arrivals", filled, "--json").output)["waiting"]["images"] == 0


def test_storage_says_how_long_the_disk_lasts(run: Run, filled: Path) -> None:
    said = run("node", "storage", filled).output
    assert "At the pace of the last 30 days" in said and "records" in said
    assert json.loads(run("node", "storage", filled, "--json").output)["records"] > 0


def test_keys_are_listed_without_their_secrets(run: Run, filled: Path) -> None:
    said = run("node", "key", "list", filled)
    assert "Signs messages" in said.output and "never" in said.output
    keys = json.loads(run("node", "key", "list", filled, "--json").output)
    with open_node(filled) as opened:
        secrets = [getattr(opened.keys, name).hex() for name in key_names()]
    assert keys[0]["state"] == "good" and not any(secret in said.output + str(keys) for secret in secrets)
