"""Sessions, the chain mirror, versions and the outbox."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _signing_in()
    _mirror()
    _publishing()
    _outbox()


def downgrade() -> None:
    for table in (
        "outgoing_transaction", "datanet_version", "draft", "datanet_request", "datanet_grant", "datanet",
        "chain_event", "chain_block", "wallet_session", "sign_in_nonce",
    ):  # fmt: skip
        op.drop_table(table)


def _text(name: str, *, null: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(), nullable=null)


def _big(name: str, *, null: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False)


def _moment(name: str) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _bytes(name: str, *, null: bool = False) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def _signing_in() -> None:
    op.create_table(
        "sign_in_nonce", _text("nonce"), _text("origin"), _moment("expires_at"), sa.PrimaryKeyConstraint("nonce")
    )
    op.create_table(
        "wallet_session",
        _bytes("token_hash"),
        _text("session_id"),
        _text("wallet"),
        _big("chain_id"),
        _moment("created_at"),
        _moment("last_seen_at"),
        _moment("expires_at"),
        _text("user_agent"),
        sa.PrimaryKeyConstraint("token_hash"),
        sa.UniqueConstraint("session_id"),
    )
    op.create_index("ix_wallet_session_wallet", "wallet_session", ["wallet"])


def _mirror() -> None:
    op.create_table("chain_block", _big("number"), _text("hash"), _big("timestamp"), sa.PrimaryKeyConstraint("number"))
    op.create_table(
        "chain_event",
        _big("block_number"),
        sa.Column("log_index", sa.Integer(), nullable=False),
        _text("tx_hash"),
        _text("contract"),
        _text("name"),
        sa.Column("args", JSONB(), nullable=False),
        _big("datanet", null=True),
        sa.PrimaryKeyConstraint("block_number", "log_index"),
        sa.ForeignKeyConstraint(["block_number"], ["chain_block.number"], ondelete="CASCADE"),
    )
    op.create_index("ix_chain_event_name", "chain_event", ["name", "block_number", "log_index"])
    op.create_index("ix_chain_event_datanet", "chain_event", ["datanet"])
    op.create_index(
        "ix_chain_event_args", "chain_event", ["args"], postgresql_using="gin",
        postgresql_ops={"args": "jsonb_path_ops"},
    )  # fmt: skip
    op.create_table(
        "datanet",
        _big("datanet"),
        _text("owner"),
        _text("name"),
        _big("version"),
        _text("manifest_digest", null=True),
        _text("publisher"),
        _big("public_purposes"),
        _big("created_at"),
        _big("block_number"),
        sa.PrimaryKeyConstraint("datanet"),
    )
    for table, wallet, origin in (
        ("datanet_grant", "grantee", "granted_by"),
        ("datanet_request", "requester", "message"),
    ):
        op.create_table(
            table,
            _big("datanet"),
            _text(wallet),
            _big("purposes"),
            _big("expires_at"),
            _text(origin),
            _text("tx_hash"),
            _big("block_number"),
            sa.PrimaryKeyConstraint("datanet", wallet),
            sa.ForeignKeyConstraint(["datanet"], ["datanet.datanet"], ondelete="CASCADE"),
        )
    op.create_index("ix_datanet_grant_grantee", "datanet_grant", ["grantee"])


def _publishing() -> None:
    op.create_table(
        "draft",
        _text("draft_id"),
        _big("datanet"),
        _text("owner"),
        _text("filename"),
        _text("contributor_column", null=True),
        _bytes("sealed"),
        _bytes("wrapped_key"),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("draft_id"),
    )
    op.create_index("ix_draft_expires_at", "draft", ["expires_at"])
    op.create_table(
        "datanet_version",
        _text("manifest_digest"),
        _big("datanet"),
        _big("version"),
        _text("owner"),
        _text("manifest_cid"),
        sa.Column("manifest", JSONB(), nullable=False),
        _big("records"),
        _bytes("wrapped_key"),
        _text("status"),
        _big("passages"),
        _moment("created_at"),
        _text("problem", null=True),
        sa.PrimaryKeyConstraint("manifest_digest"),
    )
    op.create_index("ix_datanet_version_datanet", "datanet_version", ["datanet", "version"])
    op.create_index("ix_datanet_version_status", "datanet_version", ["status"])


def _outbox() -> None:
    op.create_table(
        "outgoing_transaction",
        _text("reference"),
        sa.Column("place", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _text("contract"),
        _text("function"),
        sa.Column("args", JSONB(), nullable=False),
        _text("status"),
        _big("nonce", null=True),
        _bytes("raw", null=True),
        _text("tx_hash", null=True),
        _big("block_number", null=True),
        _text("problem", null=True),
        sa.PrimaryKeyConstraint("reference"),
        sa.UniqueConstraint("place"),
    )
    op.create_index("ix_outgoing_transaction_status", "outgoing_transaction", ["status"])
