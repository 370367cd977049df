"""Requests, permits, visits and jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "node_0002"
down_revision = "node_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables that access and runs need."""
    op.create_table(
        "permit_use",
        sa.Column("hub", sa.String(length=40), nullable=False),
        sa.Column("permit", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=12), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("hub", "permit", "action", name=op.f("pk_permit_use")),
    )
    op.create_table(
        "visits",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("hub", sa.String(length=40), nullable=False),
        sa.Column("permit", sa.String(length=32), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_visits")),
    )
    op.create_index(op.f("ix_visits_expires_at"), "visits", ["expires_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("hub", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("permit", sa.String(length=32), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("analysis", sa.String(length=40), nullable=False),
        sa.Column("paper", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=True),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["hub"], ["hubs.id"], name=op.f("fk_jobs_hub")),
        sa.PrimaryKeyConstraint("hub", "id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_table(
        "permit_states",
        sa.Column("hub", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.String(length=32), nullable=False),
        sa.Column("states", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["hub"], ["hubs.id"], name=op.f("fk_permit_states_hub")),
        sa.PrimaryKeyConstraint("hub", name=op.f("pk_permit_states")),
    )
    op.create_table(
        "permits",
        sa.Column("hub", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visa", sa.Text(), nullable=False),
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("countersignature", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.String(length=32), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["hub"], ["hubs.id"], name=op.f("fk_permits_hub")),
        sa.PrimaryKeyConstraint("hub", "id", name=op.f("pk_permits")),
    )
    op.create_index(op.f("ix_permits_dataset"), "permits", ["dataset"], unique=False)
    op.create_index(
        op.f("ix_permits_hub_expires_at_received_at_decided_at"),
        "permits",
        ["hub", "expires_at", "received_at", "decided_at"],
        unique=False,
    )
    op.create_table(
        "snapshots",
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.iri"], name=op.f("fk_snapshots_dataset")),
        sa.PrimaryKeyConstraint("dataset", "number", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "snapshot_members",
        sa.Column("dataset", sa.String(length=60), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset", "number"],
            ["snapshots.dataset", "snapshots.number"],
            name=op.f("fk_snapshot_members_dataset_number"),
        ),
        sa.PrimaryKeyConstraint("dataset", "number", "uid", name=op.f("pk_snapshot_members")),
    )
    op.add_column("datasets", sa.Column("actions", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("longest_days", sa.Integer(), nullable=True))
    op.add_column("hubs", sa.Column("permit_key", sa.JSON(), nullable=True))
