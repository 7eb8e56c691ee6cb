import assert from "node:assert/strict";
import { test } from "node:test";
import "./browser.js";

const { checked, encoded, gathered, initial } = await import("../../frontend_reflex/assets/js/fields.js");

const NO_DIGEST = `0x${"00".repeat(32)}`;
const TERMS = { licenceDigest: "$licence.digest", purposes: "$offered", price: "$price.amount", in: "$price.currency" };
const FIELDS = [
  { name: "offered", label: "Can be allowed for", kind: "purposes" },
  { name: "licence", label: "Licence text", kind: "licence", optional: true },
  { name: "price", label: "Price", kind: "price" },
];

/** The texts that were pinned meanwhile. */
function pinning() {
  const texts = [];
  globalThis.fetch = async (_, { body }) => {
    texts.push(JSON.parse(body).text);
    return { ok: true, status: 200, text: async () => JSON.stringify({ licence_digest: "0x11", licence_cid: "bafy" }) };
  };
  return texts;
}

test("terms that nobody touched offer all and name no licence and no price", async () => {
  const texts = pinning();
  const given = await gathered(FIELDS, initial);
  const struct = { licenceDigest: NO_DIGEST, purposes: 15, price: 0, in: "0x000000" };
  assert.deepEqual([encoded(TERMS, given), encoded("$licence.cid", given), texts], [struct, "", []]);
});

test("a licence is pinned, and named by what the API says of it", async () => {
  const texts = pinning();
  const values = { offered: ["train", "export"], licence: " Research only. ", price: ["12,5", "usd"] };
  const given = await gathered(FIELDS, ({ name }) => values[name]);
  const struct = { licenceDigest: "0x11", purposes: 9, price: 1250, in: "0x555344" };
  assert.deepEqual([encoded(TERMS, given), encoded("$licence.cid", given)], [struct, "bafy"]);
  assert.deepEqual(texts, ["Research only."]);
});

test("nothing is pinned while another field is wrong", async () => {
  const texts = pinning();
  const values = { offered: ["train"], licence: "Research only.", price: ["12.505", "EUR"] };
  await assert.rejects(
    gathered(FIELDS, ({ name }) => values[name]),
    /^Error: Price: 12\.505 is no amount/,
  );
  assert.deepEqual(texts, []);
});

for (const [value, wrong] of [
  [["-1", "EUR"], /no amount/],
  [["5", "Euro"], /three letters/],
  [["5", ""], /three letters/],
]) {
  test(`a price of ${value.join(" ")} is refused in words`, () => {
    assert.throws(() => checked(FIELDS[2], value), wrong);
  });
}

test("a price of nothing is none, whatever its currency", () => {
  assert.deepEqual(checked(FIELDS[2], ["0.00", "EUR"]), { amount: 0, currency: "0x000000" });
});

test("what the terms do not offer is not chosen beforehand", () => {
  const field = { kind: "purposes", options: ["retrieve"], value: ["train", "retrieve"] };
  assert.deepEqual(initial(field), ["retrieve"]);
  assert.throws(() => checked({ ...field, label: "What for" }, []), /What for: choose at least one purpose/);
});
