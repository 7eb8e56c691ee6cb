"""Every way Byline says no, on one page.

    BylineError
    ├── InvalidValue            a value the caller gave is wrong; `field` names it
    │   ├── UnknownCode         a contract at a configured address is none of this release's
    │   ├── UnreadableFile      an upload cannot be read as the format it claims
    │   └── RejectedRows        rows are wrong and the caller asked to refuse them all
    ├── SignInRefused           a sign-in message failed one named check (see domain/siwe.py)
    ├── NotSignedIn             no session, or it ended
    ├── AccessDenied            the chain said no
    ├── NotFound                nothing by that name (or nothing this wallet may see)
    ├── Conflict                the thing moved on since the caller looked
    ├── TooLarge                over a stated limit
    ├── LimitReached            too often within a stated time
    ├── Unavailable             "don't know": something we depend on does not answer
    │   ├── ChainUnavailable
    │   │   └── ContractsRefused the chain answers, but not with our contracts
    │   ├── FeeTooHigh          the chain asks for more than this server may pay
    │   ├── ContentUnavailable  IPFS is down, or does not have the block
    │   ├── DatabaseUnavailable
    │   └── ModelUnavailable    weights missing, or the engine is not up
    ├── ContentCorrupt          bytes came back that are not the bytes that were pinned
    ├── TransactionReverted     a contract refused; `error` is its own name for why
    └── TrainingFailed          the trainer stopped; the message is what it said

A message says what is wrong and what to do next. HTTP statuses live in routes/errors.py alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class BylineError(Exception):
    """Root of every error a caller may see. `str(error)` is fit to show a person."""


class InvalidValue(BylineError):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class UnknownCode(InvalidValue):
    pass


class UnreadableFile(InvalidValue):
    def __init__(self, problem: str) -> None:
        super().__init__("file", problem)


@dataclass(frozen=True, slots=True)
class RowProblem:
    row: int  # 1-based, counting data rows as a person sees them in the file
    problem: str


class RejectedRows(InvalidValue):
    def __init__(self, problems: Sequence[RowProblem]) -> None:
        first = problems[0]
        super().__init__(
            "rows",
            f"{len(problems)} of the rows cannot be used (row {first.row}: {first.problem}); "
            "mend them, or choose to keep the good rows only",
        )
        self.problems = tuple(problems)


class SignInRefused(BylineError):
    """Subclasses in domain/siwe.py: one for each check."""


class NotSignedIn(BylineError):
    def __init__(self, why: str = "you are not signed in") -> None:
        super().__init__(f"{why}; sign in with your wallet")


class AccessDenied(BylineError):
    def __init__(self, message: str) -> None:
        super().__init__(message)

    @classmethod
    def to_datanet(cls, wallet: str, datanet: int, purpose: str, block: int) -> "AccessDenied":
        return cls(
            f"wallet {wallet} may not {purpose} with datanet {datanet} (read on chain at block {block}); "
            "ask its owner for a grant"
        )


class NotFound(BylineError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was not found")


class Conflict(BylineError):
    pass


class TooLarge(BylineError):
    pass


class LimitReached(BylineError):
    pass


class Unavailable(BylineError):
    """Not "no" but "don't know": the caller may try again."""


class ChainUnavailable(Unavailable):
    def __init__(self, what: str) -> None:
        super().__init__(f"the chain does not answer ({what}); nothing was decided, try again shortly")


class FeeTooHigh(Unavailable):
    def __init__(self, wanted_wei: int, ceiling_wei: int) -> None:
        """Both a gas. Whole gwei are shown, the wanted ones rounded up."""
        super().__init__(
            f"sending it takes a fee of {-(-wanted_wei // 10**9)} gwei a gas and MAX_FEE_GWEI allows "
            f"{ceiling_wei // 10**9}; it waits until the chain asks for less or MAX_FEE_GWEI is raised"
        )


class ContractsRefused(ChainUnavailable):
    """What a wrong contract says is no answer: to whoever has to decide it is as good as no chain."""

    def __init__(self, problem: str) -> None:
        Unavailable.__init__(self, f"{problem}; nothing was decided")


class ContentUnavailable(Unavailable):
    def __init__(self, what: str) -> None:
        super().__init__(f"IPFS does not deliver ({what}); nothing was changed, try again shortly")


class PublicationUnseen(Unavailable):
    def __init__(self, what: str) -> None:
        super().__init__(f"this server has not seen the owner publish {what} yet; try again shortly")


class DatabaseUnavailable(Unavailable):
    def __init__(self, what: str) -> None:
        super().__init__(f"the database does not answer ({what}); nothing was changed, try again shortly")


class ModelUnavailable(Unavailable):
    def __init__(self, what: str) -> None:
        super().__init__(f"the model cannot be used ({what})")


class ContentCorrupt(BylineError):
    def __init__(self, what: str) -> None:
        super().__init__(f"content is not what was pinned ({what}); it was refused")


class TransactionReverted(BylineError):
    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(f"the contract refused: {error}{f' ({detail})' if detail else ''}")
        self.error = error


class TrainingFailed(BylineError):
    """The message is what the trainer said, fit to show the builder."""
