"""A part of a node that somebody may have to look after, and what is known around a node's records."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from carina.node.saying import named

State = Literal["good", "warn", "bad"]
INSIDE, OUTSIDE, DIMSE = named("Inside"), named("Outside"), named("DICOM network")
ORDER: tuple[State, ...] = ("bad", "warn", "good")


@dataclass(frozen=True)
class Part:
    """One part of a node. `hint` says what to do, and `link` is the page for that; both may be empty."""

    name: str
    state: State
    sentence: str
    hint: str = ""
    link: str = ""


@dataclass(frozen=True)
class Around:
    """What is known of the processes and files around a node's records by whoever asks.

    served        whether a server runs; None: not known
    workers       the processes beside it that run, by name, each with its id; None: not known
    wanted        names of those that are to run
    listeners     (what for, address)
    certificates  (what for, PEM file)
    settings      (name, value) of what the site has chosen, without secrets
    disk          of a folder: total, used and free bytes
    """

    served: bool | None = None
    workers: Callable[[], Mapping[str, int]] | None = None
    wanted: tuple[str, ...] = ()
    listeners: tuple[tuple[str, str], ...] = ()
    certificates: tuple[tuple[str, Path], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    disk: Callable[[Path], tuple[int, int, int]] = field(default=shutil.disk_usage)
