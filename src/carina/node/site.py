"""A node: what its services share. Built in `app`, closed with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from carina.deid.evidence.reveal import WayBack
from carina.deid.profile import Profile
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey
from carina.model.ids import NodeId, ProjectId
from carina.model.instance import Instrument, Peer, Source
from carina.model.keys import KeyRing
from carina.model.permit import ACTIONS, Action
from carina.node.door import Door
from carina.node.pictures import Pictures
from carina.node.refusals import Refusals
from carina.storage.audit import AuditTrail
from carina.storage.instances import InstanceStore
from carina.storage.sealed import SealedFolder


@dataclass(frozen=True)
class Project:
    """What the images of one purpose share.

    profile              how its images are de-identified
    issuer               assumed issuer of patient identifiers that name none (0010,0021)
    strip_leading_zeros  whether `007` and `7` are the same person's identifier
    """

    id: ProjectId
    title: str
    profile: Profile
    issuer: str
    strip_leading_zeros: bool = False


@dataclass(frozen=True)
class Policy:
    """What the node allows researchers at all, whatever a hub says.

    countersign   whether its data manager signs each permit too
    longest_days  of a permit
    """

    countersign: bool = True
    actions: tuple[Action, ...] = ACTIONS
    longest_days: int = 365


@dataclass(frozen=True)
class Node:
    """One site. `project_of` maps each source to its project; what comes from another waits in quarantine.

    signing        signs messages and results
    permit_key     signs this node's agreement to permits
    refusals       appends refusals to `audit`, repeats summed up
    door           what receptions share
    pictures       draws frames, and keeps in memory what was drawn last
    pseudonymised  the sources whose images were de-identified before
    samples        whether samples of plain CT, MR and PET are looked at for text in their pixels
    way_back       the sealed map from pseudonyms to persons; None where the site keeps none
    peers          DICOM applications by AE title
    quiet          seconds after which a study without further images is complete
    most_waiting   instances that may wait for the workers
    journal        outside of the folder, the file of who is forgotten; None: beside it, `<folder>.forgotten`
    """

    id: NodeId
    title: str
    institution: str
    country: str
    public_url: str | None
    threshold: int
    largest_instance: int
    folder: Path
    keys: KeyRing
    signing: SigningKey
    permit_key: PermitKey
    projects: Mapping[ProjectId, Project]
    project_of: Mapping[Source, ProjectId]
    engine: Engine
    spool: SealedFolder
    quarantine: SealedFolder
    instances: InstanceStore
    audit: AuditTrail
    instruments: tuple[Instrument, ...] = ()
    policy: Policy = Policy()
    pseudonymised: frozenset[Source] = frozenset()
    samples: bool = False
    peers: Mapping[str, Peer] = field(default_factory=dict)
    quiet: int = 300
    most_waiting: int = 100_000
    journal: Path | None = None
    way_back: WayBack | None = field(default=None, repr=False, compare=False)
    refusals: Refusals = field(default_factory=Refusals, repr=False, compare=False)
    door: Door = field(default_factory=Door, init=False, repr=False, compare=False)
    pictures: Pictures = field(default_factory=Pictures, init=False, repr=False, compare=False)
