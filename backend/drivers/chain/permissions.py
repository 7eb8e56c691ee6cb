"""`mayUse` as the registry's events add up to it: an earlier block's answer, without that block's state."""

from collections.abc import Iterable

from backend.domain.types import ALL_PURPOSES, NO_WALLET, DatanetId, Purpose, Wallet
from backend.ports import ChainEvent


def permission_from_events(
    events: Iterable[ChainEvent], wallet: Wallet, datanet: DatanetId, purpose: Purpose, timestamp: int
) -> bool:
    """What `DatanetRegistry.mayUse` says in a block of that time, after these events (in chain order)."""
    owner, public, held, expires_at = NO_WALLET, 0, 0, 0
    terms, accepted, frozen = 0, 0, False
    for event in events:
        args = event.args
        if event.contract != "DatanetRegistry":
            continue
        if event.name == "Transfer":
            if args["tokenId"] == datanet:  # a sold datanet takes nobody along
                owner, held, expires_at = args["to"], 0, 0
        elif args.get("datanetId") != datanet:
            continue
        elif event.name == "PublicPurposesSet":
            public = args["purposes"]
        elif event.name == "TermsSet":
            terms = args["termsVersion"]
        elif event.name in ("DatanetFrozen", "DatanetUnfrozen"):
            frozen = event.name == "DatanetFrozen"
        elif event.name == "AccessGranted" and args["grantee"] == wallet:
            held, expires_at, accepted = args["purposes"], args["expiresAt"], args["termsVersion"]
        elif event.name == "TermsAccepted" and args["grantee"] == wallet:
            held, accepted = args["purposes"], args["termsVersion"]
        elif event.name == "AccessRevoked" and args["grantee"] == wallet:
            held = args["remaining"]
    asked = int(purpose)
    if asked == 0 or asked & ~int(ALL_PURPOSES) or owner == NO_WALLET or frozen:
        return False
    live = held if accepted == terms and (expires_at == 0 or expires_at > timestamp) else 0
    return owner == wallet or asked & ~(public | live) == 0
