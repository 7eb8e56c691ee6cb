"""`SignatureVerifier`: keys locally, contract wallets (ERC-1271, ERC-6492) by one call that deploys nothing."""

from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct, encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from backend.domain.consent import Consent, SignedGrant, consent_message
from backend.domain.errors import ChainUnavailable
from backend.domain.training import TrainingOrder
from backend.domain.types import NO_WALLET, Wallet
from backend.drivers.chain.abi import decode
from backend.drivers.chain.connection import ChainConnection, RpcError

ERC_6492_SUFFIX = bytes.fromhex("6492" * 16)
MAX_SIGNATURE_BYTES = 16_384  # a passkey wallet with its factory call takes 2 or 3 KB
VALIDATION_GAS = 10_000_000  # a wallet that burns more is not worth an answer


DOMAIN_FIELDS = "string name,string version,uint256 chainId,address verifyingContract"
GRANT_FIELDS = (
    "uint256 datanetId,address grantee,uint32 purposes,uint48 expiresAt,uint32 termsVersion,uint256 nonce,"
    "uint256 deadline"
)
REVOCATION_FIELDS = "uint256 datanetId,address grantee,uint32 purposes,uint256 nonce,uint256 deadline"
ORDER_FIELDS = (
    "address trainer,uint256[] datanetIds,uint32[] versions,uint256 parentModelId,bytes32 configDigest,uint256 nonce,"
    "uint256 deadline"
)


class Web3SignatureVerifier:
    """ERC-1271's answer is the latest block's: a wallet that changed its owners answers differently next time."""

    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain

    async def is_valid(self, wallet: Wallet, message: str, signature: bytes) -> bool:
        return await self._is_valid(wallet, encode_defunct(text=message), signature)

    async def is_valid_order(self, order: TrainingOrder, signature: bytes) -> bool:
        """As `ModelRegistry.register` will see it, and also for a wallet that is not deployed yet."""
        typed_data = encode_typed_data(full_message=self.order_typed_data(order))
        return await self._is_valid(order.trainer, typed_data, signature)

    async def is_valid_consent(self, consent: Consent, signer: Wallet, signature: bytes) -> bool:
        """As `DatanetRegistry` will see it, and also for a wallet that is not deployed yet."""
        typed_data = encode_typed_data(full_message=self.consent_typed_data(consent))
        return await self._is_valid(signer, typed_data, signature)

    def consent_typed_data(self, consent: Consent) -> dict[str, Any]:
        document = consent_message(consent, self._chain.chain_id, self._chain.contracts.datanet_registry)
        fields = GRANT_FIELDS if isinstance(consent, SignedGrant) else REVOCATION_FIELDS
        return {"types": _types(document["primaryType"], fields), **document}

    def order_typed_data(self, order: TrainingOrder) -> dict[str, Any]:
        return {
            "types": _types("TrainingOrder", ORDER_FIELDS),
            "primaryType": "TrainingOrder",
            "domain": {
                "name": "Byline ModelRegistry",
                "version": "1",
                "chainId": self._chain.chain_id,
                "verifyingContract": self._chain.contracts.model_registry,
            },
            # 256-bit numbers as text: a browser's JSON would round them.
            "message": {
                "trainer": order.trainer,
                "datanetIds": [str(datanet) for datanet in order.datanets],
                "versions": list(order.versions),
                "parentModelId": str(order.parent_model_id),
                "configDigest": order.config_digest,
                "nonce": str(order.nonce),
                "deadline": str(order.deadline),
            },
        }

    async def _is_valid(self, wallet: Wallet, message: SignableMessage, signature: bytes) -> bool:
        if not signature or len(signature) > MAX_SIGNATURE_BYTES:
            return False
        if recovered(message, signature) == wallet:
            return True
        inner, factory, factory_data = signature, NO_WALLET, b""
        if signature.endswith(ERC_6492_SUFFIX):
            try:
                factory, factory_data, inner = decode(["address", "bytes", "bytes"], signature[: -len(ERC_6492_SUFFIX)])
            except ValueError:
                return False
        digest = keccak(b"\x19" + message.version + message.header + message.body)
        code = self._chain.validator.encode_creation(wallet, digest, inner, factory, factory_data)
        try:
            answer = await self._chain.rpc(
                "eth_call", {"data": "0x" + code.hex(), "gas": hex(VALIDATION_GAS)}, "latest"
            )
        except RpcError as err:
            if err.is_revert:
                return False
            raise ChainUnavailable(str(err)) from err  # not "no" but "don't know"
        if len(answer) != 66:
            raise ChainUnavailable("the node does not run a call without an address")
        return int(answer, 16) == 1


def _types(primary: str, fields: str) -> dict[str, list[dict[str, str]]]:
    """The document's `types`, from fields written as the contract's type string has them."""

    def parsed(text: str) -> list[dict[str, str]]:
        return [{"name": name, "type": kind} for kind, name in (field.split(" ") for field in text.split(","))]

    return {"EIP712Domain": parsed(DOMAIN_FIELDS), primary: parsed(fields)}


def recovered(message: SignableMessage, signature: bytes) -> Wallet | None:
    """Whose key signed, if it is a 65-byte key signature at all."""
    if len(signature) != 65:
        return None
    try:
        return Wallet(Account.recover_message(message, signature=signature))
    except (BadSignature, ValidationError, ValueError):
        return None
