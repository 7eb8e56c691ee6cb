"""How firm the mirrored chain is: which chain, what of it is final, and what went wrong with it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_standing",
        sa.Column("singleton", sa.Boolean(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("final_number", sa.BigInteger(), nullable=False),
        sa.Column("final_hash", sa.String(), nullable=False),
        sa.Column("final_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("singleton"),
        sa.CheckConstraint("singleton", name="chain_standing_is_one_row"),
    )


def downgrade() -> None:
    op.drop_table("chain_standing")
