"""What the archive answers from: frames, short headers, the state of a study; services' tokens; who is forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "node_0005"
down_revision = "node_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables. What was archived before has no short header and no frame table: see `node.recovery`."""
    op.create_table(
        "frame_tables",
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("frames", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("content", name=op.f("pk_frame_tables")),
    )
    op.create_table(
        "tombstones",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("project", "digest", name=op.f("pk_tombstones")),
    )
    op.create_table(
        "removals",
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("content", name=op.f("pk_removals")),
    )
    op.add_column("instances", sa.Column("brief", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("instances", sa.Column("pixel_offset", sa.BigInteger(), nullable=True))
    op.add_column("instances", sa.Column("frame_size", sa.BigInteger(), nullable=True))
    op.add_column("arrivals", sa.Column("sent", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_arrivals_sent"), "arrivals", ["sent"])
    op.add_column("studies", sa.Column("state", sa.String(length=12), nullable=False, server_default="receiving"))
    op.add_column("studies", sa.Column("completed_at", sa.String(length=32), nullable=True))
    op.add_column("studies", sa.Column("reopened", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_studies_state_last_at"), "studies", ["state", "last_at"])
    op.add_column("tokens", sa.Column("actions", sa.JSON(), nullable=True))
    op.add_column("tokens", sa.Column("datasets", sa.JSON(), nullable=True))
    _index_in_the_order_of_searches()


def _index_in_the_order_of_searches() -> None:
    op.create_index(op.f("ix_studies_patient"), "studies", ["patient"])
    op.create_index(op.f("ix_studies_study_date_study_uid"), "studies", ["study_date", "study_uid"])
    op.drop_index(op.f("ix_series_study_uid"), "series")
    of_series = ["study_uid", "series_number", "series_uid"]
    op.create_index(op.f("ix_series_study_uid_series_number_series_uid"), "series", of_series)
    op.drop_index(op.f("ix_instances_series_uid"), "instances")
    op.drop_index(op.f("ix_instances_study_uid"), "instances")
    of_instances = ["series_uid", "instance_number", "uid"]
    op.create_index(op.f("ix_instances_series_uid_instance_number_uid"), "instances", of_instances)
    name = op.f("ix_instances_study_uid_series_uid_instance_number_uid")
    op.create_index(name, "instances", ["study_uid", *of_instances])
