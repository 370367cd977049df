"""What the demonstration remembers between two starts: addresses, accounts, tokens. One file, for this user only."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from carina.app.processes import LOCK
from carina.errors import BadInput, BadSettings

_MARK = "demo.json"


@dataclass
class Account:
    """Someone who can sign in at `service`."""

    service: str
    name: str
    password: str
    role: str


@dataclass
class Place:
    """One service of the demonstration, and where it listens. `door`: how images come to a node."""

    key: str
    title: str
    url: str
    folder: str
    ports: dict[str, int]
    id: str = ""
    door: str = ""
    project: str = ""
    token: str = ""
    staff_token: str = ""
    public_url: str = ""


@dataclass
class State:
    """Everything, as it stands in `demo.json`."""

    seed: int
    data: str
    hub: Place
    nodes: list[Place]
    accounts: list[Account] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)  # keys of nodes whose images have all been handed over
    founded: bool = False
    ready: bool = False


def load(folder: Path) -> State | None:
    """The state of an earlier start, or None. A damaged file: `BadSettings`."""
    path = folder / _MARK
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return State(
            seed=raw["seed"],
            data=raw["data"],
            hub=Place(**raw["hub"]),
            nodes=[Place(**item) for item in raw["nodes"]],
            accounts=[Account(**item) for item in raw["accounts"]],
            sent=raw["sent"],
            founded=raw["founded"],
            ready=raw["ready"],
        )
    except (ValueError, KeyError, TypeError):
        raise BadSettings(f"{path} is damaged.", "Start with `carina demo --fresh`.") from None


def save(folder: Path, state: State) -> None:
    """Write the state; whole or not at all."""
    path = folder / _MARK
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(asdict(state), indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def clear(folder: Path) -> None:
    """Remove an earlier demonstration. A folder that holds anything else is left alone: `BadInput`."""
    held = [path for path in folder.iterdir() if path.name != LOCK]
    if held and not (folder / _MARK).exists():
        raise BadInput(
            f"{folder} is not the folder of a demonstration, so it is not cleared.", "Name another with --folder."
        )
    for path in sorted(held, key=lambda path: path.name == _MARK):  # the mark goes last
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def free_ports(wanted: list[int]) -> list[int]:
    """These ports where they are free on loopback, else others that are; all different."""
    held: list[socket.socket] = []
    try:
        for port in wanted:
            held.append(_hold(port))
        return [item.getsockname()[1] for item in held]
    finally:
        for item in held:
            item.close()


def _hold(port: int) -> socket.socket:
    for candidate in (port, 0):
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", candidate))
        except OSError:
            probe.close()
        else:
            return probe
    raise BadSettings("No free port is left on this machine.")


def password() -> str:
    """A password that is easy to type: three groups of four small letters and digits (59 bits)."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(3))
