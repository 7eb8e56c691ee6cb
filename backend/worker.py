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
    """All duties at once, until told to stop. Raises: RuntimeError when one ends by itself: without it this worker
    would only look well, and the supervisor starts another."""
    system.training.clear_scratch()
    steps: dict[str, tuple[Step, float]] = {
        "following the chain": (system.chain_indexing.step, 0.5),
        "indexing passages": (system.passage_indexing.step, 1.0),
        "anchoring receipts": (system.anchoring.step, 1.0),
        "sending transactions": (system.sending.step, 0.5),
        "registering models": (system.registering.step, 1.0),
        "finding runs without a job": (system.runs.enqueue_lost, 5.0),
    }
    jobs = asyncio.create_task(system.jobs.run(system.training.run), name="training runs")
    duties = [jobs, *(asyncio.create_task(repeat(name, *step, stop), name=name) for name, step in steps.items())]
    told = asyncio.create_task(stop.wait())
    await asyncio.wait((told, *duties), return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        jobs.cancel()  # the others end after the step in hand
        await asyncio.gather(told, *duties, return_exceptions=True)
        return
    ended = next(duty for duty in duties if duty.done())
    for task in (told, *duties):
        task.cancel()
    await asyncio.gather(told, *duties, return_exceptions=True)
    raise RuntimeError(f"{ended.get_name()}: ended by itself") from ended.exception()


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
