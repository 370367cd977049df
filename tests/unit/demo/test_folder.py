"""What the demonstration keeps, and what it never removes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from carina.demo import folder as memory
from carina.demo.folder import Account, Place, State
from carina.errors import BadInput, BadSettings


def state() -> State:
    hub = Place("hub", "Hub", "http://hub.localhost:1", "/x/hub", {"web": 1})
    node = Place("a", "A", "http://a.localhost:2", "/x/a", {"inside": 2}, door="stow", token="t")
    return State(seed=3, data="", hub=hub, nodes=[node], accounts=[Account("hub", "r", "p", "researcher")])


def test_what_is_saved_is_loaded_again_and_for_this_user_only(tmp_path: Path) -> None:
    memory.save(tmp_path, state())
    assert memory.load(tmp_path) == state()
    assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{")
    with pytest.raises(BadSettings, match="damaged"):
        memory.load(tmp_path)


def test_a_folder_with_other_things_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput):
        memory.clear(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_clearing_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    memory.save(tmp_path, state())
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "records.sqlite").write_text("")
    (tmp_path / "server.lock").write_text("")
    memory.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["server.lock"]


def test_a_port_in_use_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        [found] = memory.free_ports([port])
    assert found != port
