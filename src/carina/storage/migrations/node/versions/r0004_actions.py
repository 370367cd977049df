"""What was done to each instance, for the evidence of a dataset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "node_0004"
down_revision = "node_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of actions, and let versions point into it."""
    op.create_table(
        "action_sets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_action_sets")),
    )
    op.add_column("instance_versions", sa.Column("actions", sa.String(length=64), nullable=True))
