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
    op.add_column("arrivals", sa.Column("profile", sa.String(length=40), nullable=True))
    op.add_column("quarantine", sa.Column("discarded_at", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_quarantine_discarded_at"), "quarantine", ["discarded_at"])
