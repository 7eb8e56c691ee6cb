"""What consent and receipts cost on chain, in gas: `python -m bench.gas [--json]`.

Ours, and the Ethereum Attestation Service's official 1.9.0 artifacts, on the same fresh anvil in the same run under
Osaka's rules: calldata's floor price (EIP-7623) and the cap of 16,777,216 gas a transaction (EIP-7825) are enforced.
Every figure is `gasUsed` of a mined transaction; none is an estimate. Digests and addresses are drawn from a seed.

Receipts: one publisher's log already holds 12,345, so that consistency proofs are as long as they are in use. Each
figure is the dearest of several anchors in a row, divided by the receipts that each adds: 32 of one receipt with one
credit, 8 of 100 with one credit each, 8 of 1,000 without credits. A proof grows by one node with each doubling of a
log: `single_in_a_million` says what that costs. `first_anchor` opens a log.

Consent: `grant_first` is by the owner to a wallet that never held anything, two purposes for a year, and `grant_again`
to that wallet once more; `grant_by_signature` is to another such wallet, signed by the owner, submitted by a relayer;
`revoke` takes both purposes from a wallet that holds them; `approve` answers a `request`. `terms` publishes version 2.
`may_use` is the call inside a transaction, the 21,000 and calldata included; asked by `eth_call` it costs nothing.

Models: a builder's order, submitted by a relayer, for 1 and for 3 datanets that a model was trained on before.

EAS: the schema is `bytes32 receipt, uint256[] datanetIds`, with two datanets. No recipient, which would cost 20,000
more, though our credits name their contributors. 100 at once are over the cap, so `eas_multiattest_100` is two
transactions of 50, added up. `eas_timestamp_root_1000` is `timestamp` of the root of 1,000 attestations kept off chain.
What is kept differs: EAS stores a payload that contracts can read, or a bare time; we store size and root, proved to
extend the log, and credits as events.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_typing import Hash32
from eth_utils.crypto import keccak

from attribution.log import Tree, leaf_hash
from backend.domain.types import NO_WALLET
from backend.drivers.chain.abi import ContractArtifact
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.preparing import ARTIFACTS, ROOT
from bench._anvil import Anvil, anvil
from bench._report import Table, parser, report

EAS_PACKAGE = ROOT / "node_modules/@ethereum-attestation-service/eas-contracts"
EAS_SCHEMA = "bytes32 receipt,uint256[] datanetIds"
EAS_AT_ONCE = 50
LOG_SIZE = 12_345
TRAIN_AND_RETRIEVE, ALL_PURPOSES = 3, 15
YEAR_SECONDS = 31_536_000
OWNER, BUILDER, RELAYER, PUBLISHER, HEIR, ATTESTER = range(1, 7)  # of anvil's ten accounts

# key → what it is, and the most it may be
RECEIPTS: dict[str, tuple[str, int | None]] = {
    "single_with_credit": ("anchor 1 receipt, 1 credit", 60_000),
    "batch_100_with_credit": ("anchor 100, 1 credit each: per receipt", 6_000),
    "batch_1000_plain": ("anchor 1,000, no credits: per receipt", 120),
    "single_in_a_million": ("anchor 1 receipt, 1 credit, in a log of 1,000,000", None),
    "first_anchor": ("anchor the first receipt of a log, no credits", None),
    "offer_key": ("offer the log to another key", None),
    "accept_key": ("accept it", None),
}
EAS: dict[str, tuple[str, int | None]] = {
    "eas_attest": ("attest, two datanets", None),
    "eas_multiattest_100": ("multiAttest 100, as 2 × 50: per receipt", None),
    "eas_timestamp_root_1000": ("timestamp a root of 1,000: per receipt", None),
}
CONSENT: dict[str, tuple[str, int | None]] = {
    "grant_first": ("grant, a new wallet", 54_000),
    "grant_again": ("grant, the same wallet again", None),
    "grant_by_signature": ("grant by signature, a new wallet", 65_000),
    "revoke": ("revoke", 34_000),
    "request": ("request access, with a message", None),
    "approve": ("approve it", None),
    "terms": ("new terms", None),
    "accept_terms": ("accept them", None),
    "create_datanet": ("create a datanet", None),
    "publish_version": ("publish its first version", None),
    "may_use": ("mayUse, called in a transaction", None),
}
MODELS: dict[str, tuple[str, int | None]] = {
    "register_1": ("register a model of 1 datanet", None),
    "register_3": ("register a model of 3 datanets", None),
}
ASKED_FOR = [key for key, (_, most) in {**RECEIPTS, **CONSENT}.items() if most is not None] + list(EAS)

draw = random.Random(20931).randbytes  # noqa: S311 digests of nothing
Figures = dict[str, float]


def main() -> None:
    given = parser(__doc__).parse_args()
    with anvil() as chain:
        deploy(chain)
        every = {**receipt_figures(chain), **consent_figures(chain), **model_figures(chain), **eas_figures(chain)}
    parts = {"Receipts": RECEIPTS, "The same with EAS 1.9.0": EAS, "Consent": CONSENT, "Models": MODELS}
    tables = [
        Table(
            f"{title}: gas", ["", "gas", "target"], [_row(name, every[key], most) for key, (name, most) in rows.items()]
        )
        for title, rows in parts.items()
    ]
    others = {key: gas for key, gas in every.items() if key not in ASKED_FOR}
    report("gas", tables, {key: every[key] for key in ASKED_FOR} | {"others": others}, as_json=given.json)


def _row(name: str, gas: float, most: int | None) -> list[str | None]:
    return [name, f"{gas:,.1f}" if gas < 1_000 else f"{gas:,.0f}", None if most is None else f"≤ {most:,}"]


def deploy(chain: Anvil) -> None:
    """Raises: SystemExit when EAS's artifacts are not there; InvalidValue when ours are not built."""
    registry = chain.deploy(ContractArtifact.load(ARTIFACTS, "DatanetRegistry"))
    chain.deploy(ContractArtifact.load(ARTIFACTS, "ModelRegistry"), registry)
    chain.deploy(ContractArtifact.load(ARTIFACTS, "ReceiptLedger"))
    if not (EAS_PACKAGE / "artifacts/contracts/EAS.sol/EAS.json").exists():
        raise SystemExit(f"{EAS_PACKAGE.relative_to(ROOT)} is missing: run `npm ci`, which installs EAS's artifacts")
    schemas = chain.deploy(ContractArtifact.load(EAS_PACKAGE / "artifacts", "SchemaRegistry"))
    chain.deploy(ContractArtifact.load(EAS_PACKAGE / "artifacts", "EAS"), schemas)


@dataclass
class Log:
    """A publisher's log, here and in the ledger."""

    chain: Anvil
    publisher: int = PUBLISHER
    tree: Tree = field(default_factory=Tree)

    def anchor(self, receipts: int, *, credits: bool) -> float:
        """Gas a receipt of one anchor that adds so many."""
        old, new = len(self.tree), [draw(32) for _ in range(receipts)]
        self.tree.extend(leaf_hash(receipt) for receipt in new)
        proof = self.tree.consistency_proof(old) if old else []
        given = [(draw(20), 2, receipt, old + place, 10_000) for place, receipt in enumerate(new)] if credits else []
        anchor = (self.chain.accounts[self.publisher], len(self.tree), self.tree.root(), proof, given)
        return round(self.chain.send(self.publisher, "ReceiptLedger", "anchor", *anchor) / receipts, 1)


def receipt_figures(chain: Anvil) -> Figures:
    log, million = Log(chain), Log(chain, HEIR)
    first = log.anchor(1, credits=False)
    log.anchor(LOG_SIZE - 1, credits=False)
    million.anchor(1_000_000, credits=False)
    publisher = chain.accounts[PUBLISHER]
    return {
        "single_with_credit": max(log.anchor(1, credits=True) for _ in range(32)),
        "batch_100_with_credit": max(log.anchor(100, credits=True) for _ in range(8)),
        "batch_1000_plain": max(log.anchor(1_000, credits=False) for _ in range(8)),
        "single_in_a_million": max(million.anchor(1, credits=True) for _ in range(32)),
        "first_anchor": first,
        "offer_key": chain.send(PUBLISHER, "ReceiptLedger", "offerKey", publisher, chain.accounts[HEIR]),
        "accept_key": chain.send(HEIR, "ReceiptLedger", "acceptKey", publisher),
    }


def consent_figures(chain: Anvil) -> Figures:
    def send(who: int, function: str, *args: object) -> int:
        return chain.send(who, "DatanetRegistry", function, *args)

    cid, until = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", int(time.time()) + YEAR_SECONDS
    terms = (draw(32), ALL_PURPOSES, 1_250, b"EUR", False)
    figures = {"create_datanet": send(OWNER, "createDatanet", "Cardiology notes, 2019 to 2025", terms, cid, 0)}
    figures["publish_version"] = send(OWNER, "publishVersion", 1, 1, draw(32), draw(32), cid)
    friend = draw(20)
    figures["grant_first"] = send(OWNER, "grant", 1, friend, TRAIN_AND_RETRIEVE, until)
    figures["grant_again"] = send(OWNER, "grant", 1, friend, TRAIN_AND_RETRIEVE, until)

    stranger = draw(20)
    consent = (1, stranger, TRAIN_AND_RETRIEVE, until, 1, chain.call("DatanetRegistry", "nonceOf", 1, stranger), until)
    signature = sign(OWNER, chain.call("DatanetRegistry", "grantDigest", consent))
    signed = (consent, chain.accounts[OWNER], signature)
    figures["grant_by_signature"] = send(RELAYER, "grantBySignature", *signed)
    figures["revoke"] = send(OWNER, "revoke", 1, stranger, TRAIN_AND_RETRIEVE)

    message, builder = "We train a triage model for a clinic.", chain.accounts[BUILDER]
    figures["request"] = send(BUILDER, "requestAccess", 1, 1, TRAIN_AND_RETRIEVE, until, message)
    figures["approve"] = send(OWNER, "approveRequest", 1, builder, TRAIN_AND_RETRIEVE, until)
    figures["may_use"] = send(BUILDER, "mayUse", builder, 1, TRAIN_AND_RETRIEVE)
    figures["terms"] = send(OWNER, "setTerms", 1, 2, (draw(32), *terms[1:]), cid)
    figures["accept_terms"] = send(BUILDER, "acceptTerms", 1, 2)
    return dict(figures)


def model_figures(chain: Anvil) -> Figures:
    """On datanet 1, and two more of the builder's own."""
    cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    for datanet in (2, 3):
        terms = (draw(32), ALL_PURPOSES, 0, b"", False)
        chain.send(BUILDER, "DatanetRegistry", "createDatanet", "Builder's own", terms, cid, 0)
        chain.send(BUILDER, "DatanetRegistry", "publishVersion", datanet, 1, draw(32), draw(32), cid)

    def register(datanets: Iterable[int]) -> int:
        named = list(datanets)
        nonce, deadline = int.from_bytes(draw(32)), int(time.time()) + YEAR_SECONDS
        order = (chain.accounts[BUILDER], named, [1] * len(named), 0, draw(32), nonce, deadline)
        signature = sign(BUILDER, chain.call("ModelRegistry", "orderDigest", order))
        result = (draw(32), cid, "SmolLM2-135M-Instruct@12fd25f7", draw(32), cid)
        return chain.send(RELAYER, "ModelRegistry", "register", order, signature, result)

    register((1, 2, 3))  # each datanet has a model: nobody's first
    return {"register_1": register((1,)), "register_3": register((1, 2, 3))}


def eas_figures(chain: Anvil) -> Figures:
    chain.send(ATTESTER, "SchemaRegistry", "register", EAS_SCHEMA, NO_WALLET, True)
    schema = keccak(EAS_SCHEMA.encode() + bytes(20) + b"\x01")  # no resolver, revocable

    def attestation() -> tuple[object, ...]:
        payload = encode(["bytes32", "uint256[]"], [draw(32), [1, 2]])
        return (NO_WALLET, 0, True, bytes(32), payload, 0)

    single = [chain.send(ATTESTER, "EAS", "attest", (schema, attestation())) for _ in range(4)]
    halves = [
        chain.send(ATTESTER, "EAS", "multiAttest", [(schema, [attestation() for _ in range(EAS_AT_ONCE)])])
        for _ in range(100 // EAS_AT_ONCE)
    ]
    stamps = [chain.send(ATTESTER, "EAS", "timestamp", draw(32)) for _ in range(4)]
    return {
        "eas_attest": max(single),
        "eas_multiattest_100": round(sum(halves) / 100, 1),
        "eas_timestamp_root_1000": round(max(stamps) / 1_000, 1),
    }


def sign(who: int, digest: str) -> bytes:
    """As the wallet behind anvil's account would sign the EIP-712 digest."""
    return bytes(account_of(local_test_key(who)).unsafe_sign_hash(Hash32(bytes.fromhex(digest[2:]))).signature)


if __name__ == "__main__":
    main()
