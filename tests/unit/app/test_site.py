"""A node or hub from its settings and keys: everything fits, or nothing starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from carina.app.found import NewHub, NewNode, found_hub, found_node
from carina.app.hub import open_hub
from carina.app.site import open_node
from carina.errors import BadSettings, WrongKey
from carina.model.instance import Source
from carina.settings import NodeSettings


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("founded")
    found_node(folder / "node", folder / "node.json", NewNode("Node", "Hospital", "ES", sources=(("aet", "CT1"),)))
    found_hub(folder / "hub", folder / "hub.json", NewHub("Hub", "http://hub.localhost:8700", broker_port=0))
    return folder


@pytest.fixture
def node(founded: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(founded / "node", tmp_path / "node"))


def edit(node: Path, old: str, new: str) -> None:
    path = node / "node.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_node_has_the_id_that_its_key_makes_and_the_sources_of_its_settings(node: Path) -> None:
    with open_node(node) as opened:
        assert opened.id.startswith("n-") and opened.threshold == 10
        assert opened.project_of == {Source("aet", "CT1"): "main"}
        assert opened.audit.verify() == 0


def test_titles_may_hold_any_letters_and_quotes(tmp_path: Path) -> None:
    title = 'Hôpital "Saint-Élie" \\ 北\n# no comment'
    found_node(tmp_path / "n", tmp_path / "k.json", NewNode(title, "H", "FR", project_title="#'x'"))
    with open_node(tmp_path / "n") as opened:
        assert opened.title == title


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('profile = "basic"', 'profile = "lenient"', "profile"),
        ('project = "main"', 'project = "other"', "aet:CT1"),
        ("[[sources]]", '[[sources]]\nkind = "aet"\nname = "CT1"\nproject = "main"\n\n[[sources]]', "twice"),
        ("[[projects]]", '[[projects]]\nid = "main"\ntitle = "M"\n\n[[projects]]', "twice"),
        ("smallest_count = 10", "smallest_count = 1", "smallest_count"),
        ("keys = ", 'keys = "vault:x"\n# ', "file:, env: or credential:"),
        ("smallest_count = 10", 'records = "oracle://x"', "records"),
        ("smallest_count = 10", "smallest_count = ", "TOML"),
    ],
)
def test_settings_that_do_not_fit_stop_the_start(node: Path, old: str, new: str, word: str) -> None:
    edit(node, old, new)
    with pytest.raises(BadSettings) as refused, open_node(node):
        pass
    assert word in f"{refused.value.message} {refused.value.hint}"


def test_the_environment_wins_over_the_file(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARINA_NODE_TITLE", "Another")
    monkeypatch.setenv("CARINA_NODE_SMALLEST_COUNT", "25")
    with open_node(node) as opened:
        assert (opened.title, opened.threshold) == ("Another", 25)


def test_keys_may_come_from_the_environment_or_from_systemd(
    founded: Path, node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(node, f"file:{founded / 'node.json'}", "env:CARINA_KEYS")
    with pytest.raises(BadSettings, match="missing or damaged"), open_node(node):
        pass
    monkeypatch.setenv("CARINA_KEYS", (founded / "node.json").read_text())
    with open_node(node):
        pass
    edit(node, "env:CARINA_KEYS", "credential:keys")
    shutil.copy(founded / "node.json", tmp_path / "keys")
    (tmp_path / "keys").chmod(0o440)  # what the mode of a file with an access control list looks like
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with open_node(node):
        pass


def test_another_s_keys_are_recognised_and_change_nothing(founded: Path, node: Path) -> None:
    edit(node, str(founded / "node.json"), str(founded / "hub.json"))
    with pytest.raises(WrongKey, match="'pseudonym'"), open_node(node):
        pass
    edit(node, str(founded / "hub.json"), str(founded / "node.json"))
    with open_node(node):
        pass


def test_the_records_of_a_hub_are_none_of_a_node(founded: Path, node: Path) -> None:
    shutil.copy(founded / "hub" / "records.sqlite", node / "records.sqlite")
    with pytest.raises(BadSettings, match="not records of a node"), open_node(node):
        pass
    (node / "records.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(BadSettings, match="cannot be used as a database"), open_node(node):
        pass


def test_a_hub_keeps_its_broker_s_port_and_ca(founded: Path) -> None:
    with open_hub(founded / "hub") as first:
        before = (first.broker, first.broker_ca)
    with open_hub(founded / "hub") as again:
        assert (again.broker, again.broker_ca) == before


def test_an_instrument_needs_a_mark_to_be_known_by(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"id": "n-" + "a" * 26, "title": "T", "keys": "env:X", "institution": "I", "country": "ES"}
    known = NodeSettings(**wanted, instruments=[{"identifier": "hdl:1", "ae_title": "CT1"}])
    assert known.instruments[0].identifier == "hdl:1"
    with pytest.raises(ValidationError, match="name station_name"):
        NodeSettings(**wanted, instruments=[{"identifier": "hdl:1"}])


def test_a_node_knows_what_is_pseudonymised_what_to_look_at_and_whether_to_keep_a_map(node: Path) -> None:
    with open_node(node) as opened:
        assert (opened.pseudonymised, opened.samples) == (frozenset(), True)
        assert opened.way_back is not None
    edit(node, 'name = "CT1"', 'name = "CT1"\npseudonymised = true')
    edit(node, "sample = true", "sample = false")
    edit(node, "map = true", "map = false")
    with open_node(node) as opened:
        assert (opened.pseudonymised, opened.samples) == ({Source("aet", "CT1")}, False)
        assert opened.way_back is None
