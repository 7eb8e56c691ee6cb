"""The parts that live in the browser (assets/js), as Reflex components.

Nothing they report is trusted: a handler that gets an event from one of them asks the API again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import reflex as rx

PURPOSES = ("train", "retrieve", "evaluate", "export")


def _confirmed(tx_hash: rx.Var[str], block: rx.Var[int]) -> tuple[rx.Var[str], rx.Var[int]]:
    return (tx_hash, block)


def _signed(signature: rx.Var[str]) -> tuple[rx.Var[str]]:
    return (signature,)


def _draft(draft: rx.Var[dict[str, Any]]) -> tuple[rx.Var[dict[str, Any]]]:
    return (draft,)


class _Wallet(rx.NoSSRComponent):
    library = "$/public/js/wallet.jsx"
    lib_dependencies: list[str] = ["viem@2.57.20", "mipd@0.0.7", "lucide-react", "@radix-ui/themes"]


class SignIn(_Wallet):
    """A button that opens the choice of wallets; success reloads the page."""

    tag = "SignIn"
    network: rx.Var[dict[str, Any]]
    label: rx.Var[str]
    size: rx.Var[str]
    testid: rx.Var[str]


class WalletSign(_Wallet):
    """A button that signs an EIP-712 document with the session's wallet."""

    tag = "WalletSign"
    network: rx.Var[dict[str, Any]]
    wallet: rx.Var[str]
    document: rx.Var[dict[str, Any]]
    label: rx.Var[str]
    testid: rx.Var[str]
    on_signed: rx.EventHandler[_signed]  # type: ignore[type-arg, valid-type]  # so Reflex declares events


class WalletAction(rx.NoSSRComponent):
    """One contract call from the session's wallet; see `action` for what its parts mean."""

    library = "$/public/js/action.jsx"
    lib_dependencies: list[str] = ["viem@2.57.20", "mipd@0.0.7", "lucide-react", "@radix-ui/themes"]
    tag = "WalletAction"
    network: rx.Var[dict[str, Any]]
    wallet: rx.Var[str]
    contract: rx.Var[str]
    function_name: rx.Var[str]
    args: rx.Var[list[Any]]
    fields: rx.Var[list[dict[str, Any]]]
    label: rx.Var[str]
    size: rx.Var[str]
    variant: rx.Var[str]
    color: rx.Var[str]
    testid: rx.Var[str]
    disabled: rx.Var[bool]
    on_confirmed: rx.EventHandler[_confirmed]  # type: ignore[type-arg, valid-type]


class WalletConsent(rx.NoSSRComponent):
    """A grant or revocation that the session's wallet signs and the server sends; see `consent`."""

    library = "$/public/js/consent.jsx"
    lib_dependencies: list[str] = ["viem@2.57.20", "mipd@0.0.7", "lucide-react", "@radix-ui/themes"]
    tag = "WalletConsent"
    network: rx.Var[dict[str, Any]]
    wallet: rx.Var[str]
    datanet_id: rx.Var[int]
    kind: rx.Var[str]
    grantee: rx.Var[str]
    purposes: rx.Var[str | list[str]]
    fields: rx.Var[list[dict[str, Any]]]
    label: rx.Var[str]
    size: rx.Var[str]
    variant: rx.Var[str]
    color: rx.Var[str]
    testid: rx.Var[str]
    on_confirmed: rx.EventHandler[_confirmed]  # type: ignore[type-arg, valid-type]


class UploadDraft(rx.NoSSRComponent):
    """Chooses a file, uploads it to the API with progress, hands over the API's draft."""

    library = "$/public/js/upload.jsx"
    tag = "UploadDraft"
    datanet_id: rx.Var[int]
    max_bytes: rx.Var[int]
    testid: rx.Var[str]
    on_draft: rx.EventHandler[_draft]  # type: ignore[type-arg, valid-type]


class _Bit(rx.NoSSRComponent):
    library = "$/public/js/bits.jsx"


class Short(_Bit):
    tag = "Short"
    value: rx.Var[str | None]
    mine: rx.Var[str]
    whole: rx.Var[bool]
    href: rx.Var[str]
    testid: rx.Var[str]


class When(_Bit):
    tag = "When"
    iso: rx.Var[str | int | None]
    empty: rx.Var[str]
    date_only: rx.Var[bool]
    relative: rx.Var[bool]


class SignOut(_Bit):
    tag = "SignOut"
    testid: rx.Var[str]


class CopyButton(_Bit):
    tag = "CopyButton"
    value: rx.Var[str | None]
    label: rx.Var[str]
    testid: rx.Var[str]


copy_button = CopyButton.create
sign_out = SignOut.create
upload_draft = UploadDraft.create
wallet_sign = WalletSign.create


def short(value: Any, **props: Any) -> rx.Component:
    """An address or digest cut to a readable length, with a copy button."""
    return Short.create(value=value, **props)


def when(iso: Any, **props: Any) -> rx.Component:
    """A UTC time (ISO-8601, or Unix seconds) in the reader's own zone, or (`relative`) how long ago it was."""
    return When.create(iso=iso, **props)


def field(name: str, label: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A field of an `action` or a `consent`. `kind`: text, textarea, address, date (end of that day, empty is never),
    purposes, choice (`options`: pairs of a value and its words), price (`value`: amount and currency; "$name.amount"
    and "$name.currency") or licence (a text that is pinned when the button is pressed; "$name.digest", "$name.cid").

    More: help, placeholder, optional, max_bytes, value, for purposes `options` (names that may be chosen), and `fold`,
    the words under which fields stand closed at the end of the form.
    """
    return {"name": name, "label": label, "kind": kind, **more}


def action(
    function_name: str,
    args: Sequence[Any],
    *,
    label: str,
    testid: Any,
    network: Any,
    wallet: Any,
    on_confirmed: Any,
    fields: Sequence[Mapping[str, Any]] = (),
    contract: str = "DatanetRegistry",
    **look: Any,
) -> rx.Component:
    """A button (with its fields) that calls `contract.function_name(*args)` from the session's wallet.

    An argument "$name" takes the value of the field of that name when the button is pressed; a dict is a struct. The
    component says itself what it waits for and what went wrong; `on_confirmed(tx_hash, block)` comes after the block.
    """
    return WalletAction.create(
        function_name=function_name,
        args=list(args),
        label=label,
        testid=testid,
        network=network,
        wallet=wallet,
        on_confirmed=on_confirmed,
        fields=[dict(one) for one in fields],
        contract=contract,
        **look,
    )


def consent(
    kind: str,
    datanet_id: Any,
    grantee: Any,
    purposes: Any,
    *,
    label: str,
    testid: Any,
    network: Any,
    wallet: Any,
    on_confirmed: Any,
    fields: Sequence[Mapping[str, Any]] = (),
    **look: Any,
) -> rx.Component:
    """A button (with its fields) that grants (`kind` "grant") or revokes ("revocation") by one signature and no gas.

    `grantee` and `purposes` may be "$name" of a field; a date field "until" says when a grant ends. `on_confirmed` is
    called as by `action`, and with block 0 when what is on the screen turned out to be out of date.
    """
    return WalletConsent.create(
        kind=kind,
        datanet_id=datanet_id,
        grantee=grantee,
        purposes=purposes,
        label=label,
        testid=testid,
        network=network,
        wallet=wallet,
        on_confirmed=on_confirmed,
        fields=[dict(one) for one in fields],
        **look,
    )
