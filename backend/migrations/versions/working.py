"""Passages under row level security, training runs and their jobs, answers and the receipt log."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import TSVECTOR

from backend.drivers.db.jobs import jobs_schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _passages()
    _reader()
    _lexical_search()
    _runs()
    _answers()
    _execute(jobs_schema())


def downgrade() -> None:
    """The role stays: it belongs to the whole server, and other databases may use it."""
    op.execute("DROP FUNCTION lexical_candidates")
    for table in (
        "credit", "answer", "unfinished_answer", "receipt", "training_progress", "training_run", "passage",
        "indexed_datanet", "procrastinate_periodic_defers", "procrastinate_events", "procrastinate_jobs",
        "procrastinate_workers",
    ):  # fmt: skip
        op.execute(f"DROP TABLE {table} CASCADE")
    _execute("""
        DO $$ DECLARE thing record; BEGIN
            FOR thing IN SELECT oid::regprocedure AS name FROM pg_proc
                WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = current_schema()::regnamespace LOOP
                EXECUTE 'DROP FUNCTION ' || thing.name || ' CASCADE';
            END LOOP;
            FOR thing IN SELECT oid::regtype AS name FROM pg_type
                WHERE typname LIKE 'procrastinate\\_%' AND typnamespace = current_schema()::regnamespace LOOP
                EXECUTE 'DROP TYPE ' || thing.name || ' CASCADE';
            END LOOP;
        END $$""")


def _execute(statements: str) -> None:
    """Several statements as they are: SQLAlchemy would read their % and : as parameters."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute(statements)
    cursor.close()


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String(), nullable=False)


def _big(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _json(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.JSON(), nullable=False)


def _moment(name: str) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _passages() -> None:
    op.create_table(
        "indexed_datanet", _big("datanet_id"), _big("version"), _big("passages"), sa.PrimaryKeyConstraint("datanet_id")
    )
    op.create_table(
        "passage",
        sa.Column("passage_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _big("datanet_id"),
        _big("version"),
        _big("record_index"),
        sa.Column("embedding", HALFVEC(384), nullable=False),
        _text("record_digest"),
        _text("contributor"),
        sa.Column("text", sa.Text(), nullable=False),
        _text("record_content"),
        _big("records"),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("tsv", TSVECTOR(), sa.Computed("to_tsvector('english'::regconfig, text)", persisted=True)),
        sa.PrimaryKeyConstraint("passage_id"),
    )
    # in the row itself: an exact search would otherwise fetch each embedding from the TOAST table
    op.execute("ALTER TABLE passage ALTER embedding SET STORAGE PLAIN")
    op.create_index("ix_passage_datanet_id", "passage", ["datanet_id"])
    op.create_index(
        "ix_passage_embedding", "passage", ["embedding"], postgresql_using="hnsw",
        # with 64 or 128 no ef_search keeps recall at 0.99 on clustered vectors: what the graph lacks is not found
        postgresql_with={"m": 16, "ef_construction": 200}, postgresql_ops={"embedding": "halfvec_cosine_ops"},
    )  # fmt: skip
    op.create_index(
        "ix_passage_tsv", "passage", ["tsv"], postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},  # else every search reads what was published since the last vacuum
    )  # fmt: skip


def _reader() -> None:
    """The second lock: searches run as `byline_reader`, who sees the datanets in `app.datanets` and else nothing.

    A sub-select, so that the setting is read once and hashed, not once a row.
    """
    _execute("""
        DO $$ BEGIN
            CREATE ROLE byline_reader NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- it is the whole server's
        END $$;
        DO $$ BEGIN  -- who owns the tables searches by becoming the reader
            IF NOT pg_has_role(current_user, 'byline_reader', 'SET') THEN
                EXECUTE format('GRANT byline_reader TO %I', current_user);
            END IF;
        END $$;
        DO $$ BEGIN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO byline_reader', current_schema());
        END $$;
        GRANT SELECT ON passage TO byline_reader;
        ALTER TABLE passage ENABLE ROW LEVEL SECURITY;
        CREATE POLICY permitted ON passage FOR SELECT TO byline_reader USING (
            datanet_id IN (SELECT unnest(string_to_array(current_setting('app.datanets', true), ',')::bigint[]))
        )""")


def _lexical_search() -> None:
    """Full-text search for the reader, by the owner's rights but behind the same lock.

    Under row level security Postgres must not look into a GIN index for a reader, because `@@` is not
    leakproof. So this function looks there for them; it gives ids and ranks only, of permitted datanets
    only, and the text is still read through the policy.
    """
    _execute("""
        CREATE FUNCTION lexical_candidates(question text, datanets bigint[], match_limit bigint, depth integer)
            RETURNS TABLE (found_id bigint, place bigint)
            LANGUAGE plpgsql STABLE SECURITY DEFINER
            SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan SET enable_sort = on
        AS $$
        DECLARE
            permitted bigint[] := ARRAY(
                SELECT unnest(datanets)
                INTERSECT SELECT unnest(string_to_array(current_setting('app.datanets', true), ',')::bigint[])
            );
            total bigint := (SELECT sum(passages) FROM indexed_datanet WHERE datanet_id = ANY (permitted));
            words tsquery;
        BEGIN
            -- Any of the words, rarest first, as many as together match few enough passages to rank. A word
            -- that is everywhere says nothing about where to look.
            SELECT string_agg(word, ' | ')::tsquery INTO words
            FROM (
                SELECT word, sum(share) OVER (ORDER BY share, word) * total AS matches
                FROM (
                    SELECT '''' || replace(replace(lexeme, '\\', '\\\\'), '''', '''''') || '''' AS word,
                        coalesce(frequency, 0) AS share
                    FROM unnest(tsvector_to_array(to_tsvector('english', question))) AS lexeme
                    LEFT JOIN (
                        SELECT common, frequency
                        FROM pg_stats, unnest(most_common_elems::text::text[], most_common_elem_freqs)
                            AS pair (common, frequency)
                        WHERE schemaname = current_schema() AND tablename = 'passage' AND attname = 'tsv'
                    ) AS statistics ON common = lexeme
                ) AS shares
            ) AS counted
            WHERE matches <= match_limit;
            RETURN QUERY
                SELECT passage_id, row_number() OVER (ORDER BY rank DESC, passage_id)
                FROM (
                    SELECT passage_id, ts_rank(tsv, words) AS rank
                    FROM passage
                    WHERE datanet_id = ANY (permitted) AND tsv @@ words
                    ORDER BY rank DESC, passage_id
                    LIMIT depth
                ) AS ranked;
        END $$;
        REVOKE ALL ON FUNCTION lexical_candidates FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION lexical_candidates TO byline_reader""")


def _runs() -> None:
    op.create_table(
        "training_run",
        _text("run_id"),
        _text("wallet"),
        _text("status"),
        _moment("created_at"),
        _json("run"),
        sa.PrimaryKeyConstraint("run_id"),
    )
    for column in ("wallet", "status", "created_at"):
        op.create_index(f"ix_training_run_{column}", "training_run", [column])
    op.create_table(
        "training_progress",
        _text("run_id"),
        _big("step"),
        _json("progress"),
        sa.PrimaryKeyConstraint("run_id", "step"),
        sa.ForeignKeyConstraint(["run_id"], ["training_run.run_id"], ondelete="CASCADE"),
    )


def _answers() -> None:
    op.create_table(
        "receipt",
        _big("index"),
        _text("digest"),
        _text("asker"),
        _json("document"),
        _moment("appended_at"),
        sa.PrimaryKeyConstraint("index"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "unfinished_answer",
        _text("answer_id"),
        _moment("begun_at"),
        _json("unfinished"),
        sa.PrimaryKeyConstraint("answer_id"),
    )
    op.create_table(
        "answer",
        _text("answer_id"),
        _big("receipt_index"),
        _text("asker"),
        _json("answer"),
        sa.PrimaryKeyConstraint("answer_id"),
        sa.UniqueConstraint("receipt_index"),
        sa.ForeignKeyConstraint(["receipt_index"], ["receipt.index"]),
    )
    op.create_index("ix_answer_asker", "answer", ["asker"])
    op.create_table(
        "credit",
        _big("receipt_index"),
        _big("place"),
        _text("contributor"),
        _big("datanet"),
        sa.Column("share_bps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("receipt_index", "place"),
        sa.ForeignKeyConstraint(["receipt_index"], ["receipt.index"]),
    )
    op.create_index("ix_credit_contributor", "credit", ["contributor"])
