"""The records of a node, as tables, and what every service keeps; those of a hub are in `hub_schema`.

Instants are UTC, as text in ISO 8601 with microseconds and `Z`. No column holds anything identifying: UIDs are the
de-identified ones, dates are shifted, patients are pseudonyms.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
node_tables = MetaData(naming_convention=NAMING)


def shared_tables(metadata: MetaData) -> None:
    """What every service keeps: people, sessions, tokens, seen messages, key checks, the audit trail."""
    Table(
        "accounts",
        metadata,
        Column("name", String(64), primary_key=True),
        Column("display_name", String(200), nullable=False),
        Column("password_hash", String(200), nullable=False),  # argon2id
        Column("roles", JSON, nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("disabled", Boolean, nullable=False, default=False),
    )
    Table(
        "sessions",
        metadata,
        Column("digest", String(64), primary_key=True),  # SHA-256 of the cookie's secret
        Column("account", String(64), nullable=False, index=True),
        Column("csrf", String(64), nullable=False),
        Column("expires_at", String(32), nullable=False),
    )
    Table(
        "tokens",
        metadata,
        Column("digest", String(64), primary_key=True),  # SHA-256 of the secret
        Column("name", String(64), nullable=False, unique=True),
        Column("account", String(64)),  # whose it is; null for a sender's
        Column("roles", JSON, nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("expires_at", String(32)),
        Column("revoked", Boolean, nullable=False, default=False),
        Column("actions", JSON),  # of a service's token: what it may do; null: what its roles say
        Column("datasets", JSON),  # and on which datasets; "*" is the whole archive
    )
    Table(
        "attempts",
        metadata,  # sign-ins that failed, for the rate limit
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("bucket", String(120), nullable=False, index=True),
        Column("at", String(32), nullable=False),
    )
    Table(
        "seen_messages",
        metadata,
        Column("sender", String(40), nullable=False),
        Column("nonce", String(64), nullable=False),
        Column("expires_at", String(32), nullable=False, index=True),
        PrimaryKeyConstraint("sender", "nonce"),
    )
    Table(
        "key_checks",
        metadata,
        Column("name", String(40), primary_key=True),
        Column("check", String(64), nullable=False),
    )
    Table(
        "audit",
        metadata,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("at", String(32), nullable=False),
        Column("actor", String(200), nullable=False),
        Column("action", String(64), nullable=False, index=True),
        Column("subject", String(200), nullable=False),
        Column("details", JSON, nullable=False),
        Column("previous", String(64), nullable=False),
        Column("digest", String(64), nullable=False),
    )
    Table(
        "audit_head",
        metadata,  # one row, made by the first migration: where the trail ends, so that a missing end is seen
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("seq", Integer, nullable=False),
        Column("digest", String(64), nullable=False),
    )


shared_tables(node_tables)


arrivals = Table(
    "arrivals",
    node_tables,  # one row for each thing received; the bytes rest in the spool until `state` is final
    Column("id", String(32), primary_key=True),  # time-ordered
    Column("source_kind", String(10), nullable=False),
    Column("source_name", String(200), nullable=False),
    Column("received_at", String(32), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # received, archived, unchanged, quarantined, forgotten
    Column("reason", String(40)),
    Column("project", String(40)),
    Column("study_uid", String(64)),
    Column("uid", String(64)),
    Column("attempts", Integer, nullable=False, default=0),
    Column("claimed_by", String(40)),
    Column("claimed_at", String(32)),
    Column("finished_at", String(32)),
    Column("profile", String(60)),  # by which it is de-identified instead of its project's: see `node.alternatives`
    Column("sent", String(64), index=True),  # keyed digest of source and SOP Instance UID as sent, for commitment
    Index(None, "state", "id"),
    Index(None, "source_kind", "source_name", "state", "reason"),
    Index(None, "source_kind", "source_name", "received_at"),
    Index(None, "state", "finished_at", "project", "size"),  # what a day brought, without reading the rows
)
quarantine = Table(
    "quarantine",
    node_tables,
    Column("id", String(32), primary_key=True),  # the arrival's
    Column("reason", String(40), nullable=False, index=True),
    Column("detail", String(200), nullable=False),  # constant words, no header value
    Column("source_kind", String(10), nullable=False),
    Column("source_name", String(200), nullable=False),
    Column("project", String(40)),
    Column("modality", String(16)),
    Column("sop_class_uid", String(64)),
    Column("size", BigInteger, nullable=False),
    Column("received_at", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # waiting, retried, discarded, destroyed
    Column("discarded_at", String(32), index=True),  # its bytes rest a while longer, so that it can be undone
    Index(None, "state", "reason", "size"),
)
growth = Table(
    "growth",
    node_tables,  # what each day that is over has brought into the archive
    Column("day", String(10), nullable=False),  # UTC, YYYY-MM-DD
    Column("project", String(40), nullable=False),  # "": none of them, so that a day without images is known too
    Column("images", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes, as received
    PrimaryKeyConstraint("day", "project"),
)
pixel_checks = Table(
    "pixel_checks",
    node_tables,  # one row for each arrival whose pixels were, or are to be, looked at; its bytes are in quarantine
    Column("id", String(32), primary_key=True),  # the arrival's
    Column("project", String(40), nullable=False),
    Column("layout", String(64), nullable=False),  # keyed digest of what images of one machine and protocol share
    Column("sample", Boolean, nullable=False),  # it stands for others of its layout
    Column("state", String(12), nullable=False, index=True),  # waiting, clean, flagged, settled, rejected, failed
    Column("rows", Integer),
    Column("columns", Integer),
    Column("frames", Integer),
    Column("boxes", JSON, nullable=False),  # [top, left, bottom, right, frame or null]
    Column("finder", String(60), nullable=False, default=""),
    Column("proven", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("claimed_by", String(40)),
    Column("checked_at", String(32)),
    Column("readers", Integer, nullable=False, default=0),  # how many must agree
    Column("decisions", JSON, nullable=False),  # [{actor, verdict, at, boxes}]
    Column("decided_at", String(32)),
)
pixel_layouts = Table(
    "pixel_layouts",
    node_tables,
    Column("project", String(40), nullable=False),
    Column("layout", String(64), nullable=False),
    Column("state", String(12), nullable=False),  # waiting, clean, text
    Column("sample", String(32), nullable=False),  # the arrival that stands for it
    Column("seen", Integer, nullable=False, default=1),
    PrimaryKeyConstraint("project", "layout"),
)
patients = Table(
    "patients",
    node_tables,
    Column("project", String(40), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("sex", String(1)),
    PrimaryKeyConstraint("project", "patient"),
)
studies = Table(
    "studies",
    node_tables,
    Column("project", String(40), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("study_date", String(8)),
    Column("study_time", Text),  # of the header as it is, so of any length; and so are the next
    Column("study_id", Text),
    Column("accession_number", Text),
    Column("age_years", Integer),
    Column("modalities", JSON, nullable=False),
    Column("series_count", Integer, nullable=False, default=0),
    Column("instance_count", Integer, nullable=False, default=0),
    Column("header", JSON, nullable=False),  # DICOM JSON, study and patient level
    Column("first_at", String(32), nullable=False),
    Column("last_at", String(32), nullable=False, index=True),
    Column("state", String(12), nullable=False, server_default="receiving"),  # receiving, complete
    Column("completed_at", String(32)),  # when it was last found complete
    Column("reopened", Integer, nullable=False, server_default="0"),  # how often images came after that
    PrimaryKeyConstraint("project", "study_uid"),
    UniqueConstraint("study_uid"),
    ForeignKeyConstraint(["project", "patient"], ["patients.project", "patients.patient"]),
    Index(None, "project", "patient"),
    Index(None, "patient"),
    Index(None, "study_date", "study_uid"),  # the order of searches
    Index(None, "state", "last_at"),
)
series = Table(
    "series",
    node_tables,
    Column("project", String(40), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("modality", Text, nullable=False),
    Column("series_number", Integer),
    Column("body_part", String(16)),
    Column("manufacturer", Text),
    Column("device", String(64)),  # keyed pseudonym
    Column("instrument", String(200)),  # identifier in a register of instruments
    Column("instance_count", Integer, nullable=False, default=0),
    Column("header", JSON, nullable=False),
    PrimaryKeyConstraint("project", "series_uid"),
    UniqueConstraint("series_uid"),
    ForeignKeyConstraint(["project", "study_uid"], ["studies.project", "studies.study_uid"]),
    Index(None, "project", "modality", "body_part"),
    Index(None, "study_uid", "series_number", "series_uid"),
)
instances = Table(
    "instances",
    node_tables,  # the current version of each
    Column("project", String(40), nullable=False),
    Column("uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("instance_number", Integer),
    Column("frames", Integer, nullable=False),
    Column("content", String(64), nullable=False),  # SHA-256 of the stored file
    Column("size", BigInteger, nullable=False),
    Column("header", JSON, nullable=False),  # DICOM JSON, all levels, as `metadata` gives it; bulk data by relative URI
    Column("brief", JSON, nullable=False, server_default="{}"),  # of it what searches for instances answer with
    Column("pixel_offset", BigInteger),  # in the file, of the value of Pixel Data; null: has none, or is deflated
    Column("frame_size", BigInteger),  # bytes of a frame without compression that begins at a byte; null: see below
    PrimaryKeyConstraint("project", "uid"),
    UniqueConstraint("uid"),
    ForeignKeyConstraint(["project", "series_uid"], ["series.project", "series.series_uid"]),
    Index(None, "series_uid", "instance_number", "uid", "size"),
    Index(None, "study_uid", "series_uid", "instance_number", "uid"),
)
frame_tables = Table(
    "frame_tables",
    node_tables,  # where the frames of a compressed instance lie in its file
    Column("content", String(64), primary_key=True),
    Column("frames", LargeBinary, nullable=False),  # of each: offset and length of its items, of 8 bytes, little-endian
)
audit_check = Table(
    "audit_check",
    node_tables,  # how far the audit trail has been checked, for people to see
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: the last check; 2: the last that came to an end
    Column("seq", Integer, nullable=False),  # the last row that was found whole
    Column("digest", String(64), nullable=False),  # its digest
    Column("at", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # running, whole, broken
)
tombstones = Table(
    "tombstones",
    node_tables,  # persons who are forgotten, and stay so
    Column("project", String(40), nullable=False),
    Column("digest", String(64), nullable=False),  # keyed, of the pseudonym
    Column("at", String(32), nullable=False),
    Column("finished_at", String(32)),  # when all that was here of the person was gone; null: that is still to be done
    PrimaryKeyConstraint("project", "digest"),
)
removals = Table(
    "removals",
    node_tables,  # files of the store that no row names any more, and that are still to be removed
    Column("content", String(64), primary_key=True),
)
instance_versions = Table(
    "instance_versions",
    node_tables,
    Column("project", String(40), nullable=False),
    Column("uid", String(64), nullable=False),
    Column("engine", String(40), nullable=False),
    Column("profile_digest", String(64), nullable=False),
    Column("review", String(64), nullable=False),
    Column("source_digest", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("made_at", String(32), nullable=False),
    Column("actions", String(64)),  # which row of `action_sets`; null: made before these were counted
    PrimaryKeyConstraint("project", "uid", "engine", "profile_digest", "review"),
    Index(None, "project", "source_digest"),
    Index(None, "content"),
)
action_sets = Table(
    "action_sets",
    node_tables,  # what was done to an instance; most instances of a series share one
    Column("digest", String(64), primary_key=True),  # SHA-256 of `actions`
    Column("actions", JSON, nullable=False),  # how many elements met each rule, by `action reason`
)
clinical = Table(
    "clinical",
    node_tables,  # a person's diagnoses; waits for the images if those come later
    Column("project", String(40), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # 1, 2, … per patient, by date
    Column("sex", String(1)),
    Column("topography", String(8), nullable=False),  # ICD-O-3, "C34.1"
    Column("site", String(3), nullable=False),  # its first three characters
    Column("morphology", String(8)),  # ICD-O-3, "8140/3"
    Column("diagnosis_date", String(10)),  # shifted, YYYY-MM-DD
    Column("age_at_diagnosis", Integer),  # at most 90
    Column("stage", String(20)),
    Column("treatment", String(100)),
    Column("vital_status", String(10)),
    PrimaryKeyConstraint("project", "patient", "number"),
    Index(None, "project", "site"),
)
datasets = Table(
    "datasets",
    node_tables,
    Column("iri", String(60), primary_key=True),
    Column("project", String(40), nullable=False),
    Column("title", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("query", JSON, nullable=False),  # model.cohort; {"all": []} is the whole intake
    Column("state", String(12), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("published_at", String(32)),
    Column("published_digest", String(64)),
    Column("actions", JSON),  # that permits may be for; null: all that the node allows
    Column("longest_days", Integer),  # of a permit; null: as the node allows
)
snapshots = Table(
    "snapshots",
    node_tables,  # numbered memberships of a dataset, which never change
    Column("dataset", String(60), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("instances", Integer, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(200), nullable=False),
    PrimaryKeyConstraint("dataset", "number"),
    ForeignKeyConstraint(["dataset"], ["datasets.iri"]),
)
snapshot_members = Table(
    "snapshot_members",
    node_tables,
    Column("dataset", String(60), nullable=False),
    Column("number", Integer, nullable=False),
    Column("uid", String(64), nullable=False),
    Column("content", String(64), nullable=False),  # SHA-256 of the stored file as it was then
    PrimaryKeyConstraint("dataset", "number", "uid"),
    ForeignKeyConstraint(["dataset", "number"], ["snapshots.dataset", "snapshots.number"]),
)
hubs = Table(
    "hubs",
    node_tables,  # those this node has joined
    Column("id", String(40), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("url", String(300), nullable=False),
    Column("broker", String(300), nullable=False),  # host:port
    Column("broker_ca", Text, nullable=False),  # PEM
    Column("key", JSON, nullable=False),  # public JWK in force
    Column("joined_at", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # joined, left, removed
    Column("last_contact", String(32)),
    Column("permit_key", JSON),  # public JWK that signs its permits; null: joined before there were permits
)
permits = Table(
    "permits",
    node_tables,  # visas of hubs for this node, as they came
    Column("hub", String(40), nullable=False),
    Column("id", String(32), nullable=False),
    Column("visa", Text, nullable=False),
    Column("dataset", String(60), nullable=False, index=True),
    Column("subject", String(200), nullable=False),
    Column("expires_at", String(32), nullable=False),  # as the visa says: for counting only, the visa decides
    Column("received_at", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # waiting, agreed, declined, withdrawn: by this node's data manager
    Column("countersignature", Text),
    Column("decided_at", String(32)),
    Column("decided_by", String(200)),
    Column("reason", String(200), nullable=False, default=""),
    PrimaryKeyConstraint("hub", "id"),
    ForeignKeyConstraint(["hub"], ["hubs.id"]),
    Index(None, "hub", "expires_at", "received_at", "decided_at"),  # to count without reading the visas
)
permit_states = Table(
    "permit_states",
    node_tables,  # the newest list of each hub
    Column("hub", String(40), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("issued_at", String(32), nullable=False),  # says the hub
    Column("received_at", String(32), nullable=False),
    Column("states", JSON, nullable=False),  # by permit: valid, ended
    ForeignKeyConstraint(["hub"], ["hubs.id"]),
)
permit_use = Table(
    "permit_use",
    node_tables,
    Column("hub", String(40), nullable=False),
    Column("permit", String(32), nullable=False),
    Column("action", String(12), nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("last_at", String(32), nullable=False),
    PrimaryKeyConstraint("hub", "permit", "action"),
)
visits = Table(
    "visits",
    node_tables,  # researchers who were handed over by a hub, in a browser or by a program
    Column("digest", String(64), primary_key=True),  # SHA-256 of the secret
    Column("hub", String(40), nullable=False),
    Column("permit", String(32), nullable=False),
    Column("dataset", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("study", String(64)),  # the only one it is for; null: all of the dataset
    Column("csrf", String(64), nullable=False),
    Column("began_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False, index=True),
)
node_jobs = Table(
    "jobs",
    node_tables,  # what hubs have asked of this node, and what it answered
    Column("hub", String(40), nullable=False),
    Column("id", String(32), nullable=False),
    Column("run", String(32), nullable=False),
    Column("permit", String(32), nullable=False),
    Column("dataset", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("analysis", String(40), nullable=False),
    Column("paper", Text, nullable=False),  # the hub's signed order
    Column("state", String(12), nullable=False, index=True),  # taken, running, done, refused, failed, cancelled
    Column("reason", String(40), nullable=False, default=""),
    Column("percent", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),  # how often it was begun
    Column("received_at", String(32), nullable=False),
    Column("started_at", String(32)),
    Column("finished_at", String(32)),
    Column("result", Text),  # JWS of this node
    Column("delivered_at", String(32)),
    PrimaryKeyConstraint("hub", "id"),
    ForeignKeyConstraint(["hub"], ["hubs.id"]),
)
