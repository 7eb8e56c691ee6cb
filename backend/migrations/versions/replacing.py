"""Every signed attempt of an outgoing transaction is kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was signed becomes the first attempt; its fees are in its bytes. What was mined has counted for good."""
    op.add_column("outgoing_transaction", sa.Column("attempts", JSONB(), nullable=False, server_default="[]"))
    op.alter_column("outgoing_transaction", "attempts", server_default=None)
    op.execute("""
        UPDATE outgoing_transaction
        SET attempts = jsonb_build_array(
            jsonb_build_object('hash', tx_hash, 'raw', encode(raw, 'hex'), 'nonce', nonce))
        WHERE raw IS NOT NULL""")
    op.execute("UPDATE outgoing_transaction SET tx_hash = NULL WHERE status <> 'mined'")
    op.execute("UPDATE outgoing_transaction SET status = 'final' WHERE status = 'mined'")
    op.drop_column("outgoing_transaction", "nonce")
    op.drop_column("outgoing_transaction", "raw")


def downgrade() -> None:
    """Keeps the latest attempt alone: let what is on its way be mined first."""
    op.add_column("outgoing_transaction", sa.Column("nonce", sa.BigInteger(), nullable=True))
    op.add_column("outgoing_transaction", sa.Column("raw", sa.LargeBinary(), nullable=True))
    op.execute("""
        UPDATE outgoing_transaction
        SET nonce = (attempts -> -1 ->> 'nonce')::bigint,
            raw = decode(attempts -> -1 ->> 'raw', 'hex'),
            tx_hash = coalesce(tx_hash, attempts -> -1 ->> 'hash')
        WHERE attempts <> '[]'""")
    op.execute("UPDATE outgoing_transaction SET status = 'mined' WHERE status = 'final'")
    op.drop_column("outgoing_transaction", "attempts")
