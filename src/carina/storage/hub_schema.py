"""The records of a hub, as tables. Instants are UTC, as text in ISO 8601 with microseconds and `Z`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from carina.storage.schema import NAMING, shared_tables

hub_tables = MetaData(naming_convention=NAMING)
shared_tables(hub_tables)

invitations = Table(
    "invitations",
    hub_tables,
    Column("id", String(32), primary_key=True),
    Column("proof_key", String(64), nullable=False),  # hex, derived from the one-time secret
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("used_at", String(32)),
    Column("used_by", String(40)),
)
nodes = Table(
    "nodes",
    hub_tables,
    Column("id", String(40), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("institution", String(200), nullable=False),
    Column("country", String(2), nullable=False),
    Column("key", JSON, nullable=False),  # public JWK in force
    Column("nkey", String(80), nullable=False),
    Column("public_url", String(300)),
    Column("joined_at", String(32), nullable=False),
    Column("last_seen", String(32)),
    Column("state", String(12), nullable=False),  # joined, left, removed
    Index(None, "nkey", unique=True, sqlite_where=text("state = 'joined'"), postgresql_where=text("state = 'joined'")),
)
key_changes = Table(
    "key_changes",
    hub_tables,  # the hub's own, so that a node that was away can follow them
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),  # JWS of the new key by the old one
    Column("at", String(32), nullable=False),
)
catalogue = Table(
    "catalogue",
    hub_tables,
    Column("iri", String(60), primary_key=True),
    Column("node", String(40), nullable=False, index=True),
    Column("description", JSON, nullable=False),  # model.dataset.DatasetDescription
    Column("state", String(12), nullable=False),  # published, withdrawn
    Column("received_at", String(32), nullable=False),
    ForeignKeyConstraint(["node"], ["nodes.id"]),
)
committees = Table(
    "committees",
    hub_tables,  # who decides on the datasets of a node
    Column("node", String(40), nullable=False),
    Column("account", String(64), nullable=False, index=True),
    Column("since", String(32), nullable=False),
    PrimaryKeyConstraint("node", "account"),
    ForeignKeyConstraint(["node"], ["nodes.id"]),
    ForeignKeyConstraint(["account"], ["accounts.name"]),
)
requests = Table(
    "requests",
    hub_tables,
    Column("id", String(32), primary_key=True),
    Column("account", String(64), nullable=False, index=True),
    Column("project", String(200), nullable=False),  # its title
    Column("purpose", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("people", JSON, nullable=False),  # names, as the researcher gives them
    Column("actions", JSON, nullable=False),
    Column("last_day", String(10), nullable=False),  # YYYY-MM-DD
    Column("created_at", String(32), nullable=False),
    ForeignKeyConstraint(["account"], ["accounts.name"]),
)
request_items = Table(
    "request_items",
    hub_tables,
    Column("id", String(32), primary_key=True),
    Column("request", String(32), nullable=False, index=True),
    Column("dataset", String(60), nullable=False),
    Column("node", String(40), nullable=False, index=True),
    Column("title", String(200), nullable=False),  # the dataset's, when it was asked for
    Column("state", String(12), nullable=False),  # waiting, asked, granted, refused, withdrawn
    Column("since", String(32), nullable=False),
    UniqueConstraint("request", "dataset"),
    ForeignKeyConstraint(["request"], ["requests.id"]),
    ForeignKeyConstraint(["node"], ["nodes.id"]),
)
request_events = Table(
    "request_events",
    hub_tables,  # each step of an item, with its words
    Column("id", String(32), primary_key=True),
    Column("item", String(32), nullable=False, index=True),
    Column("at", String(32), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("step", String(16), nullable=False),  # submitted, asked, answered, granted, refused, withdrawn, revoked
    Column("words", Text, nullable=False),
    ForeignKeyConstraint(["item"], ["request_items.id"]),
)
hub_permits = Table(
    "permits",
    hub_tables,
    Column("id", String(32), primary_key=True),  # the visa's jti
    Column("item", String(32), nullable=False, unique=True),
    Column("account", String(64), nullable=False, index=True),
    Column("node", String(40), nullable=False, index=True),
    Column("dataset", String(60), nullable=False),
    Column("actions", JSON, nullable=False),
    Column("version", String(12), nullable=False),  # live, or a snapshot's number
    Column("conditions", Text, nullable=False),
    Column("visa", Text, nullable=False),
    Column("issued_at", String(32), nullable=False),
    Column("issued_by", String(64), nullable=False),
    Column("expires_at", String(32), nullable=False, index=True),
    Column("state", String(12), nullable=False),  # granted, revoked
    Column("ended_at", String(32)),
    Column("ended_by", String(64)),
    Column("ended_why", Text, nullable=False, default=""),
    Column("node_state", String(12), nullable=False),  # unknown, waiting, in-force, declined, withdrawn
    Column("node_reason", String(200), nullable=False, default=""),
    Column("node_since", String(32), nullable=False),
    Column("noted_at", String(32)),  # when the audit trail last took the node's word down
    Column("use", JSON, nullable=False),  # as the node counts: view, retrieve, analyse, last
    ForeignKeyConstraint(["item"], ["request_items.id"]),
    ForeignKeyConstraint(["node"], ["nodes.id"]),
)
status_lists = Table(
    "status_lists",
    hub_tables,  # the number of the last list of permit states for each node
    Column("node", String(40), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("issued_at", String(32), nullable=False),
    ForeignKeyConstraint(["node"], ["nodes.id"]),
)
runs = Table(
    "runs",
    hub_tables,
    Column("id", String(32), primary_key=True),
    Column("account", String(64), nullable=False, index=True),
    Column("title", String(200), nullable=False),
    Column("analysis", String(40), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("cancelled_at", String(32)),
)
hub_jobs = Table(
    "jobs",
    hub_tables,
    Column("id", String(32), primary_key=True),
    Column("run", String(32), nullable=False, index=True),
    Column("node", String(40), nullable=False),
    Column("dataset", String(60), nullable=False),
    Column("permit", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # waiting, taken, running, done, refused, failed, cancelled
    Column("reason", String(40), nullable=False, default=""),
    Column("percent", Integer, nullable=False, default=0),
    Column("since", String(32), nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("result", Text),  # JWS of the node
    UniqueConstraint("run", "permit"),
    Index(None, "node", "state"),
    ForeignKeyConstraint(["run"], ["runs.id"]),
    ForeignKeyConstraint(["permit"], ["permits.id"]),
)
