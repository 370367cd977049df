"""Run by Alembic for each role: migrations go in the transaction that `storage.database.upgrade` opened."""

from __future__ import annotations

from alembic import context

settings = context.config.attributes
context.configure(connection=settings["connection"], target_metadata=settings["tables"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
