import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./browser.js";

const { explain, signTyped } = await import("../../frontend_reflex/assets/js/chain.js");

const ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const OURS = 20931;
const RPC = "http://byline.test:8000/api/network/rpc";
const EMBEDDED = { chain_id: OURS, embedded: true, rpc_path: "/api/network/rpc", contracts: {} };
const DOCUMENT = { domain: {}, types: { Note: [{ name: "text", type: "string" }] }, primaryType: "Note" };

const refusal = (code) => Object.assign(new Error(`code ${code}`), { code });

/** An injected wallet that starts on chain 1. What it answers to switching and adding is given, in order. */
class Wallet {
  chain = 1;
  asked = [];
  constructor({ switching = [], adding = [] }) {
    Object.assign(this, { switching, adding });
  }
  async request({ method, params }) {
    if (method === "eth_requestAccounts") return [ALICE];
    if (method === "eth_chainId") return `0x${this.chain.toString(16)}`;
    if (method === "eth_signTypedData_v4") return "0xsigned";
    this.asked.push([method, params[0]]);
    const answer = (method === "wallet_switchEthereumChain" ? this.switching : this.adding).shift();
    if (answer instanceof Error) throw answer;
    if (answer) this.chain = answer;
    return null;
  }
}

/** What a person gets to see of signing with this wallet: the signature, or a sentence. */
async function signing(wallet, network = EMBEDDED) {
  window.ethereum = wallet;
  try {
    return await signTyped({ network, wallet: ALICE, document: { ...DOCUMENT, message: { text: "hi" } } });
  } catch (error) {
    return explain(error);
  }
}

const methods = (wallet) => wallet.asked.map(([method]) => method.replace("wallet_", "").replace("EthereumChain", ""));

beforeEach(() => {
  Object.defineProperty(globalThis, "localStorage", { value: { getItem: () => "injected" }, configurable: true });
});

test("a wallet that knows the chain is switched to it and asked for nothing else", async () => {
  const wallet = new Wallet({ switching: [OURS] });
  assert.equal(await signing(wallet), "0xsigned");
  assert.deepEqual(methods(wallet), ["switch"]);
});

for (const code of [4902, -32603]) {
  test(`a wallet that does not know the chain (code ${code}) is given it, with the page's own RPC URL`, async () => {
    const wallet = new Wallet({ switching: [refusal(code), OURS], adding: [null] });
    assert.equal(await signing(wallet), "0xsigned");
    assert.deepEqual(methods(wallet), ["switch", "add", "switch"]);
    const [, added] = wallet.asked[1];
    assert.deepEqual([added.chainId, added.rpcUrls], ["0x51c3", [RPC]]);
  });
}

test("who declines is not asked again", async () => {
  const declined = "You declined in your wallet. Nothing was sent.";
  const switching = new Wallet({ switching: [refusal(4001)] });
  assert.equal(await signing(switching), declined);
  assert.deepEqual(methods(switching), ["switch"]);
  const adding = new Wallet({ switching: [refusal(4902)], adding: [refusal(4001)] });
  assert.equal(await signing(adding), declined);
  assert.deepEqual(methods(adding), ["switch", "add"]);
});

const BY_HAND =
  `Your wallet is on another network than chain ${OURS}. Add it in the wallet by hand, with the RPC URL ${RPC}, ` +
  "switch to it and try again.";

test("a wallet that cannot add it, or says yes and stays, is told about with the chain and the URL", async () => {
  assert.equal(await signing(new Wallet({ switching: [refusal(4902)], adding: [refusal(4200)] })), BY_HAND);
  assert.equal(await signing(new Wallet({ switching: [null] })), BY_HAND);
});

test("of a chain that is not Byline's own, no URL is made up", async () => {
  const wallet = new Wallet({ switching: [refusal(4902)] });
  const said = await signing(wallet, { chain_id: 8453, embedded: false, rpc_path: null, contracts: {} });
  assert.match(said, /chain 8453\. Add it in the wallet if it is not there, switch to it and try again\.$/);
  assert.deepEqual(methods(wallet), ["switch"]);
});
