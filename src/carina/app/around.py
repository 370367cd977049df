"""What is around a node's records: its settings as anyone of the staff may read them, its files, its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from carina.app.processes import LOCK
from carina.deid.profile import load_profile
from carina.node import keylist
from carina.node.part import DIMSE, INSIDE, OUTSIDE, Around
from carina.node.pixels import CLEAN_PIXELS
from carina.settings import Listen, NodeSettings, load_node


def around(
    folder: Path, settings: NodeSettings | None = None, workers: Callable[[], Mapping[str, int]] | None = None
) -> Around:
    """For the node in `folder`. `workers`: those that run, where the caller is the server that keeps them running."""
    settings = settings or load_node(folder)
    return Around(
        served=True if workers is not None else is_served(folder),
        workers=workers,
        wanted=tuple(names(settings)),
        listeners=tuple(_listeners(settings)),
        certificates=tuple(_certificates(settings)),
        settings=tuple(_chosen(settings)),
    )


def names(settings: NodeSettings) -> list[str]:
    """The processes beside the server: those that take in, and those that look where a project has pixels cleaned."""
    found = [f"worker-{number}" for number in range(1, settings.workers + 1)]
    if any(CLEAN_PIXELS in load_profile(project.profile).options for project in settings.projects):
        found += [f"pixels-{number}" for number in range(1, settings.pixels.processes + 1)]
    return found


def is_served(folder: Path) -> bool | None:
    """Whether a server holds the folder, by Linux's list of locks; None where there is no such list."""
    try:
        held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        inode = (folder / LOCK).stat().st_ino
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return any("FLOCK" in line and f":{inode} " in line for line in held)


def _listeners(settings: NodeSettings) -> list[tuple[str, str]]:
    found = [(INSIDE, _address(settings.inside)), (OUTSIDE, _address(settings.outside))]
    if settings.dimse is not None:
        tls = "TLS" if settings.dimse.tls is not None else "no TLS"
        place = f"{settings.dimse.host}:{settings.dimse.port}"
        found.append((DIMSE, f"{settings.dimse.ae_title} · {place} · {tls}"))
    return found


def _address(listen: Listen) -> str:
    return f"{listen.host}:{listen.port}"


def _certificates(settings: NodeSettings) -> list[tuple[str, Path]]:
    tls = settings.dimse.tls if settings.dimse is not None else None
    if tls is None:
        return []
    found = [(keylist.DICOM, tls.certificate)]
    return found + ([(keylist.CALLERS, tls.clients)] if tls.clients is not None else [])


def _chosen(settings: NodeSettings) -> list[tuple[str, str]]:
    """The settings that say how the node works, by the names that they have in node.toml; none that is secret."""
    records = "PostgreSQL" if settings.records.startswith("postgresql") else "SQLite"
    return [
        ("title", settings.title),
        ("institution", f"{settings.institution}, {settings.country}"),
        ("public_url", settings.public_url or "–"),
        ("console_url", settings.console_url or "–"),
        ("keys", settings.keys.partition(":")[0]),
        ("records", records),
        ("smallest_count", str(settings.smallest_count)),
        ("workers", str(settings.workers)),
        ("largest_instance", f"{settings.largest_instance:,} B".replace(",", " ")),
        ("archive.quiet", f"{settings.archive.quiet} s"),
        ("archive.most_waiting", str(settings.archive.most_waiting)),
        ("access.permits", settings.access.permits),
        ("access.actions", ", ".join(settings.access.actions)),
        ("access.longest_days", str(settings.access.longest_days)),
        ("jobs.memory", f"{settings.jobs.memory // 2**20} MiB"),
        ("jobs.seconds", f"{settings.jobs.seconds} s"),
        ("pixels.sample", "true" if settings.pixels.sample else "false"),
        ("deid.map", "true" if settings.deid.map else "false"),
        ("projects", ", ".join(project.id for project in settings.projects) or "–"),
        ("sources", str(len(settings.sources))),
        ("peers", str(len(settings.peers))),
    ]
