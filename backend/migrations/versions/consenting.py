"""Terms, managers, freezing and offers in the mirror; orders name a parent, and versions a licence.

The mirror is emptied: the indexer reads the chain again and fills the new columns.
"""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TERMS_VERSION = ("datanet", "datanet_grant", "datanet_request")
OF_DATANET = (
    ("terms", JSONB()),
    ("licence_cid", sa.String()),
    ("frozen", sa.Boolean()),
    ("offered_to", sa.String()),
    ("managers", JSONB()),
)


def upgrade() -> None:
    _empty_mirror()
    for table in TERMS_VERSION:
        op.add_column(table, sa.Column("terms_version", sa.BigInteger(), nullable=False))
    for name, kind in OF_DATANET:
        op.add_column("datanet", sa.Column(name, kind, nullable=False))
    _rewrite("training_run", "run_id", "run", _with_parent)
    _rewrite("unfinished_answer", "answer_id", "unfinished", _with_licence)


def downgrade() -> None:
    _empty_mirror()
    for table in TERMS_VERSION:
        op.drop_column(table, "terms_version")
    for name, _ in OF_DATANET:
        op.drop_column("datanet", name)


def _empty_mirror() -> None:
    op.execute("DELETE FROM chain_block")  # its events go with it
    op.execute("DELETE FROM datanet")  # its grants and requests go with it


def _rewrite(table: str, key: str, column: str, change: Callable[[Any], None]) -> None:
    """In Python: jsonb would refuse what the documents may hold."""
    connection = op.get_bind()
    found = connection.execute(sa.text(f"SELECT {key}, {column}::text FROM {table}")).all()  # noqa: S608 - our names
    for name, text in found:
        document = json.loads(text)
        change(document)
        statement = sa.text(f"UPDATE {table} SET {column} = CAST(:document AS json) WHERE {key} = :name")  # noqa: S608
        connection.execute(statement, {"document": json.dumps(document), "name": name})


def _with_parent(run: Any) -> None:
    run["order"].setdefault("parent_model_id", 0)
    run["spec"].setdefault("parent_run", None)
    run.setdefault("base_revision", None)


def _with_licence(unfinished: Any) -> None:
    for version in unfinished["question"]["versions"]:
        version["licence_digest"] = version.pop("terms_digest")
