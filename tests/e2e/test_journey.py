"""One journey through a real browser: sign-in → publish → request → grant → train → chat → receipt → audit →
new terms → revoke → freeze.

Owner and builder are two windows. The owner uses the built-in local test wallet, the builder a wallet
extension (EIP-6963). Every signature and transaction is real; the model really trains.
"""

import json
import re
import subprocess
import sys

import pytest
from eth_account import Account
from playwright.sync_api import expect

from backend.drivers.chain.wallet import local_test_key
from tests.e2e.browser import ExtensionWallet, Visitor, chromium, visitor
from tests.system_fixtures import ROOT, RunningByline

pytestmark = pytest.mark.e2e
expect.set_options(timeout=120_000)

MINUTES = 60_000  # Playwright counts milliseconds
OWNER = Account.from_key(local_test_key(0)).address
LICENCE = "For research.\nName the contributors."
CONTRIBUTORS = [Account.from_key(local_test_key(index)).address for index in (2, 3, 4)]


def rows() -> str:
    """Twelve rows of three contributors as JSONL, and one that is no row at all."""
    sample = (ROOT / "tests" / "data" / "pubmedqa_sample.jsonl").read_text().splitlines()[:12]
    lines = []
    for number, line in enumerate(sample):
        row = json.loads(line)
        lines.append(
            json.dumps(
                {
                    "instruction": row["question"],
                    "input": row["contexts"][0],
                    "output": row["answer"],
                    "contributor": CONTRIBUTORS[number % 3],
                }
            )
        )
    return "\n".join([*lines, '{"neither": "question nor answer"}'])


def test_from_a_wallet_to_an_audited_answer(byline: RunningByline) -> None:
    with chromium() as browser:
        account = Account.from_key(local_test_key(1))
        extension = ExtensionWallet(account, f"{byline.url}/api/network/rpc", 20931)
        owner, builder = visitor(browser, byline.url), visitor(browser, byline.url, extension)

        sign_in_with_the_test_wallet(owner)
        datanet = create_a_datanet(owner)
        publish_a_file_with_one_bad_row(owner, datanet)
        sign_in_with_the_extension(builder, account.address)
        ask_in_vain(builder, datanet, "before-the-grant")
        request_access(builder, datanet)
        approve_without_gas(owner, extension, datanet, account.address)
        run = train(builder, datanet)
        digest = ask(builder, datanet, run)
        read_the_receipt(builder, digest)
        look_it_up_in_the_explorer(builder, run, digest)
        audit_on_the_command_line(byline, digest)
        set_new_terms(owner, datanet)
        ask_in_vain(builder, datanet, "under-new-terms")
        accept_the_new_terms(builder, datanet)
        revoke(owner, datanet)
        ask_in_vain(builder, datanet, "after-the-revocation")
        freeze(owner, datanet)
        sign_out(builder)

        for one in (owner, builder):
            assert one.foreign == [], "a page asked another host"
            assert one.complaints == [], "the browser's console complained"
        assert {"personal_sign", "eth_signTypedData_v4", "eth_sendTransaction"} <= set(extension.asked)


def sign_in_with_the_test_wallet(owner: Visitor) -> None:
    owner.go("/")
    expect(owner.page.locator("#head-block")).to_be_visible()
    owner.picture("home")
    owner.by("home-signin").click()
    expect(owner.by("signin-dialog")).to_contain_text("public")  # said plainly: these keys are nobody's secret
    owner.picture("sign-in")
    owner.by("test-account-1").click()
    expect(owner.by("nav-account")).to_be_visible()


def create_a_datanet(owner: Visitor) -> int:
    owner.go("/datanets")
    owner.by("new-datanet").click()
    owner.by("create-datanet-name").fill("Biomedical questions")
    owner.by("create-datanet-fold").click()
    owner.by("create-datanet-licence").fill(LICENCE)
    owner.by("create-datanet-price").fill("12.50")
    owner.by("create-datanet").click()
    owner.page.wait_for_url(re.compile(r"/datanets/\d+"))  # its page opens once the chain has it
    expect(owner.by("datanet")).to_contain_text("Biomedical questions")
    datanet = int(owner.by("datanet").get_attribute("data-id") or 0)
    owner.go("/datanets")
    expect(owner.by("datanet-card")).to_have_count(1)
    owner.picture("datanets")
    return datanet


def publish_a_file_with_one_bad_row(owner: Visitor, datanet: int) -> None:
    owner.go(f"/datanets/{datanet}")
    owner.by("upload-file").set_input_files({"name": "rows.jsonl", "mimeType": "text/plain", "buffer": rows().encode()})
    owner.by("upload-send").click()
    expect(owner.by("draft")).to_contain_text("12 of 13")
    expect(owner.by("draft-problems")).to_contain_text("13")  # the bad row by its number
    owner.picture("upload")
    owner.by("bad-rows-skip").click()
    owner.by("prepare-version").click()
    expect(owner.by("prepared")).to_contain_text("12 records")
    owner.by("publish-version").click()
    expect(owner.by("indexing")).to_have_attribute("data-status", "indexed", timeout=3 * MINUTES)
    owner.picture("published")


def sign_in_with_the_extension(builder: Visitor, address: str) -> None:
    builder.go("/")
    builder.by("home-signin").click()
    builder.page.get_by_role("button", name="Journey Wallet").click()
    expect(builder.by("nav-account")).to_be_visible()
    builder.go("/account")
    expect(builder.by("account-wallet")).to_contain_text(address[:6])
    expect(builder.by("session")).to_have_count(1)
    builder.picture("account")


def ask_in_vain(builder: Visitor, datanet: int, picture: str) -> None:
    builder.go("/chat")
    builder.tick(f"ask-{datanet}")
    builder.by("question").fill("Is this allowed?")
    builder.by("ask").click()
    expect(builder.by("refusal")).to_contain_text("may not retrieve")
    expect(builder.by("answer")).to_have_count(0)
    builder.picture(f"refused-{picture}")
    builder.complaints[:] = [c for c in builder.complaints if "403" not in c]  # the refusal itself


def request_access(builder: Visitor, datanet: int) -> None:
    builder.go(f"/datanets/{datanet}")
    builder.by("tab-access").click()
    expect(builder.by("request-terms")).to_contain_text("12.50 EUR per 1,000 answers")
    builder.by("request-licence").click()
    expect(builder.by("licence-text")).to_have_text(LICENCE)
    builder.page.keyboard.press("Escape")
    builder.by("request-access-message").fill("To tune a question-answering model")
    builder.by("request-access").click()
    expect(builder.by("request")).to_have_count(1)
    builder.picture("request")


def approve_without_gas(owner: Visitor, chain: ExtensionWallet, datanet: int, requester: str) -> None:
    """One signature; `chain` is only asked what the owner has spent."""
    spent = chain.transactions_of(OWNER), chain.balance_of(OWNER)
    owner.go(f"/datanets/{datanet}")
    owner.by("tab-access").click()
    expect(owner.by("request")).to_have_attribute("data-requester", requester)
    owner.by("approve").click()
    expect(owner.by("grant")).to_have_attribute("data-live", "true")
    owner.picture("grants")
    assert (chain.transactions_of(OWNER), chain.balance_of(OWNER)) == spent


def train(builder: Visitor, datanet: int) -> str:
    builder.go("/runs/new")
    builder.tick(f"train-on-{datanet}")
    builder.page.locator("#setting-batch_size").fill("2")
    builder.by("advanced").click()
    builder.page.locator("#setting-max_steps").fill("5")
    builder.page.locator("#setting-max_length_tokens").fill("160")
    builder.picture("new-run")
    builder.by("check-permission").click()
    expect(builder.by("order")).to_contain_text("12")
    builder.by("sign-order").click()
    builder.page.wait_for_url(re.compile(r"/runs/[0-9a-f]{16}"))
    expect(builder.by("run-step")).to_contain_text("5", timeout=5 * MINUTES)
    expect(builder.by("run-status")).to_have_attribute("data-status", "done", timeout=5 * MINUTES)
    expect(builder.by("permission").first).to_contain_text("block")
    expect(builder.by("run-result")).to_contain_text("0x")
    builder.page.reload()  # the curve is complete after a reload
    expect(builder.by("run-status")).to_have_attribute("data-status", "done")
    expect(builder.page.locator(".recharts-line-curve").first).to_be_visible()
    builder.picture("run")
    expect(builder.page.locator(".recharts-line-curve").first).to_be_visible()  # and it stays
    return str(builder.by("run").get_attribute("data-run"))


def ask(builder: Visitor, datanet: int, run: str) -> str:
    builder.by("chat-with").click()
    builder.page.wait_for_url(re.compile("/chat"))
    builder.tick(f"ask-{datanet}")
    question = json.loads(rows().splitlines()[0])["instruction"]
    builder.by("question").fill(question)
    builder.by("ask").click()
    expect(builder.by("receipt-link")).to_be_visible(timeout=5 * MINUTES)
    assert builder.by("answer").last.inner_text().strip()
    assert builder.by("source").count() >= 1
    bars = builder.by("answer-shares").locator("[data-bps]")
    shares = [int(bps) for bps in bars.evaluate_all("bars => bars.map(bar => bar.dataset.bps)")]
    assert sum(shares) == 10_000
    builder.picture("chat")
    builder.by("receipt-link").last.click()
    builder.page.wait_for_url(re.compile("/receipts/0x"))
    return "0x" + builder.page.url.rstrip("/").rsplit("0x", 1)[1]


def read_the_receipt(builder: Visitor, digest: str) -> None:
    # the page says "pending" until it is anchored, and then by itself that it is
    expect(builder.by("verdict")).to_have_attribute("data-verdict", "verified")
    expect(builder.by("anchor-tx")).to_contain_text("0x")
    builder.picture("receipt")
    builder.go("/receipts")
    expect(builder.by("receipt-card").first).to_be_visible()
    builder.picture("receipts")


def look_it_up_in_the_explorer(builder: Visitor, run: str, digest: str) -> None:
    builder.go(f"/runs/{run}")
    builder.by("run-result").locator("a[href*='/explorer/tx/']").click()
    expect(builder.by("call")).to_have_attribute("data-name", "register")
    expect(builder.by("call")).to_contain_text("Registers what a signed order resulted in")  # the contract's own words
    builder.picture("explorer-transaction")
    builder.by("explorer-search").fill(CONTRIBUTORS[0])
    builder.by("explorer-go").click()
    expect(builder.by("address")).to_have_attribute("data-value", CONTRIBUTORS[0])
    builder.picture("explorer-address")
    builder.by("explorer-search").fill(digest)  # a receipt: the transaction that credits somebody for it
    builder.by("explorer-go").click()
    expect(builder.by("call").or_(builder.by("found-nothing"))).to_be_visible()


def audit_on_the_command_line(byline: RunningByline, digest: str) -> None:
    audit = subprocess.run(
        [sys.executable, "-m", "backend.cli", "audit", digest, "--json"],
        cwd=ROOT,
        env=byline.environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert json.loads(audit.stdout)["verdict"] == "verified"


def set_new_terms(owner: Visitor, datanet: int) -> None:
    owner.go(f"/datanets/{datanet}")
    owner.by("tab-terms").click()
    owner.by("new-terms").click()
    expect(owner.by("set-terms-licence")).to_have_value(LICENCE)  # one starts from the present ones
    owner.by("set-terms-licence").fill(f"{LICENCE}\nNot for advertising.")
    owner.by("set-terms").click()
    expect(owner.by("terms")).to_have_attribute("data-version", "2")
    owner.picture("terms")
    owner.by("tab-access").click()
    expect(owner.by("grant")).to_have_attribute("data-resting", "true")


def accept_the_new_terms(builder: Visitor, datanet: int) -> None:
    builder.go(f"/datanets/{datanet}")
    expect(builder.by("new-terms-notice")).to_contain_text("train")
    builder.by("new-licence").click()
    expect(builder.by("licence-text")).to_contain_text("Not for advertising.")
    builder.page.keyboard.press("Escape")
    builder.picture("new-terms")
    builder.by("accept-terms").click()
    expect(builder.by("new-terms-notice")).to_have_count(0)
    expect(builder.by("go-train")).to_be_visible()


def revoke(owner: Visitor, datanet: int) -> None:
    owner.go(f"/datanets/{datanet}")
    owner.by("tab-access").click()
    owner.by("revoke").click()
    expect(owner.by("revoke")).to_have_count(0)
    owner.picture("revoked")


def freeze(owner: Visitor, datanet: int) -> None:
    owner.go(f"/datanets/{datanet}")
    owner.by("tab-manage").click()
    owner.by("freeze-open").click()
    owner.by("freeze").click()
    expect(owner.by("frozen")).to_be_visible()
    expect(owner.by("go-train")).to_have_count(0)  # the owner may not either
    owner.picture("manage")


def sign_out(builder: Visitor) -> None:
    builder.go("/account")
    builder.by("signout").click()
    expect(builder.by("nav-account")).to_have_count(0)
    builder.go("/account")
    expect(builder.by("members-only")).to_be_visible()
