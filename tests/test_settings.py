"""Settings: who wins, what is refused in which words, and what is never shown."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.domain.types import Wallet
from backend.secret_files import read_or_create_secret, write_private
from backend.setting_values import without_secrets
from backend.settings import Settings, SettingsError, load_settings

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without byline.toml and an environment without our names."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.lower() in Settings.model_fields or name == "BYLINE_CONFIG":
            monkeypatch.delenv(name)
    return tmp_path


def write_toml(text: str) -> None:
    Path("byline.toml").write_text(text)


def test_with_nothing_set_everything_has_a_default(empty_place: Path) -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.chain_id) == ("127.0.0.1", 8000, 20931)
    assert settings.public_origin == "http://localhost:8000"
    assert settings.origins == {"http://localhost:8000"}
    assert settings.home == empty_place / ".byline"
    assert settings.models_dir == empty_place / ".byline" / "models"
    assert (settings.database_url, settings.rpc_url, settings.ipfs_api, settings.contracts) == (None,) * 4


def test_the_environment_outranks_the_file_and_the_file_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml('port = 8100\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("PORT", "8200")
    settings = load_settings()
    assert (settings.port, settings.host, settings.session_hours) == (8200, "0.0.0.0", 24)  # noqa: S104


def test_the_origin_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    assert load_settings().public_origin == "http://localhost:8123"


def test_the_demo_has_a_key_for_each_of_its_people(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:064x}" for number in range(1, 6)]
    monkeypatch.setenv("BYLINE_DEMO_KEYS", ",".join(keys))
    assert load_settings().byline_demo_keys == tuple("0x" + key for key in keys)
    for wrong in (keys[:4], [*keys[:4], "0"], [*keys[:4], "secret"]):
        monkeypatch.setenv("BYLINE_DEMO_KEYS", ",".join(wrong))
        with pytest.raises(SettingsError, match=r"BYLINE_DEMO_KEYS \(environment\) has a value that is not allowed"):
            load_settings()


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


def test_byline_config_names_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 8300\n")
    monkeypatch.setenv("BYLINE_CONFIG", str(tmp_path / "other.toml"))
    assert load_settings().port == 8300


def test_a_config_file_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLINE_CONFIG", "/nowhere/byline.toml")
    with pytest.raises(SettingsError, match=r"BYLINE_CONFIG.*/nowhere/byline\.toml.*no such file"):
        load_settings()


WRONG_VALUES = [
    ("PORT", "abc", "1 to 65535"),
    ("PORT", "0", "1 to 65535"),
    ("PORT", "65536", "1 to 65535"),
    ("CHAIN_ID", "0x51c3", "a whole number"),
    ("CHAIN_ID", "-1", "a whole number"),
    ("DATABASE_URL", "mysql://localhost/db", "postgresql://"),
    ("RPC_URL", "localhost:8545", "http"),
    ("RPC_URL", "ws://localhost:8545", "http"),
    ("IPFS_API", "localhost", "multiaddr"),
    ("PUBLIC_ORIGIN", "byline.example", "https://"),
    ("PUBLIC_ORIGIN", "https://byline.example/app", "no path"),
    ("PUBLIC_ORIGIN", "https://byline.example:port", "no path"),
    ("EXPLORER_URL", "ftp://x", "http"),
    ("SOURCIFY_URL", "sourcify.dev", "http"),
    ("BLOCKSCOUT_URL", "ftp://x", "http"),
    ("ETHERSCAN_API_KEY", "a key", "an Etherscan API key"),
    ("SESSION_HOURS", "0", "1 to 8760"),
    ("MAX_FEE_GWEI", "0", "1 to 1000000"),
    ("CONFIRMATIONS", "-1", "0 to 100"),
    ("MAX_UPLOAD_BYTES", "1e9", "1 to"),
    ("SERVER_KEY", "0x1234", "64 hex digits"),
    ("SERVER_KEY", "0" * 64, "64 hex digits"),
    ("SERVER_KEY", "f" * 64, "64 hex digits"),
    ("KEY_ENCRYPTION_KEY", "zz" * 32, "64 hex digits"),
    ("EXTRA_MODELS", "/models/a", "name=folder"),
    ("BYLINE_EMBEDDED", "postgres,redis", "postgres, chain, ipfs"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    key: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    message = str(refused.value)
    assert message.startswith(f"{key} (environment) ")
    assert allowed in message
    assert "\n" not in message


def test_a_wrong_value_in_the_file_is_named_as_it_is_written_there() -> None:
    write_toml('port = "abc"\nsession_hours = -1\n')
    with pytest.raises(SettingsError) as refused:
        load_settings()
    first, second = str(refused.value).splitlines()
    assert first == "port (byline.toml) is 'abc', which is not allowed; it must be 1 to 65535"
    assert second.startswith("session_hours (byline.toml) is '-1'")


def test_a_key_that_is_no_setting_is_named_with_the_one_meant() -> None:
    write_toml('databse_url = "postgresql://x/y"\n')
    with pytest.raises(SettingsError, match=r"databse_url \(byline.toml\) is no setting; is database_url meant\?"):
        load_settings()


@pytest.mark.parametrize("text", ["PORT = 9000", "[server]\nport = 9000", "port = true", "port = [1]", "port ="])
def test_a_file_of_the_wrong_shape_is_refused(text: str) -> None:
    write_toml(text)
    with pytest.raises(SettingsError, match=r"byline\.toml"):
        load_settings()


def test_contract_addresses_come_all_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_ADDRESS", ADDRESS.lower())
    monkeypatch.setenv("MODEL_REGISTRY_ADDRESS", ADDRESS)
    with pytest.raises(SettingsError, match="all three"):
        load_settings()
    monkeypatch.setenv("LEDGER_ADDRESS", ADDRESS)
    contracts = load_settings().contracts
    assert contracts is not None
    assert contracts.datanet_registry == Wallet(ADDRESS)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Byline.Example/", "https://byline.example"),
        ("https://byline.example:443", "https://byline.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_origin_is_written_as_browsers_write_it(given: str, origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_ORIGIN", given)
    assert load_settings().public_origin == origin


def test_lists_come_with_commas_and_tables_with_equal_signs(monkeypatch: pytest.MonkeyPatch, empty_place: Path) -> None:
    write_toml('byline_embedded = ["ipfs"]\n[extra_models]\nqwen = "models/qwen"\n')
    settings = load_settings()
    assert settings.extra_models == {"qwen": empty_place / "models" / "qwen"}
    assert settings.embeds("ipfs")

    monkeypatch.setenv("BYLINE_EMBEDDED", "postgres, chain")
    monkeypatch.setenv("EXTRA_MODELS", "a=/models/a,b=/models/b=2")
    settings = load_settings()
    assert settings.extra_models == {"a": Path("/models/a"), "b": Path("/models/b=2")}
    assert settings.embeds("chain")
    assert not settings.embeds("ipfs")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1


SECRETS = {
    "DATABASE_URL": "postgresql://app:hunter2@db/byline",
    "RPC_URL": "https://mainnet.example/v3/hunter2",
    "IPFS_API": "https://me:hunter2@ipfs.example",
    "IPFS_TOKEN": "hunter2",
    "ETHERSCAN_API_KEY": "hunter2",
    "SERVER_KEY": "0x" + "5e" * 32,
    "KEY_ENCRYPTION_KEY": "5e" * 32,
}


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    shown = repr(load_settings()) + str(load_settings())
    assert "hunter2" not in shown
    assert "5e5e" not in shown


@pytest.mark.parametrize("key", sorted(SECRETS.keys() - {"IPFS_TOKEN"}))
def test_a_wrong_secret_is_not_shown_either(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(key, "nope:hunter2")
    with pytest.raises(SettingsError, match=key) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None  # nor in a traceback


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:hunter2@db:5432/byline?sslmode=require", "postgresql://app@db:5432/byline"),
        ("https://mainnet.example/v3/hunter2", "https://mainnet.example/…"),
        ("https://me:hunter2@ipfs.example:5001/", "https://ipfs.example:5001/"),
        ("/dns4/ipfs/tcp/5001/http", "/dns4/ipfs/tcp/5001/http"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_keys_are_made_once_kept_private_and_outranked_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    server_key, kek = settings.read_server_key(), settings.read_key_encryption_key()
    assert re.fullmatch(r"0x[0-9a-f]{64}", server_key)
    assert len(kek) == 32
    assert (settings.read_server_key(), settings.read_key_encryption_key()) == (server_key, kek)
    for path in settings.home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700

    monkeypatch.setenv("SERVER_KEY", "5e" * 32)
    monkeypatch.setenv("KEY_ENCRYPTION_KEY", "5e" * 32)
    assert load_settings().read_server_key() == "0x" + "5e" * 32
    assert load_settings().read_key_encryption_key() == b"\x5e" * 32


def test_a_damaged_key_encryption_key_is_not_replaced() -> None:
    settings = load_settings()
    settings.read_key_encryption_key()
    path = settings.home / "key-encryption.key"
    path.write_text("half")
    with pytest.raises(SettingsError, match="backup"):
        settings.read_key_encryption_key()
    assert path.read_text() == "half"


def test_processes_that_come_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    found: list[str] = []
    ready = threading.Barrier(8)

    def come() -> None:
        ready.wait()
        found.append(read_or_create_secret(tmp_path / "s", lambda: os.urandom(8).hex()))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_an_open_secret_file_is_closed_when_it_is_read(tmp_path: Path) -> None:
    write_private(tmp_path / "s", "x")
    (tmp_path / "s").chmod(0o644)
    assert read_or_create_secret(tmp_path / "s", str) == "x"
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
