"""The tables of a node, as first made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "node_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table, and the head of the audit trail."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "arrivals",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_kind", sa.String(length=10), nullable=False),
        sa.Column("source_name", sa.String(length=200), nullable=False),
        sa.Column("received_at", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("project", sa.String(length=40), nullable=True),
        sa.Column("study_uid", sa.String(length=64), nullable=True),
        sa.Column("uid", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.String(length=40), nullable=True),
        sa.Column("claimed_at", sa.String(length=32), nullable=True),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrivals")),
    )
    op.create_index(op.f("ix_arrivals_finished_at"), "arrivals", ["finished_at"], unique=False)
    op.create_index(op.f("ix_arrivals_received_at"), "arrivals", ["received_at"], unique=False)
    op.create_index(
        op.f("ix_arrivals_source_kind_source_name_state_reason"),
        "arrivals",
        ["source_kind", "source_name", "state", "reason"],
        unique=False,
    )
    op.create_index(op.f("ix_arrivals_state_id"), "arrivals", ["state", "id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("bucket", sa.String(length=120), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_bucket"), "attempts", ["bucket"], unique=False)
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_action"), "audit", ["action"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "clinical",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sex", sa.String(length=1), nullable=True),
        sa.Column("topography", sa.String(length=8), nullable=False),
        sa.Column("site", sa.String(length=3), nullable=False),
        sa.Column("morphology", sa.String(length=8), nullable=True),
        sa.Column("diagnosis_date", sa.String(length=10), nullable=True),
        sa.Column("age_at_diagnosis", sa.Integer(), nullable=True),
        sa.Column("stage", sa.String(length=20), nullable=True),
        sa.Column("treatment", sa.String(length=100), nullable=True),
        sa.Column("vital_status", sa.String(length=10), nullable=True),
        sa.PrimaryKeyConstraint("project", "patient", "number", name=op.f("pk_clinical")),
    )
    op.create_index(op.f("ix_clinical_project_site"), "clinical", ["project", "site"], unique=False)
    op.create_table(
        "datasets",
        sa.Column("iri", sa.String(length=60), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("query", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("published_at", sa.String(length=32), nullable=True),
        sa.Column("published_digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("iri", name=op.f("pk_datasets")),
    )
    op.create_table(
        "hubs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=300), nullable=False),
        sa.Column("broker", sa.String(length=300), nullable=False),
        sa.Column("broker_ca", sa.Text(), nullable=False),
        sa.Column("key", sa.JSON(), nullable=False),
        sa.Column("joined_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("last_contact", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hubs")),
    )
    op.create_table(
        "instance_versions",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=40), nullable=False),
        sa.Column("profile_digest", sa.String(length=64), nullable=False),
        sa.Column("review", sa.String(length=64), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint(
            "project", "uid", "engine", "profile_digest", "review", name=op.f("pk_instance_versions")
        ),
    )
    op.create_index(op.f("ix_instance_versions_content"), "instance_versions", ["content"], unique=False)
    op.create_index(
        op.f("ix_instance_versions_project_source_digest"),
        "instance_versions",
        ["project", "source_digest"],
        unique=False,
    )
    op.create_table(
        "key_checks",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("check", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_key_checks")),
    )
    op.create_table(
        "patients",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("sex", sa.String(length=1), nullable=True),
        sa.PrimaryKeyConstraint("project", "patient", name=op.f("pk_patients")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column("source_kind", sa.String(length=10), nullable=False),
        sa.Column("source_name", sa.String(length=200), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=True),
        sa.Column("modality", sa.String(length=16), nullable=True),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index(op.f("ix_quarantine_reason"), "quarantine", ["reason"], unique=False)
    op.create_table(
        "seen_messages",
        sa.Column("sender", sa.String(length=40), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sender", "nonce", name=op.f("pk_seen_messages")),
    )
    op.create_index(op.f("ix_seen_messages_expires_at"), "seen_messages", ["expires_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_account"), "sessions", ["account"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=True),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=True),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
    )
    op.create_table(
        "studies",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("study_date", sa.String(length=8), nullable=True),
        sa.Column("study_time", sa.Text(), nullable=True),
        sa.Column("study_id", sa.Text(), nullable=True),
        sa.Column("accession_number", sa.Text(), nullable=True),
        sa.Column("age_years", sa.Integer(), nullable=True),
        sa.Column("modalities", sa.JSON(), nullable=False),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.Column("first_at", sa.String(length=32), nullable=False),
        sa.Column("last_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "patient"], ["patients.project", "patients.patient"], name=op.f("fk_studies_project_patient")
        ),
        sa.PrimaryKeyConstraint("project", "study_uid", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_studies_study_uid")),
    )
    op.create_index(op.f("ix_studies_last_at"), "studies", ["last_at"], unique=False)
    op.create_index(op.f("ix_studies_project_patient"), "studies", ["project", "patient"], unique=False)
    op.create_table(
        "series",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("series_number", sa.Integer(), nullable=True),
        sa.Column("body_part", sa.String(length=16), nullable=True),
        sa.Column("manufacturer", sa.Text(), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("instrument", sa.String(length=200), nullable=True),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "study_uid"], ["studies.project", "studies.study_uid"], name=op.f("fk_series_project_study_uid")
        ),
        sa.PrimaryKeyConstraint("project", "series_uid", name=op.f("pk_series")),
        sa.UniqueConstraint("series_uid", name=op.f("uq_series_series_uid")),
    )
    op.create_index(
        op.f("ix_series_project_modality_body_part"), "series", ["project", "modality", "body_part"], unique=False
    )
    op.create_index(op.f("ix_series_study_uid"), "series", ["study_uid"], unique=False)
    op.create_table(
        "instances",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("instance_number", sa.Integer(), nullable=True),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "series_uid"],
            ["series.project", "series.series_uid"],
            name=op.f("fk_instances_project_series_uid"),
        ),
        sa.PrimaryKeyConstraint("project", "uid", name=op.f("pk_instances")),
        sa.UniqueConstraint("uid", name=op.f("uq_instances_uid")),
    )
    op.create_index(op.f("ix_instances_series_uid"), "instances", ["series_uid"], unique=False)
    op.create_index(op.f("ix_instances_study_uid"), "instances", ["study_uid"], unique=False)
    head = sa.table(
        "audit_head", sa.column("id", sa.Integer), sa.column("seq", sa.Integer), sa.column("digest", sa.String)
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "digest": "0" * 64}])
