"""What people see: visits to one study, another profile for what is tried again, and a while in which to undo."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "node_0006"
down_revision = "node_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns."""
    op.add_column("visits", sa.Column("study", sa.String(length=64), nullable=True))
    op.add_column("arrivals", sa.Column("profile", sa.String(length=60), nullable=True))
    op.add_column("quarantine", sa.Column("discarded_at", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_quarantine_discarded_at"), "quarantine", ["discarded_at"])
    op.create_table(
        "growth",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "project", name=op.f("pk_growth")),
    )
    op.create_table(
        "audit_check",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_check")),
    )
    op.execute("UPDATE quarantine SET state = 'destroyed' WHERE state = 'discarded'")
    _covering_indexes()


def _covering_indexes() -> None:
    """What the console counts again and again is found in an index alone."""
    _index("arrivals", "source_kind", "source_name", "received_at")
    op.drop_index(op.f("ix_arrivals_finished_at"), "arrivals")
    _index("arrivals", "state", "finished_at", "project", "size")
    _index("quarantine", "state", "reason", "size")
    op.drop_index(op.f("ix_instances_series_uid_instance_number_uid"), "instances")
    _index("instances", "series_uid", "instance_number", "uid", "size")


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
