"""All that a site or a hub may choose: `node.toml` and `hub.toml`, one typed object each. Unknown keys stop the start.

Environment variables win over the file: `CARINA_NODE_TITLE`, `CARINA_HUB_LISTEN__PORT`. Keys never stand here: `keys`
says where they are.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from carina.errors import BadSettings, Busy
from carina.model.address import web_address
from carina.model.keys import KEY_BYTES, KeyRing, key_names
from carina.model.permit import ACTIONS, LONGEST_DAYS, Action

Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
WebAddress = Annotated[str, AfterValidator(web_address)]
Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
ProjectName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
AeTitle = Annotated[str, StringConstraints(pattern=r"^[!-~][ -~]{0,15}$", strip_whitespace=True)]


def _network(text: str) -> str:
    """An IP address or network, or `ValueError`."""
    return str(ipaddress.ip_network(text, strict=False))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Part):
    """Where a listener waits. Off loopback, plain HTTP is refused: put a TLS proxy in front and name it.

    host    address to listen on
    port    its port; 0 lets the system choose
    """

    host: str = "127.0.0.1"
    port: Port = 0


class DimseTls(_Part):
    """TLS of the DICOM network listener (PS3.15 annex B.12, BCP 195), TLS 1.2 and above.

    certificate  PEM file with the node's certificate and those above it
    key          PEM file with its private key
    clients      PEM file with the authorities of peers' certificates: a peer must then show one; empty: it need not
    """

    certificate: Path
    key: Path
    clients: Path | None = None


class Dimse(_Part):
    """The DICOM network listener; left out of the file, the node has none.

    host        address to listen on
    port        its port
    ae_title    the node's own AE title, at most 16 characters
    peers_only  whether callers that are no peers of this file are refused; else what they send waits in quarantine
    tls         left out: without TLS
    """

    host: str = "127.0.0.1"
    port: Port = 11112
    ae_title: AeTitle = "CARINA"
    peers_only: bool = False
    tls: DimseTls | None = None


class PeerSettings(_Part):
    """A DICOM application that the node knows: what it may do, and where it listens.

    ae_title   by which it calls; a source of the same name sends images
    addresses  from which it may call, IP addresses or networks; empty: any
    may        `find`, `get`, `move`, `commit` (storage commitment); nothing, unless named
    dataset    of which it may find and fetch the members: an IRI, or `*` for the whole archive
    host       where it listens, for C-MOVE, commitment and `carina send`
    port       its port there
    tls        whether it speaks TLS there
    """

    ae_title: AeTitle
    addresses: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    may: tuple[Literal["find", "get", "move", "commit"], ...] = ()
    dataset: str = ""
    host: str = ""
    port: Port = 0
    tls: bool = False

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if {"find", "get", "move"} & set(self.may) and not self.dataset:
            raise ValueError("name the dataset that it may find and fetch from")
        return self


class ArchiveSettings(_Part):
    """The archive.

    quiet         seconds without a further image after which a study is complete; a later one reopens it
    most_waiting  instances that may wait for the workers; beyond, senders are asked to come again
    forgotten     file, outside of the node's folder, that remembers who is forgotten when a back-up is restored; empty:
                  beside the key file, or, where the keys are in no file, beside the folder
    """

    quiet: Annotated[int, Field(ge=1, le=7 * 86400)] = 300
    most_waiting: Annotated[int, Field(ge=1)] = 100_000
    forgotten: Path | None = None


class LogSettings(_Part):
    """What the service writes to standard error.

    form   `text`: a line for people; `json`: an object in each line, for programs
    """

    form: Literal["text", "json"] = "text"


class ProjectSettings(_Part):
    """One project: what its images share.

    id                   short name: small letters, digits, hyphens; never changed, for keys are derived from it
    title                what it is about
    profile              de-identification profile: `basic`, `research`, or a profile as a TOML text
    issuer               of patient identifiers, where an image names none
    strip_leading_zeros  whether `007` and `7` are the same person's identifier
    """

    id: ProjectName
    title: Name
    profile: str = "basic"
    issuer: str = ""
    strip_leading_zeros: bool = False


class SourceSettings(_Part):
    """One source and the project its images belong to.

    kind           `aet`, `token` or `folder`
    name           calling AE title, name of a token, or absolute path of a folder
    project        id of a project of this file
    pseudonymised  what comes is of images that left this project, as segmentations that are given back: it is verified,
                   its UIDs and dates stay, and its study must be here
    """

    kind: Literal["aet", "token", "folder"]
    name: Name
    project: ProjectName
    pseudonymised: bool = False


class PixelSettings(_Part):
    """Looking for text in pixels, for projects whose profile has `clean_pixel_data`.

    sample     whether plain CT, MR and PET are looked at too: one image of each machine and protocol, and each that
               seems to show text; pictures of other kinds are always looked at
    processes  how many look, beside the ingest workers
    """

    sample: bool = True
    processes: Annotated[int, Field(ge=1, le=16)] = 1


class ImageSettings(_Part):
    """Drawing images for browsers.

    processes  how many decode and draw, beside the server; 0: the server's own threads
    """

    processes: Annotated[int, Field(ge=0, le=16)] = 1


class DeidSettings(_Part):
    """De-identification, for all projects.

    map   whether an encrypted map leads back from pseudonyms, for `carina node reveal`
    """

    map: bool = True


class AccessSettings(_Part):
    """What this node allows researchers whom a hub's committee has given a permit.

    permits       `countersign`: the node's data manager signs each permit too; `trust-hub`: the hub's word is enough
    actions       what may be allowed at all: `view` (pictures), `retrieve` (DICOM objects), `analyse` (jobs)
    longest_days  a permit lasts at most so many days
    """

    permits: Literal["countersign", "trust-hub"] = "countersign"
    actions: tuple[Action, ...] = ACTIONS
    longest_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = 365


class JobSettings(_Part):
    """The bounds of one job, which runs in a process of its own; one runs at a time.

    memory   bytes that the process may have
    seconds  that it may take
    """

    memory: Annotated[int, Field(ge=1 << 28)] = 2 << 30
    seconds: Annotated[int, Field(ge=1, le=7 * 86400)] = 3600


class InstrumentSettings(_Part):
    """One instrument, for what the index says of its series. An image must have every mark that is named, and one is.

    identifier            in a register of instruments: a handle or DOI (PIDINST), or the site's own
    station_name          Station Name (0008,1010)
    device_serial_number  Device Serial Number (0018,1000)
    ae_title              calling AE title
    """

    identifier: Name
    station_name: str = ""
    device_serial_number: str = ""
    ae_title: str = ""

    @model_validator(mode="after")
    def _has_a_mark(self) -> Self:
        if not (self.station_name or self.device_serial_number or self.ae_title):
            raise ValueError("name station_name, device_serial_number or ae_title")
        return self


class _Service(BaseSettings):
    """What both kinds of service choose.

    id               given by `init`, from the first key; never changes
    title            what people call it
    keys             `file:PATH` (relative to the folder), `env:NAME` or `credential:NAME` (systemd)
    public_url       the address people use; its host is the only one answered besides loopback's names
    records          SQLAlchemy address of the records; empty: SQLite in the folder
    trusted_proxies  addresses whose X-Forwarded-* headers are believed
    smallest_count   smaller counts of patients are shown as "fewer than"
    """

    id: Annotated[str, StringConstraints(pattern=r"^[hn]-[a-z2-7]{26}$")]
    title: Name
    keys: str
    records: str = ""
    trusted_proxies: tuple[str, ...] = ()
    smallest_count: Annotated[int, Field(ge=2)] = 10

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file; nothing else."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class NodeSettings(_Service):
    """`node.toml`.

    institution        who holds the images
    country            ISO 3166-1, two capital letters
    public_url         the outside listener's address; None: the node takes part in search and analysis only
    console_url        the inside listener's address for browsers
    inside             listener for ingest, console and staff
    outside            listener for what others may reach
    dimse              the DICOM network listener
    projects           what images belong to
    sources            where images may come from; all others wait in quarantine
    instruments        known scanners, the first that fits counts
    workers            processes that take instances from the spool into the archive
    largest_instance   bytes; larger ones are refused. Above 1 GB only pixels that are not compressed are taken in
    access             what permits may be for, and whether the node's data manager signs them too
    jobs               bounds of the analyses that researchers run
    pixels             looking for text in pixels
    images             drawing images for browsers
    deid               de-identification
    peers              DICOM applications that may find and fetch, or are sent to
    archive            when a study is complete, and how much may wait
    logs               their form
    """

    model_config = SettingsConfigDict(env_prefix="CARINA_NODE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    institution: Name
    country: Country
    public_url: WebAddress | None = None
    console_url: WebAddress | None = None
    inside: Listen = Listen(port=8721)
    outside: Listen = Listen(port=8722)
    dimse: Dimse | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    largest_instance: Annotated[int, Field(ge=1024)] = 5_000_000_000
    projects: tuple[ProjectSettings, ...] = ()
    sources: tuple[SourceSettings, ...] = ()
    instruments: tuple[InstrumentSettings, ...] = ()
    access: AccessSettings = AccessSettings()
    jobs: JobSettings = JobSettings()
    pixels: PixelSettings = PixelSettings()
    images: ImageSettings = ImageSettings()
    deid: DeidSettings = DeidSettings()
    peers: tuple[PeerSettings, ...] = ()
    archive: ArchiveSettings = ArchiveSettings()
    logs: LogSettings = LogSettings()


class HubSettings(_Service):
    """`hub.toml`.

    public_url         the hub's address, for people and in invitations
    listen             the web listener
    broker             where nodes connect
    broker_names       names by which nodes reach the broker; a node that joins is told the first
    answer_within      seconds that a search waits for nodes
    searches_a_minute  of one account or token
    """

    model_config = SettingsConfigDict(env_prefix="CARINA_HUB_", env_nested_delimiter="__", extra="forbid", frozen=True)

    public_url: WebAddress
    listen: Listen = Listen(port=8700)
    broker: Listen = Listen(port=8701)
    broker_names: tuple[str, ...] = ()
    answer_within: Annotated[float, Field(gt=0, le=60)] = 5.0
    searches_a_minute: Annotated[int, Field(ge=1)] = 60


S = TypeVar("S", NodeSettings, HubSettings)


def load_node(folder: Path) -> NodeSettings:
    """The settings of the node in `folder`. Raises `BadSettings`, which names each wrong key."""
    return _load(NodeSettings, folder / "node.toml", "carina node init")


def load_hub(folder: Path) -> HubSettings:
    """The settings of the hub in `folder`. Raises `BadSettings`, which names each wrong key."""
    return _load(HubSettings, folder / "hub.toml", "carina hub init")


def _load(model: type[S], path: Path, command: str) -> S:
    if not path.is_file():
        raise BadSettings(f"There is no {path.name} in this folder.", f"Make one with `{command} FOLDER`.")
    try:
        bound = type(model.__name__, (model,), {"model_config": {**model.model_config, "toml_file": path}})
        return bound()  # type: ignore[no-any-return]
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path.name} is no valid TOML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise BadSettings(f"{path.name} has wrong settings: {wrong}.") from None


def read_keys(reference: str, folder: Path) -> KeyRing:
    """The keys at `file:PATH`, `env:NAME` or `credential:NAME`. Raises `BadSettings`; nothing falls back."""
    kind, _, name = reference.partition(":")
    if kind == "file":
        text = _key_file(folder / name)
    elif kind == "env":
        text = os.environ.get(name, "")
    elif kind == "credential":
        folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
        text = _key_file(folder / name, guarded=True)
    else:
        raise BadSettings("`keys` must begin with file:, env: or credential:.")
    try:
        stored = json.loads(text)
        return KeyRing(**{key: base64.b64decode(stored[key], validate=True) for key in key_names()})
    except (ValueError, KeyError, TypeError):
        raise BadSettings(
            "The keys cannot be read: they are missing or damaged.", "Put the back-up of the key file in place."
        ) from None


def _key_file(path: Path, guarded: bool = False) -> str:
    """The file's text. `guarded`: its folder keeps others out, as systemd's does, whose files' modes show its ACL."""
    try:
        if not guarded and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadSettings("The key file can be read by others.", f"Run: chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise BadSettings(
            f"The key file {path} cannot be read.", "Put its back-up in place, readable by this user only."
        ) from None


def write_new_keys(path: Path) -> KeyRing:
    """Make a service's keys and write them to `path` (mode 600). An existing file is never touched: `Busy`."""
    ring = KeyRing(**{name: os.urandom(KEY_BYTES) for name in key_names()})
    write_keys(path, ring)
    return ring


def write_keys(path: Path, ring: KeyRing) -> None:
    """Write keys to a new file, for this user only, durably. An existing file is never touched: `Busy`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps({name: base64.b64encode(getattr(ring, name)).decode() for name in key_names()}, indent=1)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Busy(f"There are keys at {path} already.", "Choose another place; keys are never overwritten.") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
