"""`PassageIndex` in Postgres: vectors and words, fused, inside the permitted datanets only."""

from collections.abc import Sequence
from typing import Any, LiteralString, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg.halfvec import register_halfvec_info
from psycopg.rows import dict_row
from psycopg.types import TypeInfo

from backend.domain.datanet import FoundPassage, Membership, Passage
from backend.domain.types import DatanetId, Digest, Wallet, digest_bytes, digest_of
from backend.drivers.db.engine import Database
from backend.drivers.db.tables_work import DIMENSIONS, IndexedDatanet
from backend.drivers.db.wire import psycopg_connection

# Measured (bench/retrieval.py): up to here an exact search takes 0.5 µs a passage; HNSW loses recall below.
EXACT_UP_TO = 50_000
_CANDIDATES = 50  # of each side, into the fusion
_OVERFETCH = 400  # relaxed_order gives neighbours only roughly sorted: take more, sort, cut
_LEXICAL_MATCHES = 3_000  # ranking one takes some µs
_QUESTION_CHARACTERS = 4_000
_MAX_ID = 2**63 - 1

# The reader's role and setting are the second lock; the rest keeps the planner from choosing. It would take
# HNSW even where 1 % of the passages are permitted, and there find 3 % of what it should.
_SETTINGS: LiteralString = """
    SELECT permitted, set_config('app.datanets', %(setting)s, true), set_config('role', 'byline_reader', true),
        set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('enable_sort', CASE WHEN permitted > %(exact_up_to)s THEN 'off' ELSE 'on' END, true),
        set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '400', true),
        set_config('hnsw.max_scan_tuples', '100000', true), set_config('hnsw.scan_mem_multiplier', '4', true)
    FROM (
        SELECT coalesce(sum(passages), 0) AS permitted FROM indexed_datanet
        WHERE datanet_id = ANY (%(datanets)s::bigint[])
    ) AS counted"""

# The `+ 0` hides the distance from the HNSW index: every permitted passage is looked at.
_EXACT: LiteralString = """
    SELECT passage_id, (embedding <=> %(vector)s::halfvec) + 0 AS distance FROM passage
    WHERE datanet_id = ANY (%(datanets)s::bigint[]) ORDER BY distance LIMIT %(candidates)s"""

# With enable_sort off only the HNSW index gives the inner order. The outer `+ 0` is for the planner as well:
# it believes the inner order, which is a relaxed one, and would leave out the sort.
_NEAREST: LiteralString = """
    SELECT passage_id, distance FROM (
        SELECT passage_id, embedding <=> %(vector)s::halfvec AS distance FROM passage
        WHERE datanet_id = ANY (%(datanets)s::bigint[]) ORDER BY embedding <=> %(vector)s::halfvec LIMIT %(overfetch)s
    ) AS near ORDER BY distance + 0 LIMIT %(candidates)s"""

_HYBRID: LiteralString = """
    WITH semantic AS MATERIALIZED (
        SELECT passage_id, row_number() OVER (ORDER BY distance + 0, passage_id) AS place FROM ({vectors}) AS nearest
    ), lexical AS MATERIALIZED (
        SELECT found_id AS passage_id, place
        FROM lexical_candidates(%(question)s, %(datanets)s::bigint[], %(matches)s, %(candidates)s)
    ), fused AS (
        SELECT passage_id, sum(1.0::float8 / (60 + place)) AS score
        FROM (TABLE semantic UNION ALL TABLE lexical) AS placed GROUP BY passage_id
    )
    SELECT passage_id, datanet_id, version, record_index, record_digest, contributor, text, record_content, records,
        path, score, 1 - (embedding <=> %(vector)s::halfvec) AS similarity, (SELECT count(*) FROM semantic) AS semantic
    FROM fused JOIN passage USING (passage_id)
    WHERE datanet_id = ANY (%(datanets)s::bigint[])
    ORDER BY score DESC, similarity DESC, passage_id LIMIT %(limit)s"""

_HYBRID_EXACT = _HYBRID.replace("{vectors}", _EXACT)
_HYBRID_NEAREST = _HYBRID.replace("{vectors}", _NEAREST)


class PgPassageIndex:
    """Hybrid search by reciprocal rank fusion (k = 60) of the nearest vectors and the best matching words.

    Few permitted passages are searched exactly; many through HNSW, and exactly all the same when that comes
    back short. Permission is enforced twice: by the datanets named in the statement, and by row level security.
    """

    def __init__(self, database: Database, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self._database = database
        self._exact_up_to = exact_up_to

    async def replace(
        self, datanet: DatanetId, version: int, passages: Sequence[Passage], vectors: NDArray[np.float32]
    ) -> None:
        """`vectors` [len(passages), 384]. `passage_id`s are assigned here."""
        if vectors.shape != (len(passages), DIMENSIONS) or not np.isfinite(vectors).all():
            raise ValueError(f"{len(passages)} passages need as many finite vectors of {DIMENSIONS}: {vectors.shape}")
        async with self._database.transaction("passages") as session:
            connection = await psycopg_connection(session)
            await connection.execute(  # first, so that two replacements of a datanet take turns
                """INSERT INTO indexed_datanet VALUES (%s, %s, %s)
                ON CONFLICT (datanet_id) DO UPDATE SET version = excluded.version, passages = excluded.passages""",
                [datanet, version, len(passages)],
            )
            await connection.execute("DELETE FROM passage WHERE datanet_id = %s", [datanet])
            await _copy(connection, datanet, version, passages, vectors)

    async def search(
        self, datanets: Sequence[DatanetId], question: str, vector: NDArray[np.float32], *, limit: int
    ) -> list[FoundPassage]:
        if vector.shape != (DIMENSIONS,) or not np.isfinite(vector).all():
            raise ValueError(f"the question needs one finite vector of {DIMENSIONS}, not {vector.shape}")
        named = sorted({int(datanet) for datanet in datanets if 0 <= datanet <= _MAX_ID})
        if not named or limit < 1:
            return []
        parameters = {
            "datanets": named,
            "setting": ",".join(map(str, named)),
            "exact_up_to": self._exact_up_to,
            "vector": HalfVector(vector).to_text(),
            "question": _storable(question[:_QUESTION_CHARACTERS]),
            "candidates": max(_CANDIDATES, 2 * limit),
            "overfetch": max(_OVERFETCH, 4 * limit),
            "matches": _LEXICAL_MATCHES,
            "limit": limit,
        }
        async with self._database.transaction("passages") as session:
            connection = await psycopg_connection(session)
            async with connection.cursor(row_factory=dict_row) as cursor:
                [counted] = await (await cursor.execute(_SETTINGS, parameters)).fetchall()
                if counted["permitted"] > self._exact_up_to:
                    rows = await (await cursor.execute(_HYBRID_NEAREST, parameters)).fetchall()
                    if rows and rows[0]["semantic"] == parameters["candidates"]:
                        return [_found(row) for row in rows]
                    await cursor.execute("SET LOCAL enable_sort = on")
                return [_found(row) for row in await (await cursor.execute(_HYBRID_EXACT, parameters)).fetchall()]

    async def count(self, datanet: DatanetId) -> int:
        if not 0 <= datanet <= _MAX_ID:
            return 0
        async with self._database.transaction("passages") as session:
            row = await session.get(IndexedDatanet, int(datanet))
            return 0 if row is None else row.passages


async def _copy(
    connection: psycopg.AsyncConnection[Any],
    datanet: DatanetId,
    version: int,
    passages: Sequence[Passage],
    vectors: NDArray[np.float32],
) -> None:
    halfvec = await TypeInfo.fetch(connection, "halfvec")
    register_halfvec_info(connection, cast(TypeInfo, halfvec))  # None it refuses, saying that there is no such type
    async with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY passage (datanet_id, version, record_index, embedding, record_digest, contributor, text, "
            "record_content, records, path) FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.set_types(["int8", "int8", "int8", "halfvec", "varchar", "varchar", "text", "varchar", "int8", "bytea"])
        for passage, vector in zip(passages, vectors, strict=True):
            await copy.write_row((
                datanet, version, passage.record_index, HalfVector(vector),
                passage.record_digest, passage.contributor, _storable(passage.text),
                passage.membership.content, passage.membership.records,
                b"".join(digest_bytes(sibling) for sibling in passage.membership.path),
            ))  # fmt: skip


def _storable(text: str) -> str:
    """Postgres' text has no NUL and no half of a surrogate pair; uploads and questions may."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _siblings(path: bytes) -> tuple[Digest, ...]:
    return tuple(digest_of(path[at : at + 32]) for at in range(0, len(path), 32))


def _found(row: dict[str, Any]) -> FoundPassage:
    passage = Passage(
        passage_id=row["passage_id"],
        datanet=DatanetId(row["datanet_id"]),
        version=row["version"],
        record_index=row["record_index"],
        record_digest=Digest(row["record_digest"]),
        membership=Membership(Digest(row["record_content"]), row["records"], _siblings(row["path"])),
        contributor=Wallet(row["contributor"]),
        text=row["text"],
    )
    similarity = float(np.nan_to_num(row["similarity"]))  # a vector of zeros has no direction
    return FoundPassage(passage, float(row["score"]), similarity)
