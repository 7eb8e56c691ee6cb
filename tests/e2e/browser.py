"""Chromium for the journey, and a wallet extension that is not Byline's: keys and signing live in this process."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, expect, sync_playwright

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDTHS = (1440, 390)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ANNOUNCE = """
(() => {
  const provider = {
    request: async ({ method, params }) => {
      const answer = JSON.parse(await window.__wallet(method, JSON.stringify(params || [])));
      if (answer.error) throw Object.assign(new Error(answer.error), { code: answer.code || -32603 });
      return answer.result;
    },
    on: () => provider,
    removeListener: () => provider,
  };
  const info = { uuid: "6e0f3b0c-6a56-4a3e-9d8c-0c6f6f0f5c11", name: "Journey Wallet", rdns: "test.journey",
                 icon: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E" };
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium: playwright's own download is not needed."""
    program = shutil.which("chromium")
    assert program is not None, "Chromium is missing: `make test` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class ExtensionWallet:
    """Answers what a page asks of an injected wallet, with real signatures and real transactions."""

    account: LocalAccount
    rpc_url: str
    chain_id: int
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, params: str) -> str:
        self.asked.append(method)
        try:
            return json.dumps({"result": self._answer(method, json.loads(params))})
        except Exception as error:  # a wallet tells the page, whatever it was
            return json.dumps({"error": str(error)})

    def transactions_of(self, wallet: str) -> int:
        return int(self._rpc("eth_getTransactionCount", [wallet, "latest"]), 16)

    def balance_of(self, wallet: str) -> int:
        """Wei."""
        return int(self._rpc("eth_getBalance", [wallet, "latest"]), 16)

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method in ("eth_requestAccounts", "eth_accounts"):
            return [self.account.address]
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "personal_sign":
            return self._hex(self.account.sign_message(encode_defunct(hexstr=params[0])).signature)
        if method == "eth_signTypedData_v4":
            document = json.loads(params[1]) if isinstance(params[1], str) else params[1]
            return self._hex(self.account.sign_message(encode_typed_data(full_message=document)).signature)
        if method == "eth_sendTransaction":
            return self._send(params[0])
        return self._rpc(method, params)

    def _send(self, asked: dict[str, Any]) -> Any:
        call = {"from": self.account.address, "to": asked["to"], "data": asked["data"]}
        transaction = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": int(self._rpc("eth_getTransactionCount", [self.account.address, "pending"]), 16),
            "gas": int(self._rpc("eth_estimateGas", [call]), 16) * 2,
            "maxPriorityFeePerGas": 10**9,
            "maxFeePerGas": 10**11,
            "value": 0,
            "to": Account.from_key(self.account.key).address if asked["to"] is None else _checksum(asked["to"]),
            "data": asked["data"],
        }
        signed = self.account.sign_transaction(transaction)
        return self._rpc("eth_sendRawTransaction", [self._hex(signed.raw_transaction)])

    def _rpc(self, method: str, params: list[Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(self.rpc_url, json=body, timeout=30).json()
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["result"]

    @staticmethod
    def _hex(raw: Any) -> str:
        return "0x" + bytes(raw).hex()


def _checksum(address: str) -> str:
    from backend.domain.types import parse_wallet

    return parse_wallet(address)


@dataclass
class Visitor:
    """One person's browser window; keeps what the console complained of and what left this machine."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def by(self, testid: str) -> Any:
        return self.page.get_by_test_id(testid)

    def tick(self, testid: str) -> None:
        """A checkbox whose state the server keeps: it may be ticked already, and answers a moment later."""
        box = self.by(testid)
        box.wait_for()
        self.page.wait_for_timeout(1_000)
        if box.get_attribute("aria-checked") != "true":
            box.click()
        expect(box).to_have_attribute("aria-checked", "true")

    def picture(self, name: str) -> None:
        """Desktop and phone; the phone's page must not scroll sideways."""
        SCREENSHOTS.mkdir(exist_ok=True)
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_timeout(300)
            with contextlib.suppress(TimeoutError):  # a chart takes a moment to find its new width
                self.page.wait_for_function(f"document.documentElement.scrollWidth <= {width}", timeout=10_000)
            self.page.evaluate("scrollTo(0, 0)")  # else the bar at the top is drawn over the middle
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"
            self.page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png", full_page=True)
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def visitor(browser: Browser, url: str, wallet: ExtensionWallet | None = None) -> Visitor:
    context: BrowserContext = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    context.set_default_timeout(120_000)  # patience, not a measurement
    page = context.new_page()
    seen = Visitor(page, url)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    ours = (url, url.replace("http", "ws", 1), "data:", "blob:")
    page.on("request", lambda r: seen.foreign.append(r.url) if not r.url.startswith(ours) else None)
    if wallet is not None:
        page.expose_function("__wallet", wallet.request)
        page.add_init_script(ANNOUNCE)
    return seen
