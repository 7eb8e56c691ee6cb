"""`byline reindex` on a real chain and a real Postgres."""

from pathlib import Path
from typing import Any

import pytest

from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.db.engine import Database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.versions import PgVersionStore
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.reindex_command import reindex_chain
from backend.services.indexing import ChainIndexing
from backend.settings import Settings
from tests.chain_fixtures import NO_TERMS, LocalHand
from tests.contract.test_following import dump

pytestmark = pytest.mark.integration


async def test_reindexing_leaves_the_tables_byte_for_byte_and_mends_what_was_damaged(
    chain_connection: ChainConnection, dead_connection: ChainConnection, contract_addresses: ContractAddresses,
    database: Database, database_url: str, tmp_path: Path,
) -> None:  # fmt: skip
    hand = LocalHand(chain_connection, dead_connection)
    indexing = ChainIndexing(Web3ChainEvents(chain_connection), PgChainMirror(database), PgVersionStore(database))
    for number in range(5):
        await hand.send(number, "DatanetRegistry", "createDatanet", f"n{number}", NO_TERMS, "", 2)
        await indexing.step()
    whole = dump(database_url)
    values: dict[str, Any] = {
        "database_url": database_url,
        "rpc_url": chain_connection.rpc_url,
        "chain_id": LOCAL_CHAIN_ID,
        "ipfs_api": "http://127.0.0.1:9",
        "byline_home": tmp_path,
        "registry_address": contract_addresses.datanet_registry,
        "model_registry_address": contract_addresses.model_registry,
        "ledger_address": contract_addresses.receipt_ledger,
    }
    settings = Settings(**values)
    said: list[str] = []
    events = await reindex_chain(settings, lambda part, what: said.append(f"{part}: {what}"))
    assert dump(database_url) == whole
    assert events == whole["chain_event"].count(b"\n")
    assert said[-1].endswith(f"{events:,} events so far")

    async with database.transaction("damage") as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DELETE FROM datanet")
        await connection.exec_driver_sql("DELETE FROM chain_event WHERE log_index = 1")
        await connection.exec_driver_sql("UPDATE chain_event SET args = '{}'")
    assert dump(database_url) != whole
    await reindex_chain(settings, lambda part, what: None)
    assert dump(database_url) == whole
