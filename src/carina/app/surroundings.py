"""What is around a node: disk, ports, clock, its hub. Each look gives one `Part` or more and changes nothing."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from carina.app.http import http_client
from carina.interfaces.client.connection import is_loopback
from carina.model.clock import now
from carina.node.ingest import RESERVE
from carina.node.part import Part

LITTLE, FEW_FILES = 10 * 10**9, 1024  # bytes free of a disk that is nearly full; open files of one process
FURTHEST = 60.0  # s that two clocks may be apart: signed messages are good for a few minutes
NETWORKS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs", "afs", "lustre"]
)
BUILT = datetime(2026, 1, 1, tzinfo=UTC)  # no clock that is right shows an earlier time
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)


def disk(folder: Path) -> list[Part]:
    """Room, durable writes and the kind of the disk where `folder` is, or where it is going to be made."""
    place = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())
    free, size = shutil.disk_usage(place).free, shutil.disk_usage(place).total
    told = f"{free / 1e9:.1f} of {size / 1e9:.1f} GB are free."
    if free < RESERVE:
        found = [
            Part("disk", "bad", f"The disk is full: {told}", "Free some room; senders are told to wait until then.")
        ]
    elif free < LITTLE:
        found = [Part("disk", "warn", f"The disk has little room: {told}", "Free some room, or give it a larger disk.")]
    else:
        found = [Part("disk", "good", f"The disk has room: {told}")]
    return [*found, *_kind(place), *_durable(place)]


def _kind(place: Path) -> list[Part]:
    kind = file_system(place)
    if kind not in NETWORKS:
        return []
    hint = "Use a disk of this machine: SQLite's locks and fsync cannot be relied on over a network."
    return [Part("disk", "warn", f"The folder is on a network disk ({kind}).", hint)]


def file_system(place: Path) -> str:
    """The type of the file system that holds `place`, as in `/proc/mounts`; empty where that is not told."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [(line.split()[1].replace("\\040", " "), line.split()[2]) for line in lines]
    holding = [(len(at), kind) for at, kind in mounts if place.is_relative_to(at)]
    return max(holding, default=(0, ""))[1]


def _durable(place: Path) -> list[Part]:
    """Whether a file can be written, synchronised and moved into a folder beside it."""
    try:
        with tempfile.TemporaryDirectory(prefix=".carina-", dir=place) as trial:
            first, second = Path(trial, "spool"), Path(trial, "store")
            second.mkdir()
            with first.open("wb") as file:
                file.write(b"carina")
                file.flush()
                os.fsync(file.fileno())
            first.rename(second / "moved")
    except OSError as error:
        hint = "Check who owns the folder, and that the disk is not mounted read-only."
        return [Part("disk", "bad", f"A file cannot be written there: {error.strerror}.", hint)]
    return []


def temporary() -> Part:
    """Room for temporary files."""
    try:
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
    except OSError:
        return Part("temporary files", "bad", "There is no folder for temporary files.", "Set TMPDIR to one with room.")
    if free < 1e9:
        hint = "Free some room there, or set TMPDIR to a place with more."
        return Part("temporary files", "warn", f"Only {free / 1e6:.0f} MB are free for temporary files.", hint)
    return Part("temporary files", "good", f"{free / 1e9:.1f} GB are free for temporary files.")


def open_files(limit: int | None = None) -> Part:
    """How many files one process may have open; `limit`: instead of this process's."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        hint = "Raise it: LimitNOFILE=65536 in the service's unit, or `ulimit -n 65536`."
        return Part("open files", "warn", f"A process may have only {soft} files open.", hint)
    return Part("open files", "good", f"A process may have {'any number of' if soft < 0 else soft} files open.")


def port(what: str, setting: str, host: str, number: int, *, served: bool = False) -> Part:
    """Whether a listener finds its port free or, with `served`, whether something answers there."""
    if number == 0:
        return Part(f"port of {what}", "good", "The system chooses it.")
    name, at = f"port of {what}", f"{host}:{number}"
    if not 0 < number < 1 << 16:
        return Part(name, "bad", f"{number} is no port.", f"Choose a {setting} from 1 to 65535.")
    if served:
        try:
            with socket.create_connection((_reached(host), number), timeout=3):
                return Part(name, "good", f"It listens on {at}.")
        except OSError:
            hint = "Look into the log of the service, and start it again."
            return Part(name, "bad", f"A server runs, but nothing listens on {at}.", hint)
    return _free(name, at, setting, host, number)


def _free(name: str, at: str, setting: str, host: str, number: int) -> Part:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, number))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"End that program (`ss -ltnp 'sport = :{number}'` names it), or choose another {setting}."
            return Part(name, "bad", f"Another program has {at}.", hint)
        if error.errno == errno.EACCES:
            return Part(name, "bad", f"This user may not listen on {at}.", f"Choose a {setting} above 1023.")
        return Part(name, "bad", f"{at} is no address of this machine.", "Check `host` in node.toml.")
    return Part(name, "good", f"{at} is free.")


def _reached(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  what such listeners are reached by


def clock(moment: datetime | None = None) -> Part:
    """Whether this machine's clock is plausible and kept by a time service. `moment`: instead of now."""
    moment = moment or now()
    if moment < BUILT:
        hint = "Set the clock: signatures, permits and the audit trail depend on it."
        return Part("clock", "bad", f"The clock shows {moment:%Y-%m-%d}, which cannot be.", hint)
    if _unsynchronised():
        hint = "Switch a time service on: timedatectl set-ntp true."
        return Part("clock", "warn", "No time service keeps this machine's clock right.", hint)
    return Part("clock", "good", f"It shows {moment:%Y-%m-%d %H:%M} UTC.")


def _unsynchronised() -> bool:
    """Whether the kernel says that nothing disciplines its clock; False where it does not tell."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return False
    timex = (ctypes.c_long * 32)()  # modes 0: only read
    with contextlib.suppress(OSError, AttributeError):
        if ctypes.CDLL(None).adjtimex(timex) >= 0:
            return bool(timex[5] & _UNSYNCHRONISED)
    return False


def hub_answers(url: str) -> list[Part]:
    """Whether the hub's web address answers, and whether its clock agrees with this one."""
    try:
        with http_client(url, timeout=5) as client:
            answer = client.get(f"{url.rstrip('/')}/health/live")
            date = parsedate_to_datetime(answer.headers["date"]) if "date" in answer.headers else None
    except (httpx2.HTTPError, ValueError) as error:
        return [_silent(url, error)]
    if answer.status_code != 200:
        hint = "Ask the hub's operator; a proxy in between may be in the way."
        return [Part("hub", "bad", f"{url} answers with {answer.status_code}.", hint)]
    found = [Part("hub", "good", f"{url} answers.")]
    apart = abs((now() - date).total_seconds()) if date is not None else 0.0
    if apart > FURTHEST:
        hint = "Set this machine's clock (timedatectl set-ntp true), or tell the hub's operator."
        found.append(Part("clock", "bad", f"This clock and the hub's are {apart:.0f} s apart.", hint))
    return found


def _silent(url: str, error: Exception) -> Part:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "Check the address; where the hub has a certificate of your own authority, name it in SSL_CERT_FILE."
        return Part("hub", "bad", f"The TLS certificate at {url} is not one that this machine trusts.", hint)
    host = httpx2.URL(url).host
    if not resolves(host):
        return Part("hub", "bad", f"The name {host} of the hub cannot be resolved.", "Check the DNS of this machine.")
    hint = "Check that outward connections to it are let through; ask the hub's operator whether it runs."
    return Part("hub", "bad", f"Nothing answers at {url}.", hint)


def broker_answers(address: str, ca: str) -> Part:
    """Whether the hub's broker (`HOST:PORT`) answers with a certificate of the authority `ca` (PEM) for its name."""
    host, _, number = address.removeprefix("tls://").removeprefix("nats://").rpartition(":")
    reached = "127.0.0.1" if is_loopback(host) else host
    context = ssl.create_default_context(cadata=ca)
    try:
        with (
            socket.create_connection((reached, int(number)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return Part("broker", "good", f"{address} answers with the certificate that the hub has named.")
    except ssl.SSLCertVerificationError:
        hint = "The hub has another certificate now, or something is in between: ask its operator, and join again."
        return Part("broker", "bad", f"The certificate of {address} is not the one the hub has named.", hint)
    except (OSError, ValueError):
        hint = f"Check that outward connections to {address} (TCP) are let through."
        return Part("broker", "bad", f"Nothing answers at {address}, where searches come from.", hint)


def resolves(host: str) -> bool:
    """Whether this machine knows the name; those of loopback always."""
    if is_loopback(host):
        return True
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def worst(parts: Iterable[Part]) -> str:
    """`bad`, `warn` or `good`: the worst of their states."""
    states = {part.state for part in parts}
    return next((state for state in ("bad", "warn") if state in states), "good")
