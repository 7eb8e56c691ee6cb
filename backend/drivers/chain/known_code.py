"""This release's contracts as code: what creates each, where CREATE2 puts it, and whether what is there is it."""

from collections.abc import Awaitable, Callable, Mapping

from eth_utils.crypto import keccak

from backend.domain.errors import InvalidValue, UnknownCode
from backend.domain.types import Digest, Wallet, digest_of, parse_wallet
from backend.drivers.chain.abi import CONTRACTS, ContractArtifact

# The deterministic deployment proxy: it creates what follows the salt in its input by CREATE2, the same everywhere.
PROXY = parse_wallet("0x4e59b44847b379578588920cA78FbF26c0B4956C")
SALT = keccak(text="byline contracts 1")  # another one with each release that wants fresh contracts of the same code
CONSTRUCTED_WITH = {"ModelRegistry": ("DatanetRegistry",)}  # whose addresses a constructor takes

CodeAt = Callable[[Wallet], Awaitable[bytes]]
# What this code would return, run in place of the contract at that address; None where the node cannot say.
RunAt = Callable[[Wallet, bytes], Awaitable[bytes | None]]


def arguments(artifact: ContractArtifact, addresses: Mapping[str, Wallet]) -> bytes:
    """The constructor's arguments, encoded, with the other contracts at these addresses."""
    return artifact.encode_arguments(*(addresses[each] for each in CONSTRUCTED_WITH.get(artifact.name, ())))


def creation_code(artifact: ContractArtifact, addresses: Mapping[str, Wallet]) -> bytes:
    return artifact.bytecode + arguments(artifact, addresses)


def create2_address(creation: bytes) -> Wallet:
    """Where the proxy puts it. The address commits to the code and its arguments: whoever sends it, nothing else can
    ever be there."""
    digest = keccak(b"\xff" + bytes.fromhex(PROXY[2:]) + SALT + keccak(creation))
    return parse_wallet("0x" + digest[12:].hex())


def release_addresses(artifacts: Mapping[str, ContractArtifact]) -> dict[str, Wallet]:
    """Contract → its address, the same on every chain."""
    addresses: dict[str, Wallet] = {}
    for name in CONTRACTS:  # in an order in which each one's arguments are known
        addresses[name] = create2_address(creation_code(artifacts[name], addresses))
    return addresses


def code_hash(artifact: ContractArtifact, code: bytes | None = None) -> Digest:
    """keccak-256 of runtime code (None: the one this release knows), with zeros for the immutables, which differ
    from chain to chain."""
    masked = bytearray(artifact.runtime if code is None else code)
    for start, length in artifact.immutables:
        masked[start : start + length] = bytes(len(masked[start : start + length]))
    return digest_of(keccak(bytes(masked)))


async def check_code(
    code_at: CodeAt, run_at: RunAt, addresses: Mapping[str, Wallet], artifacts: Mapping[str, ContractArtifact]
) -> None:
    """Raises: InvalidValue when there is no code at an address, UnknownCode when it is another than this release's or
    was constructed with other values, and what the callables raise."""
    for name in CONTRACTS:
        artifact, address = artifacts[name], addresses[name]
        where = f"{name} at {address}"
        code = await code_at(address)
        if not code:
            raise InvalidValue("contracts", f"there is no {where}; run `byline deploy`, or correct its address")
        found, known = code_hash(artifact, code), code_hash(artifact)
        if found != known:
            raise UnknownCode(
                "contracts",
                f"{where} has code of hash {found}, and this Byline knows {known} only; run `byline deploy` for "
                "contracts of this release, or the release that deployed those",
            )
        if not artifact.immutables:
            continue
        creation = creation_code(artifact, addresses)
        # Run in the contract's place, its creation code sees its address and returns its code, immutables and all.
        expected = await run_at(address, creation)
        if expected is not None and code_hash(artifact, expected) != known:
            expected = None  # e.g. a node that overlooked what to run
        if expected is None and address == create2_address(creation):
            continue  # a node that cannot say; but only this creation code leads to this address
        if expected != code:
            raise UnknownCode("contracts", f"{where} {_wrongly_constructed(artifact, code, expected)}")


def _wrongly_constructed(artifact: ContractArtifact, code: bytes, expected: bytes | None) -> str:
    if expected is None:
        return (
            "cannot be compared with what its constructor writes: this node runs no call with a state override; use "
            "one that does, or the addresses that `byline deploy` prints"
        )
    wrong = [
        f"0x{code[start : start + length].hex()} for 0x{expected[start : start + length].hex()}"
        for start, length in artifact.immutables
        if code[start : start + length] != expected[start : start + length]
    ]
    return (
        f"was constructed with other values ({', '.join(dict.fromkeys(wrong))}): it does not belong to the other "
        "contracts; run `byline deploy`, or correct the addresses"
    )
