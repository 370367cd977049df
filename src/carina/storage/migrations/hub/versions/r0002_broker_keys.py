"""One broker key for each joined node."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hub_0002"
down_revision = "hub_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let no two joined nodes have the same nkey; with two, the broker would refuse its configuration."""
    joined = sa.text("state = 'joined'")
    op.create_index(op.f("ix_nodes_nkey"), "nodes", ["nkey"], unique=True, sqlite_where=joined, postgresql_where=joined)
