import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./browser.js";

const { decodeFunctionData, parseAbi } = await import("../../frontend_reflex/.web/node_modules/viem/_esm/index.js");
const { SIGNATURES } = await import("../../frontend_reflex/assets/js/abi.js");
const { explain } = await import("../../frontend_reflex/assets/js/chain.js");
const { relay, sendYourself, settled, signConsent } = await import("../../frontend_reflex/assets/js/consent.js");

const ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const BOB = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const NETWORK = { chain_id: 20931, embedded: true, rpc_path: "/api/network/rpc", contracts: {} };
const NONCE = "340282366920938463463374607431768211457"; // needs more digits than a JSON number has
const MESSAGE = {
  datanetId: "3",
  grantee: BOB,
  purposes: 2,
  expiresAt: 0,
  termsVersion: 4,
  nonce: NONCE,
  deadline: "1800000000",
};
const FIELDS = ["datanetId:uint256", "grantee:address", "purposes:uint32", "expiresAt:uint48"];
FIELDS.push("termsVersion:uint32", "nonce:uint256", "deadline:uint256");
const DRAFT = {
  consent: { kind: "grant", grantee: BOB, purposes: ["retrieve"], nonce: NONCE },
  typed_data: {
    domain: { name: "Byline DatanetRegistry", chainId: 20931 },
    types: { Grant: FIELDS.map((field) => ({ name: field.split(":")[0], type: field.split(":")[1] })) },
    primaryType: "Grant",
    message: MESSAGE,
  },
};
const SIGNATURE = `0x${"ab".repeat(65)}`;
const REQUEST = { kind: "grant", grantee: BOB, purposes: ["retrieve"], expires_at: null };

let asked; // of the API: [method, path, body]
let wallet; // methods that the wallet was asked for, with their parameters

/** The API answers what it is asked in this order; a number refuses with that status. */
function answering(...answers) {
  globalThis.fetch = async (url, { method, body }) => {
    asked.push([method, url.split("/api")[1], body && JSON.parse(body)]);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === "down") throw new TypeError("fetch failed");
    const status = typeof answer === "number" ? answer : 200;
    const text = JSON.stringify(status === 200 ? answer : { detail: `status ${status}` });
    return { ok: status === 200, status, text: async () => text };
  };
}

beforeEach(() => {
  asked = [];
  wallet = [];
  Object.defineProperty(globalThis, "localStorage", { value: { getItem: () => "injected" }, configurable: true });
  window.ethereum = {
    request: async ({ method, params }) => {
      if (method === "eth_requestAccounts") return [ALICE];
      if (method === "eth_chainId") return "0x51c3";
      wallet.push([method, params]);
      if (method === "eth_signTypedData_v4") return SIGNATURE;
      if (method === "eth_call") return "0x";
      if (method === "eth_sendTransaction") return `0x${"77".repeat(32)}`;
      if (method === "eth_getTransactionReceipt")
        return { status: "0x1", blockNumber: "0x9", transactionHash: params[0], logs: [] };
      return "0x1";
    },
  };
});

const signing = () => signConsent({ network: NETWORK, wallet: ALICE, datanetId: 3, request: REQUEST });
/** {steps, end} of following a consent; one that is asked after without end fails. */
const following = ({ signal = new AbortController().signal, onStep = () => {}, patienceMs = 1e9 } = {}) => {
  const steps = [];
  const heard = (step) => {
    assert.ok(steps.push(step) <= 20, "asked without end");
    onStep();
  };
  return { steps, end: settled("consent:1", { signal, onStep: heard, lookMs: 0, patienceMs }) };
};

test("the wallet signs what the server drafted, and sends nothing", async () => {
  answering(DRAFT, { reference: "consent:1" });
  const signed = await signing();
  const reference = await relay(3, signed);
  assert.equal(reference, "consent:1");
  const [[method, [who, document]]] = wallet;
  assert.deepEqual([wallet.length, method, who], [1, "eth_signTypedData_v4", ALICE]);
  assert.equal(JSON.parse(document).message.nonce, NONCE);
  assert.deepEqual(asked, [
    ["POST", "/datanets/3/consents/draft", REQUEST],
    ["POST", "/datanets/3/consents", { consent: DRAFT.consent, signature: SIGNATURE }],
  ]);
});

test("who declines to sign has nothing submitted", async () => {
  answering(DRAFT);
  const { request } = window.ethereum;
  window.ethereum.request = async (call) => {
    if (call.method === "eth_signTypedData_v4") throw Object.assign(new Error("no"), { code: 4001 });
    return request(call);
  };
  assert.equal(explain(await signing().catch((error) => error)), "You declined in your wallet. Nothing was sent.");
  assert.equal(asked.length, 1);
});

test("terms that changed meanwhile are told by the API's own words and status", async () => {
  answering(409);
  const error = await relay(3, { consent: {}, signature: SIGNATURE }).catch((refusal) => refusal);
  assert.deepEqual([error.status, explain(error)], [409, "status 409"]);
});

test("it is followed from the queue to its block", async () => {
  answering(
    { status: "queued", block_number: null, problem: null },
    { status: "signed", block_number: null, problem: null },
    { status: "mined", block_number: 9, tx_hash: "0x77", problem: null },
  );
  const { steps, end } = following();
  assert.deepEqual(await end, { hash: "0x77", block: 9 });
  assert.deepEqual(
    steps.map((step) => [step.name, step.late]),
    [
      ["queued", false],
      ["signed", false],
    ],
  );
});

test("what the chain refused is said, and is not waited for", async () => {
  answering({ status: "failed", block_number: null, problem: "DatanetRegistryStaleNonce" });
  const error = await following().end.catch((refusal) => refusal);
  assert.match(explain(error), /refused it: DatanetRegistryStaleNonce\. Something changed after you signed/);
});

test("a server that waits for funds, is away, or takes long is late, and is followed all the same", async () => {
  const mined = { status: "final", block_number: 9, tx_hash: "0x77", problem: null };
  answering({ status: "queued", block_number: null, problem: "no funds" }, "down", mined);
  const { steps, end } = following();
  assert.deepEqual(await end, { hash: "0x77", block: 9 });
  assert.deepEqual(
    steps.map((step) => [step.late, step.why]),
    [
      [true, "no funds"],
      [true, "Byline's API cannot be reached. Check your connection and try again."],
    ],
  );
  answering({ status: "signed", block_number: null, problem: null }, mined);
  const slow = following({ patienceMs: -1 });
  await slow.end;
  assert.deepEqual(slow.steps, [{ name: "signed", why: "", late: true }]);
});

test("a page that was left asks no more", async () => {
  answering({ status: "queued", block_number: null, problem: null });
  const left = new AbortController();
  const { end } = following({ signal: left.signal, onStep: () => left.abort() });
  assert.equal(await end, null);
  assert.equal(asked.length, 1);
});

test("sent by oneself is exactly what was signed", async () => {
  answering(DRAFT);
  const signed = await signing();
  const { block } = await sendYourself({ network: NETWORK, wallet: ALICE, contract: REGISTRY, signed });
  assert.equal(block, 9);
  const [, [{ data }]] = wallet.find(([method]) => method === "eth_sendTransaction");
  const { functionName, args } = decodeFunctionData({ abi: parseAbi(SIGNATURES), data });
  const [consent, signer, signature] = args;
  assert.deepEqual([functionName, signer, signature], ["grantBySignature", ALICE, SIGNATURE]);
  assert.deepEqual(
    [consent.grantee, consent.purposes, consent.termsVersion, consent.nonce],
    [BOB, 2, 4, BigInt(NONCE)],
  );
});
