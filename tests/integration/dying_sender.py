"""Senders in processes of their own, each of which kills itself (SIGKILL) before or after one of its commit points.

python -m tests.integration.dying_sender '{"database_url": …, "rpc_url": …, "contracts": […], "key": …, "settings": []}'

Imports once and forks for each line "MOMENT AFTER" on stdin. The child takes a step for each line and answers
"stepped"; at "end", or when it has died, the parent says "ended" or "killed".
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any, NoReturn

from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.db.engine import open_database
from backend.drivers.db.outbox import PgOutbox
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.services.sending import Sending
from tests.chain_fixtures import ARTIFACTS
from tests.faults import COMMITS, Fuse, Fused


class DeadlyFuse(Fuse):
    def blow(self) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nothing outlives SIGKILL")


def read() -> str:
    """A line. Unbuffered: parent and child read from one pipe, in turn."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line.decode().strip()


def say(word: str) -> None:
    os.write(1, word.encode() + b"\n")


async def work(given: dict[str, Any], fuse: Fuse) -> None:
    contracts = ContractAddresses(*given["contracts"])
    chain = ChainConnection(given["rpc_url"], LOCAL_CHAIN_ID, contracts, ARTIFACTS)
    database = open_database(given["database_url"])
    outbox, signer = Fused(PgOutbox(database), fuse), Fused(KeyedSigner(chain, given["key"]), fuse)
    sending = Sending(outbox, signer, *given["settings"])
    while read() == "step":
        await sending.step()
        say("stepped")
    await chain.close()
    await database.close()


def main() -> None:
    given = json.loads(sys.argv[1])
    while line := read():
        moment, after = line.split()
        child = os.fork()
        if not child:
            asyncio.run(work(given, DeadlyFuse(int(moment), after == "True", COMMITS)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say("killed" if os.WIFSIGNALED(status) else "ended")


if __name__ == "__main__":
    main()
