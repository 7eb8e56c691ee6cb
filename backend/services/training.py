"""The worker's side of a run: from a signed order to an adapter whose origin the chain knows.

Permission is read on chain again before a single byte is fetched, and the blocks of that reading are
kept as evidence. The builder signed the order, so a run that ends while they sleep is registered all the same.
"""

import asyncio
import hashlib
import io
import json
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from backend.domain.datanet import Record, canonical_json
from backend.domain.errors import AccessDenied, BylineError, Conflict, DatabaseUnavailable, Unavailable
from backend.domain.provenance import provenance_statement
from backend.domain.training import LIVE_STATUSES, Progress, RunStatus, TrainedAdapter, TrainingRun
from backend.domain.types import Permission, PublishedVersion, RunId, digest_of
from backend.ports import AccessRegistry, ContentCipher, ContentStore, ModelCatalog, RunStore, Trainer
from backend.services.adapters import AdapterShelf, seal_adapter
from backend.services.deriving import Line, adapter_of, line_of
from backend.services.fetching import Fetching
from backend.services.ordering import permit, spec_json

WAIT_SECONDS = 5.0  # between tries while something we need does not answer
WAIT_TRIES = 120

T = TypeVar("T")

log = logging.getLogger(__name__)


def _file(content: bytes) -> BinaryIO:
    return io.BytesIO(content)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What may be trained on, and on whose say."""

    line: Line
    permissions: tuple[Permission, ...]  # for the run's datanets, then its line's
    versions: tuple[PublishedVersion, ...]
    records: list[Record]
    parent: Path | None  # the parent's adapter, unpacked


@dataclass(frozen=True, slots=True)
class Training:
    """The worker's side: one run from its queue to a stored adapter."""

    access: AccessRegistry
    fetching: Fetching
    catalog: ModelCatalog
    trainer: Trainer
    content: ContentStore
    cipher: ContentCipher
    runs: RunStore
    shelf: AdapterShelf
    pack: Callable[[Path], bytes]
    scratch: Path
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self, run_id: RunId) -> None:
        """Safe to call again after a crash at any moment: it starts the run over, or finds it ended. A database
        that goes away is waited for; it says little of a run, so the run starts over then too.
        Raises: DatabaseUnavailable when it stays away; the run stays live."""
        for _ in range(WAIT_TRIES):
            try:
                return await self._take_up(run_id)
            except DatabaseUnavailable as down:
                last = down
                log.warning("run %s: %s", run_id, down)
                await self.sleep(WAIT_SECONDS)
        raise last

    def clear_scratch(self) -> None:
        """Remove what a killed worker left: adapters are ciphertext everywhere but here. MUST NOT run beside `run`."""
        for left in self.scratch.glob("run-*"):
            shutil.rmtree(left)

    async def _take_up(self, run_id: RunId) -> None:
        run = await self.runs.get(run_id)
        if run is None or run.status not in LIVE_STATUSES:
            return
        if run.status is RunStatus.STORING and run.adapter_cid is not None:
            return  # `Registering` has it from here
        try:
            await self._run(run)
        except DatabaseUnavailable:
            raise
        except AccessDenied as denied:
            await self._end(run_id, RunStatus.REFUSED, str(denied))
        except BylineError as error:
            await self._end(run_id, RunStatus.FAILED, str(error))
        except Exception:
            log.exception("run %s", run_id)
            await self._end(run_id, RunStatus.FAILED, "Byline itself failed; the worker's log says more")

    async def _run(self, run: TrainingRun) -> None:
        if await self._train_and_store(run) is None:
            await self._end(run.run_id, RunStatus.CANCELLED, None)
        # else `Registering` has it from here

    async def _train_and_store(self, run: TrainingRun) -> TrainingRun | None:
        """None when it was cancelled on the way."""
        await self.runs.update(run.run_id, status=RunStatus.PREPARING, started_at=self.now(), problem=None)
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix=f"run-{run.run_id}-") as directory:
            prepared = await self._patiently(run.run_id, lambda: self._prepare(run, Path(directory)))
            if prepared is None:
                return None
            await self.runs.update(
                run.run_id, status=RunStatus.TRAINING, permissions=prepared.permissions, problem=None
            )
            adapter = await self.trainer.train(
                run.spec,
                (record.body for record in prepared.records),
                Path(directory),
                parent=prepared.parent,
                on_progress=lambda progress: self._progress(run.run_id, progress),
                should_stop=lambda: self._cancelled(run.run_id),
            )
            if adapter is None:
                return None
            archive = await asyncio.to_thread(self.pack, Path(adapter.directory))
        return await self._patiently(run.run_id, lambda: self._store(run, prepared, adapter, archive))

    async def _prepare(self, run: TrainingRun, directory: Path) -> _Prepared:
        """Permission for all, the line too, then data: nothing is fetched of one datanet while another says no."""
        line = await line_of(self.runs, self.catalog, run.wallet, run.spec)
        permissions = await permit(self.access, run.wallet, run.spec, line)
        versions, records = [], list[Record]()
        for datanet, ordered in zip(run.spec.datanets, run.order.versions, strict=True):
            version = await self.access.current_version(datanet)
            if version.version != ordered:
                raise Conflict(
                    f"datanet {datanet} is at version {version.version} by now and the order names {ordered}; "
                    "start a new run"
                )
            versions.append(version)
            records += await self.fetching.fetch(version)
        parent = directory / "parent" if line else None
        if parent is not None:
            await self.shelf.put_into(parent, adapter_of(line[0]))
        return _Prepared(line, permissions, tuple(versions), records, parent)

    async def _store(
        self, run: TrainingRun, prepared: _Prepared, adapter: TrainedAdapter, archive: bytes
    ) -> TrainingRun:
        await self.runs.update(
            run.run_id, status=RunStatus.STORING, loss_first=adapter.loss_first, loss_last=adapter.loss_last
        )
        adapter_digest = digest_of(hashlib.sha256(archive).digest())
        adapter_cid = await self.content.put(_file(await asyncio.to_thread(seal_adapter, self.cipher, archive)))
        base = await asyncio.to_thread(self.catalog.resolve, run.spec.base_model)
        provenance = provenance_statement(
            run,
            spec_json(run.spec),
            base,
            prepared.line,
            prepared.versions,
            prepared.permissions,
            len(prepared.records),
            adapter,
            adapter_digest,
            adapter_cid,
            self.fetching.chain_id,
            self.fetching.registry,
            self.now(),
        )
        document = canonical_json(json.loads(json.dumps(provenance)))
        provenance_digest = digest_of(hashlib.sha256(document).digest())
        provenance_cid = await self.content.put(_file(document))
        return await self.runs.update(
            run.run_id,
            base_revision=base.revision,
            adapter_digest=adapter_digest,
            adapter_cid=adapter_cid,
            provenance=json.loads(document),
            provenance_digest=provenance_digest,
            provenance_cid=provenance_cid,
            problem=None,
        )

    async def _patiently(self, run_id: RunId, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """Wait out what is down, telling the builder what we wait for. None when cancelled meanwhile."""
        for _ in range(WAIT_TRIES):
            if await self._cancelled(run_id):
                return None
            try:
                return await attempt()
            except Unavailable as down:
                last = down
                with suppress(DatabaseUnavailable):  # it may be the one that is down
                    await self.runs.update(run_id, problem=f"waiting: {down}")
                await self.sleep(WAIT_SECONDS)
        raise last

    async def _progress(self, run_id: RunId, progress: Progress) -> None:
        """A point missing from a curve costs less than the training it belongs to."""
        try:
            await self.runs.add_progress(run_id, progress)
        except DatabaseUnavailable as down:
            log.warning("run %s, step %d: %s", run_id, progress.step, down)

    async def _cancelled(self, run_id: RunId) -> bool:
        try:
            run = await self.runs.get(run_id)
        except DatabaseUnavailable:  # asked again in a moment
            return False
        return run is None or run.cancel_requested

    async def _end(self, run_id: RunId, status: RunStatus, problem: str | None) -> None:
        """Its last word must be kept, or the run would seem to go on for ever: a silent database is waited for."""
        for _ in range(WAIT_TRIES):
            try:
                await self.runs.update(run_id, status=status, problem=problem, ended_at=self.now())
            except DatabaseUnavailable as down:
                log.warning("run %s ends %s: %s", run_id, status, down)
                await self.sleep(WAIT_SECONDS)
            except Conflict:  # it was cancelled a moment ago: that stands
                return
            else:
                return
