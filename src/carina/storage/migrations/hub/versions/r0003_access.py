"""Requests, permits, visits and jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hub_0003"
down_revision = "hub_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables that access and runs need. Nodes describe their datasets anew, with their terms."""
    op.execute("UPDATE catalogue SET state = 'withdrawn'")
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("analysis", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("cancelled_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_account"), "runs", ["account"], unique=False)
    op.create_table(
        "committees",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_committees_account")),
        sa.ForeignKeyConstraint(["node"], ["nodes.id"], name=op.f("fk_committees_node")),
        sa.PrimaryKeyConstraint("node", "account", name=op.f("pk_committees")),
    )
    op.create_index(op.f("ix_committees_account"), "committees", ["account"], unique=False)
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("people", sa.JSON(), nullable=False),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.Column("last_day", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_requests_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_account"), "requests", ["account"], unique=False)
    op.create_table(
        "status_lists",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["nodes.id"], name=op.f("fk_status_lists_node")),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_status_lists")),
    )
    op.create_table(
        "request_items",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("request", sa.String(length=32), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["nodes.id"], name=op.f("fk_request_items_node")),
        sa.ForeignKeyConstraint(["request"], ["requests.id"], name=op.f("fk_request_items_request")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_items")),
        sa.UniqueConstraint("request", "dataset", name=op.f("uq_request_items_request_dataset")),
    )
    op.create_index(op.f("ix_request_items_node"), "request_items", ["node"], unique=False)
    op.create_index(op.f("ix_request_items_request"), "request_items", ["request"], unique=False)
    op.create_table(
        "permits",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("item", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.Column("version", sa.String(length=12), nullable=False),
        sa.Column("conditions", sa.Text(), nullable=False),
        sa.Column("visa", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.String(length=32), nullable=False),
        sa.Column("issued_by", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=True),
        sa.Column("ended_by", sa.String(length=64), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=False),
        sa.Column("node_state", sa.String(length=12), nullable=False),
        sa.Column("node_reason", sa.String(length=200), nullable=False),
        sa.Column("node_since", sa.String(length=32), nullable=False),
        sa.Column("noted_at", sa.String(length=32), nullable=True),
        sa.Column("use", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["item"], ["request_items.id"], name=op.f("fk_permits_item")),
        sa.ForeignKeyConstraint(["node"], ["nodes.id"], name=op.f("fk_permits_node")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_permits")),
        sa.UniqueConstraint("item", name=op.f("uq_permits_item")),
    )
    op.create_index(op.f("ix_permits_account"), "permits", ["account"], unique=False)
    op.create_index(op.f("ix_permits_expires_at"), "permits", ["expires_at"], unique=False)
    op.create_index(op.f("ix_permits_node"), "permits", ["node"], unique=False)
    op.create_table(
        "request_events",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("item", sa.String(length=32), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["item"], ["request_items.id"], name=op.f("fk_request_events_item")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_events")),
    )
    op.create_index(op.f("ix_request_events_item"), "request_events", ["item"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("permit", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["permit"], ["permits.id"], name=op.f("fk_jobs_permit")),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_jobs_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("run", "permit", name=op.f("uq_jobs_run_permit")),
    )
    op.create_index(op.f("ix_jobs_node_state"), "jobs", ["node", "state"], unique=False)
    op.create_index(op.f("ix_jobs_run"), "jobs", ["run"], unique=False)
