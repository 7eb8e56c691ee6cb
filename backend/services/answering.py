"""Answer a question from data the asker may use, say whose data it was, and seal that in a receipt.

No grant, no answer; no receipt, no record of an answer. The text streams as it is made; the shares
follow, computed on the model's own log-probabilities of exactly the tokens it gave.
"""

import asyncio
import logging
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from attribution.attribute import Attribution, Source, attribute
from backend.domain.answers import Answer, Generation, LoggedReceipt, ModelRef, Question, Unfinished
from backend.domain.datanet import FoundPassage
from backend.domain.errors import AccessDenied, BylineError, InvalidValue, NotFound, Unavailable
from backend.domain.prompt import build_messages
from backend.domain.training import RunStatus
from backend.domain.types import DatanetId, Digest, PublishedVersion, Purpose, RunId, Wallet
from backend.ports import (
    AccessRegistry,
    AnswerLog,
    Embedder,
    LanguageModel,
    ModelCatalog,
    PassageIndex,
    RunStore,
    VersionStore,
)
from backend.services.ordering import require
from backend.services.sealing import LedgerIdentity, seal_answer

PASSAGES = 5
PASSAGES_OF_A_RECORD = 2  # one long record must not crowd out what others have to say
PROMPT_TOKENS = 1_400  # what passages may take: SmolLM2 reads 8,192, but every coalition is scored over them
MAX_ANSWER_TOKENS = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A base model by its catalogue name, or a finished run of the asker's own."""

    base: str | None = None
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    passages: tuple[FoundPassage, ...]


@dataclass(frozen=True, slots=True)
class Token:
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    text: str
    cut: bool  # it has all the tokens it may have, and would have gone on


@dataclass(frozen=True, slots=True)
class Scoring:
    sources: int


@dataclass(frozen=True, slots=True)
class Receipted:
    answer: Answer
    receipt: LoggedReceipt


Event = Retrieved | Token | Answered | Scoring | Receipted


@dataclass(frozen=True, slots=True)
class Answering:
    access: AccessRegistry
    index: PassageIndex
    embedder: Embedder
    model: LanguageModel
    catalog: ModelCatalog
    runs: RunStore
    versions: VersionStore
    answers: AnswerLog
    identity: LedgerIdentity
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _at_work: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(
        self, wallet: Wallet, text: str, choice: ModelChoice, datanets: Sequence[DatanetId], max_tokens: int, seed: int
    ) -> Question:
        """Everything that can be refused is refused here, before anything is fetched or any model runs.
        Raises: AccessDenied, ChainUnavailable, InvalidValue, NotFound, ModelUnavailable."""
        if not text.strip():
            raise InvalidValue("question", "is empty")
        if not 1 <= max_tokens <= MAX_ANSWER_TOKENS:
            raise InvalidValue("max_tokens", f"{max_tokens} is not between 1 and {MAX_ANSWER_TOKENS}")
        if len(set(datanets)) != len(datanets):
            raise InvalidValue("datanet_ids", "a datanet is named twice")
        permissions, versions = [], []
        for datanet in datanets:
            permissions.append(await require(self.access, wallet, datanet, Purpose.RETRIEVE))
            versions.append(await self.access.current_version(datanet))
        model = await self._model(wallet, choice)
        return Question(wallet, text.strip(), model, tuple(permissions), tuple(versions), max_tokens, seed)

    async def _model(self, wallet: Wallet, choice: ModelChoice) -> ModelRef:
        if choice.run_id is None:
            if choice.base is None:
                raise InvalidValue("model", "name a base model or one of your finished runs")
            return await asyncio.to_thread(self.catalog.resolve, choice.base)
        run = await self.runs.get(choice.run_id)
        if run is None or run.wallet != wallet:
            raise NotFound(f"training run {choice.run_id}")
        if run.status is not RunStatus.DONE:
            raise InvalidValue("model", f"run {run.run_id} is {run.status}, not done")
        if run.model_id is not None and not await self.access.may_serve(run.model_id):
            raise AccessDenied(
                f"model {run.model_id} may no longer answer: the permission to train on one of its datanets has ended, "
                "and that datanet's terms say to stop serving then; ask its owner, or choose another model"
            )
        base = await asyncio.to_thread(self.catalog.resolve, run.spec.base_model)
        return ModelRef(base.base, base.revision, run.run_id, run.adapter_digest, run.adapter_cid)

    async def answer(self, question: Question) -> AsyncIterator[Event]:
        """Retrieved, Token…, Answered, Scoring, Receipted; in that order. Answer and receipt are stored
        together at the end or not at all.

        Who stops listening ends the text and not the rest: what they have read by then is divided, sealed and
        credited all the same, or an asker could have answers for nothing.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        gone = threading.Event()  # the model asks for it from its own thread
        work = asyncio.create_task(self._answer(question, events.put_nowait, gone.is_set))
        self._at_work.add(work)
        work.add_done_callback(lambda _: events.put_nowait(None))
        work.add_done_callback(lambda done: _note_unheard(done, question) if gone.is_set() else None)
        work.add_done_callback(self._at_work.discard)
        try:
            while (event := await events.get()) is not None:
                yield event
            work.result()
        finally:
            gone.set()

    async def finish(self, seconds: float) -> None:
        """Before the process ends: wait for answers that nobody hears any more to get their receipts."""
        if self._at_work:
            await asyncio.wait(set(self._at_work), timeout=seconds)

    async def take_up(self, before: datetime) -> int:
        """End the answers begun `before` this process, which another began and died over: each gets its receipt.
        Returns how many. Raises: the first Unavailable, after all had their turn; what is left waits for the next
        call."""
        ended, problem = 0, None
        for begun in await self.answers.unfinished():
            if begun.begun_at >= before:
                continue
            try:
                await self._end(begun, lambda event: None, lambda: False)
            except Unavailable as down:
                problem = problem or down
            except BylineError as error:
                log.warning("the unfinished answer %s to %s: %s", begun.answer_id, begun.question.asker, error)
            else:
                ended += 1
        if problem is not None:
            raise problem
        return ended

    async def _answer(self, question: Question, tell: Callable[[Event], None], enough: Callable[[], bool]) -> None:
        passages = await self._retrieve(question)
        begun = Unfinished(secrets.token_hex(8), question, tuple(passages), self.now())
        await self.answers.begin(begun)
        tell(Retrieved(begun.passages))
        await self._end(begun, tell, enough)

    async def _end(self, begun: Unfinished, tell: Callable[[Event], None], enough: Callable[[], bool]) -> None:
        try:
            await self._say_and_seal(begun, tell, enough)
        except Unavailable:  # it can be ended later
            raise
        except BylineError:
            await self.answers.abandon(begun.answer_id)
            raise

    async def _say_and_seal(self, begun: Unfinished, tell: Callable[[Event], None], enough: Callable[[], bool]) -> None:
        question, passages = begun.question, begun.passages
        numbered = {number: found.passage.text for number, found in enumerate(passages, start=1)}
        generation = Generation("", ())
        async for piece in self.model.stream(
            question.model,
            build_messages(question.text, numbered),
            max_tokens=question.max_tokens,
            seed=question.seed,
            enough=enough,
        ):
            if isinstance(piece, Generation):
                generation = piece
            else:
                tell(Token(piece))
        tell(Answered(generation.text, len(generation.token_ids) == question.max_tokens))
        sources = _sources(passages)
        tell(Scoring(len(sources)))
        attribution = await self._attribute(question, numbered, sources, generation)
        tell(await self.record(begun, generation, attribution))

    async def _retrieve(self, question: Question) -> list[FoundPassage]:
        """The best passages that fit the prompt. Only passages of the version the chain calls current count:
        the index may be a step behind a new one, or hold what somebody else published under the same number."""
        current = {(v.datanet, v.version) for v in question.versions if await self._is_indexed(v)}
        if not current:
            return []
        vector = (await self.embedder.embed([question.text]))[0]
        found = await self.index.search([datanet for datanet, _ in current], question.text, vector, limit=4 * PASSAGES)
        kept: list[FoundPassage] = []
        of_record: Counter[Digest] = Counter()
        tokens = 0
        for candidate in found:
            if (candidate.passage.datanet, candidate.passage.version) not in current:
                continue
            if of_record[candidate.passage.record_digest] == PASSAGES_OF_A_RECORD:
                continue
            size = await self.model.count_tokens(question.model, candidate.passage.text)
            if len(kept) < PASSAGES and tokens + size <= PROMPT_TOKENS:
                kept.append(candidate)
                of_record[candidate.passage.record_digest] += 1
                tokens += size
        return kept

    async def _is_indexed(self, version: PublishedVersion) -> bool:
        row = await self.versions.version(version.manifest_digest)
        return row is not None and row.status == "indexed" and row.manifest.registry == self.identity.registry

    async def _attribute(
        self, question: Question, numbered: dict[int, str], sources: Sequence[Source], generation: Generation
    ) -> Attribution:
        async def log_prob(coalitions: Sequence[frozenset[int]]) -> list[float]:
            prompts = []
            for kept in coalitions:
                numbers = {number for index in kept for number in sources[index].passages}
                prompts.append(build_messages(question.text, {n: text for n, text in numbered.items() if n in numbers}))
            return await self.model.log_probs(question.model, prompts, generation)

        return await attribute(sources, log_prob, len(generation.token_ids))

    async def record(self, begun: Unfinished, generation: Generation, attribution: Attribution) -> Receipted:
        """Seal the receipt and append it with the answer: both or neither. Raises: DatabaseUnavailable."""
        answer, document, credits = seal_answer(self.identity, begun, generation, attribution, self.now())
        return Receipted(answer, await self.answers.append(answer, document, credits))


def _note_unheard(work: asyncio.Task[None], question: Question) -> None:
    """Nobody listens any more, so the log has to hear of it."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("an answer to %s, who had left: %s", question.asker, error, exc_info=error)


def _sources(passages: Sequence[FoundPassage]) -> list[Source]:
    """One source for each contributor and datanet, in order of their best passage."""
    numbers: dict[tuple[Wallet, DatanetId], list[int]] = {}
    for number, found in enumerate(passages, start=1):
        numbers.setdefault((found.passage.contributor, found.passage.datanet), []).append(number)
    return [Source(contributor, int(datanet), tuple(mine)) for (contributor, datanet), mine in numbers.items()]
