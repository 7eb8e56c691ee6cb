"""The worker: follows the chain, indexes passages, trains, sends and anchors. `python -m backend.worker`.

Each duty is a loop of its own, so that one that waits for something that is down holds up no other.
A loop's step is safe to repeat; killed at any moment, the next worker goes on.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from backend.domain.errors import BylineError, Unavailable
from backend.settings import load_settings
from backend.system import System, open_system

log = logging.getLogger("byline.worker")

Step = Callable[[], Awaitable[object]]


async def repeat(name: str, step: Step, seconds: float, stop: asyncio.Event) -> None:
    """Run `step` every `seconds` until told to stop. What is down is said once, and once when it is back."""
    down: str | None = None
    while not stop.is_set():
        try:
            await step()
            if down is not None:
                log.info("%s: works again", name)
                down = None
        except Unavailable as error:
            if str(error) != down:
                log.warning("%s: %s", name, error)
                down = str(error)
        except BylineError as error:
            if str(error) != down:
                log.error("%s: %s", name, error)
                down = str(error)
        except Exception:
            log.exception("%s", name)
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue


async def work(system: System, stop: asyncio.Event) -> None:
    """All duties at once, until told to stop."""
    duties = [
        asyncio.create_task(repeat("following the chain", system.chain_indexing.step, 0.5, stop)),
        asyncio.create_task(repeat("indexing passages", system.passage_indexing.step, 1.0, stop)),
        asyncio.create_task(repeat("anchoring receipts", system.anchoring.step, 1.0, stop)),
        asyncio.create_task(repeat("sending transactions", system.sending.step, 0.5, stop)),
        asyncio.create_task(repeat("registering models", system.training.register_finished, 1.0, stop)),
    ]
    jobs = asyncio.create_task(system.jobs.run(system.training.run))
    await stop.wait()
    jobs.cancel()
    await asyncio.gather(jobs, *duties, return_exceptions=True)


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_system(load_settings()) as system:
        log.info("working as %s on chain %d", system.publisher, system.settings.chain_id)
        await work(system, stop)
    log.info("stopped")


if __name__ == "__main__":
    asyncio.run(main())
