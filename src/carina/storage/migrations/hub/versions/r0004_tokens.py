"""Tokens of services, bound to actions and datasets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hub_0004"
down_revision = "hub_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a service's token is bound to; hubs and nodes keep tokens alike."""
    op.add_column("tokens", sa.Column("actions", sa.JSON(), nullable=True))
    op.add_column("tokens", sa.Column("datasets", sa.JSON(), nullable=True))
