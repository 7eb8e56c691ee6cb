"""Every setting, in one frozen object: environment first, then byline.toml, then defaults.

Only composition roots (app, worker, cli and what they compose) see it; drivers get plain values. In
byline.toml the names are the same in lower case. Importing this module reads nothing.
"""

import difflib
import os
import re
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from backend import setting_values as allowed
from backend.domain.types import Wallet
from backend.secret_files import read_or_create_secret


class SettingsError(Exception):
    """One line for each wrong setting: its key, where it came from, and what is allowed."""


@dataclass(frozen=True, slots=True)
class ContractAddresses:
    datanet_registry: Wallet
    model_registry: Wallet
    receipt_ledger: Wallet


_Url = Annotated[str, AfterValidator(allowed.web_url)]
_Address = Annotated[str, AfterValidator(allowed.address)]
_Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(allowed.words)]
_Path = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """`description` says what is allowed, in the words of an error message; `repr=False` marks what may
    hold a secret and is never shown."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(allowed.with_scheme("postgresql", "postgres"))] | None = Field(
        None, repr=False, description="postgresql://user:password@host/database"
    )
    rpc_url: _Url | None = Field(None, repr=False, description="the http(s) URL of an Ethereum JSON-RPC node")
    chain_id: int = Field(20931, ge=1, lt=2**53, description="a whole number from 1")
    max_head_age_seconds: int = Field(120, ge=0, le=31_536_000, description="0 (any age) to 31536000")
    ipfs_api: Annotated[str, AfterValidator(allowed.ipfs_api)] | None = Field(
        None, repr=False, description="the http(s) URL or multiaddr (/dns4/…/tcp/5001/http) of a Kubo RPC API"
    )
    ipfs_token: str | None = Field(None, repr=False, min_length=1, description="a bearer token")
    byline_home: _Path = Field(Path(".byline"), validate_default=True, description="a directory")
    byline_embedded: Annotated[_Words, AfterValidator(allowed.components)] = Field(
        (), description=f"some of {', '.join(allowed.COMPONENTS)} (set by `byline up` for what it started)"
    )
    byline_demo_keys: Annotated[_Words, AfterValidator(allowed.demo_keys)] = Field(
        (), repr=False, description=f"{allowed.DEMO_PEOPLE} funded private keys (owner, builder, three contributors)"
    )
    host: str = Field("127.0.0.1", min_length=1, pattern=r"^\S+$", description="an address to listen on")
    port: int = Field(8000, ge=1, le=65_535, description="1 to 65535")
    public_origin: Annotated[str, AfterValidator(allowed.origin)] = Field(
        default_factory=lambda known: f"http://localhost:{known.get('port', 8000)}",
        description="how browsers reach this site, such as https://byline.example (no path)",
    )
    explorer_url: _Url | None = Field(None, description="the http(s) URL of a block explorer")
    sourcify_url: _Url | None = Field(None, description="the http(s) URL of a Sourcify server, for `verify-sources`")
    blockscout_url: _Url | None = Field(None, description="the http(s) URL of a Blockscout, for `verify-sources`")
    etherscan_api_key: Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")] | None = Field(
        None, repr=False, description="an Etherscan API key, for `verify-sources`"
    )
    registry_address: _Address | None = Field(None, description="0x and 40 hex digits")
    model_registry_address: _Address | None = Field(None, description="0x and 40 hex digits")
    ledger_address: _Address | None = Field(None, description="0x and 40 hex digits")
    publisher_address: _Address | None = Field(None, description="0x and 40 hex digits")
    server_key: Annotated[str, AfterValidator(allowed.private_key)] | None = Field(
        None, repr=False, description="a private key: 64 hex digits"
    )
    max_fee_gwei: int = Field(500, ge=1, le=10**6, description="1 to 1000000, the most a transaction may pay a gas")
    confirmations: int = Field(12, ge=0, le=100, description="0 to 100, the blocks after which nothing is taken back")
    key_encryption_key: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, repr=False, description="64 hex digits"
    )
    session_hours: int = Field(24, ge=1, le=8_760, description="1 to 8760")
    max_upload_bytes: int = Field(100_000_000, ge=1, le=10**12, description="1 to 1000000000000")
    models_dir: _Path = Field(
        default_factory=lambda known: known.get("byline_home", Path()) / "models", description="a directory"
    )
    extra_models: Annotated[dict[str, Path], NoDecode, BeforeValidator(allowed.named_folders)] = Field(
        default_factory=dict, description="name=folder pairs, comma-separated (a table in byline.toml)"
    )

    @model_validator(mode="after")
    def _all_contracts_or_none(self) -> Self:
        given = [self.registry_address, self.model_registry_address, self.ledger_address]
        if any(given) and not all(given):
            raise ValueError("contracts")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # what `load_settings` read from byline.toml comes by init

    # --- what follows from the values ------------------------------------------------------------

    @property
    def home(self) -> Path:
        return self.byline_home

    @property
    def origins(self) -> frozenset[str]:
        """The pages that may sign in and change things."""
        return frozenset({self.public_origin})

    @property
    def contracts(self) -> ContractAddresses | None:
        if not (self.registry_address and self.model_registry_address and self.ledger_address):
            return None
        return ContractAddresses(
            Wallet(self.registry_address), Wallet(self.model_registry_address), Wallet(self.ledger_address)
        )

    def embeds(self, component: str) -> bool:
        """Whether `byline up` started this component here ("postgres", "chain", "ipfs")."""
        return component in self.byline_embedded

    @property
    def head_age_limit_seconds(self) -> int:
        """How old the newest block may be for a decision; 0: any age. The embedded chain mines on demand."""
        return 0 if self.embeds("chain") else self.max_head_age_seconds

    @property
    def publisher_file(self) -> Path:
        return self.home / "publisher"

    def publisher(self, own: Wallet) -> Wallet:
        """Whose receipt log this server extends: PUBLISHER_ADDRESS, else what a key rotation kept, else its `own`
        key's. Raises: SettingsError when what was kept is damaged."""
        if self.publisher_address is not None:
            return Wallet(self.publisher_address)
        try:
            return Wallet(allowed.address(self.publisher_file.read_text().strip()))
        except FileNotFoundError:
            return own
        except ValueError:
            raise SettingsError(f"{self.publisher_file} does not hold an address; restore it from a backup") from None

    def read_server_key(self) -> str:
        """SERVER_KEY, else the one kept in the home (made at the first call): 0x and 64 hex digits."""
        return self.server_key or allowed.private_key(
            read_or_create_secret(self.home / "server.key", allowed.new_private_key)
        )

    def read_key_encryption_key(self) -> bytes:
        """KEY_ENCRYPTION_KEY, else the one kept in the home (made at the first call): 32 bytes.

        Raises: SettingsError when the kept one was damaged: a new one could open nothing.
        """
        path = self.home / "key-encryption.key"
        text = self.key_encryption_key or read_or_create_secret(path, lambda: secrets.token_hex(32))
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise SettingsError(f"{path} does not hold 64 hex digits; restore it from a backup")
        return bytes.fromhex(text)


def load_settings() -> Settings:
    """Read the environment and byline.toml (in the working directory, or where BYLINE_CONFIG says).

    Raises: SettingsError.
    """
    file, values = _read_toml()
    try:
        return Settings(**values)
    except ValidationError as err:
        wrong = [e for e in err.errors() if e["type"] != "default_factory_not_called"]  # follows from another one
        problems = [_explain(str(e["loc"][0]) if e["loc"] else "", e.get("input"), file) for e in wrong]
    raise SettingsError("\n".join(dict.fromkeys(problems)))  # out of the handler: pydantic's error shows values


def _read_toml() -> tuple[Path, dict[str, Any]]:
    """The file's path and values. Raises: SettingsError for what is no TOML, or a key that is no setting."""
    named = os.environ.get("BYLINE_CONFIG")
    path = Path(named or "byline.toml")
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise SettingsError(f"BYLINE_CONFIG (environment) names {path}, and there is no such file") from None
        return path, {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise SettingsError(f"{path} cannot be read: {err}") from err
    problems = [_explain_unknown(key, path) for key in values if key not in Settings.model_fields]
    # pydantic would take `port = true` for 1; no setting is a yes or no
    problems += [
        _explain(key, v, path) for key, v in values.items() if isinstance(v, bool) and key in Settings.model_fields
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return path, values


def _explain_unknown(key: str, file: Path) -> str:
    close = difflib.get_close_matches(key.lower(), Settings.model_fields, n=1)
    hint = f"; is {close[0]} meant?" if close else f"; allowed are {', '.join(Settings.model_fields)}"
    return f"{key} ({file}) is no setting{hint}"


def _explain(key: str, value: Any, file: Path) -> str:
    if not key:
        return (
            "REGISTRY_ADDRESS, MODEL_REGISTRY_ADDRESS and LEDGER_ADDRESS must be set all three, or none of them "
            "(then `byline deploy` or the embedded chain gives them)"
        )
    field = Settings.model_fields[key]
    from_environment = any(name.upper() == key.upper() and text for name, text in os.environ.items())
    name, source = (key.upper(), "environment") if from_environment else (key, str(file))
    shown = f"is {str(value)[:100]!r}, which is not allowed" if field.repr else "has a value that is not allowed"
    return f"{name} ({source}) {shown}; it must be {field.description}"
