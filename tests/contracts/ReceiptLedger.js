import { expect } from "chai";

import { digest, ethers, networkHelpers, refused, vectors } from "./fixtures.js";

const { loadFixture } = networkHelpers;

const merkle = vectors("merkle.json");
const rootOf = Object.fromEntries(merkle.logs.map(({ size, root }) => [size, root]));
const proofOf = Object.fromEntries(merkle.consistency.map((v) => [`${v.old_size}-${v.size}`, v.proof]));
const receipt = (index) => ethers.hexlify(new Uint8Array(32).fill(index));
const flipped = (hash) => ethers.toBeHex(BigInt(hash) ^ 1n, 32);

/** `step` anchors the shared vectors' log of `size` after `old`, in the name of the first signer's. */
async function ledger() {
  const [publisher, other, stranger, next] = await ethers.getSigners();
  const deployed = await ethers.deployContract("ReceiptLedger");
  const step = (old, size, credits = [], key = publisher) =>
    deployed.connect(key).anchor(publisher, size, rootOf[size], old === 0 ? [] : proofOf[`${old}-${size}`], credits);
  return { ledger: deployed, publisher, other, stranger, next, step };
}

/** A ledger where the publisher has anchored the vectors' log of that size. */
async function ledgerAt(size) {
  const given = await ledger();
  await given.step(0, size);
  return given;
}

describe("ReceiptLedger", () => {
  describe("anchoring", () => {
    it("knows nothing of a publisher before the first checkpoint", async () => {
      const { ledger: l, publisher } = await loadFixture(ledger);
      expect(await l.checkpointOf(publisher)).to.deep.equal([0n, ethers.ZeroHash]);
      expect(await l.keyOf(publisher)).to.equal(publisher);
      expect(await l.verifyInclusion(publisher, receipt(0), 0, [])).to.equal(false);
    });

    it("keeps a first log, and logs of publishers apart", async () => {
      const { ledger: l, publisher, other, step } = await loadFixture(ledger);
      await expect(step(0, 2)).to.emit(l, "CheckpointAnchored").withArgs(publisher, 2, rootOf[2]);
      await l.connect(other).anchor(other, 1, rootOf[1], [], []);
      expect(await l.checkpointOf(other)).to.deep.equal([1n, rootOf[1]]);
      expect(await l.checkpointOf(publisher)).to.deep.equal([2n, rootOf[2]]);
    });

    it("extends a log of any size to any larger one by the shared vectors' proofs", async () => {
      const { ledger: l, publisher, step } = await loadFixture(ledger);
      const all = Object.keys(rootOf).map(Number);
      for (const old of all.filter((size) => size > 0)) {
        const snapshot = await networkHelpers.takeSnapshot();
        await step(0, old);
        for (const size of all.filter((s) => s > old)) {
          await l.anchor.staticCall(publisher, size, rootOf[size], proofOf[`${old}-${size}`], []);
        }
        await snapshot.restore();
      }
    });

    it("refuses a forked log: every changed, missing or added hash of a proof, and every other root", async () => {
      for (const [old, size] of [
        [1, 2],
        [3, 7],
        [4, 8],
        [6, 21],
        [8, 13],
        [16, 17],
      ]) {
        const { ledger: l, publisher } = await ledgerAt(old);
        const proof = proofOf[`${old}-${size}`];
        const bad = [
          ...proof.map((hash, i) => [rootOf[size], proof.with(i, flipped(hash))]),
          ...proof.map((_, i) => [rootOf[size], proof.toSpliced(i, 1)]),
          [rootOf[size], [...proof, digest("more")]],
          [rootOf[size], [digest("more"), ...proof]],
          [rootOf[size], []],
          [flipped(rootOf[size]), proof],
        ];
        for (const [root, wrong] of bad) {
          const attempt = l.anchor(publisher, size, root, wrong, []);
          await refused(attempt, l, "ReceiptLedgerInconsistent", old, size);
        }
        await l.anchor(publisher, size, rootOf[size], proof, []);
      }
    });

    it("refuses to extend a log that is not the anchored one, though the proof fits another", async () => {
      // Where the old size is no power of two, only the comparison with the anchored root can tell.
      for (const [old, size] of [
        [3, 7],
        [4, 8],
        [6, 21],
        [13, 14],
      ]) {
        const { ledger: l, publisher, step } = await ledger();
        await l.anchor(publisher, old, digest(`another log of ${old}`), [], []);
        await refused(step(old, size), l, "ReceiptLedgerInconsistent", old, size);
      }
    });

    it("refuses a first log with a proof, a log that does not grow and one without a root", async () => {
      const { ledger: l, publisher } = await loadFixture(ledger);
      const anchor = (size, root, proof = []) => l.anchor(publisher, size, root, proof, []);
      await refused(anchor(2, rootOf[2], [digest("x")]), l, "ReceiptLedgerInconsistent", 0, 2);
      await refused(anchor(0, rootOf[1]), l, "ReceiptLedgerNotGrowing", 0, 0);
      await refused(anchor(1, ethers.ZeroHash), l, "ReceiptLedgerZeroRoot", 1);
      await anchor(7, rootOf[7]);
      for (const size of [1, 6, 7]) await refused(anchor(size, rootOf[size]), l, "ReceiptLedgerNotGrowing", 7, size);
      await refused(anchor(8, ethers.ZeroHash, proofOf["7-8"]), l, "ReceiptLedgerZeroRoot", 8);
      expect(await l.checkpointOf(publisher)).to.deep.equal([7n, rootOf[7]]);
    });
  });

  describe("crediting", () => {
    const datanetId = 2n ** 200n;
    const credit = (index, shareBps, changed = {}) => ({
      contributor: "0x" + "c0".repeat(20),
      datanetId,
      receipt: receipt(index),
      index,
      shareBps,
      ...changed,
    });

    it("names the contributors of the receipts that the step adds, in order", async () => {
      const { ledger: l, other, step } = await loadFixture(ledger);
      await step(0, 2, [credit(0, 10_000), credit(1, 1, { contributor: other.address, datanetId: 3 })])
        .then((tx) => tx.wait())
        .then(({ logs }) => {
          const [checkpoint, first, second] = logs.map((log) => l.interface.parseLog(log));
          expect(checkpoint.name).to.equal("CheckpointAnchored");
          expect([first.name, ...first.args.slice(0, 4)]).to.deep.equal([
            "Credited",
            ethers.getAddress("0x" + "c0".repeat(20)),
            datanetId,
            receipt(0),
            10_000n,
          ]);
          expect(second.args.slice(0, 4)).to.deep.equal([other.address, 3n, receipt(1), 1n]);
        });
      await expect(step(2, 5, [credit(2, 7), credit(4, 9)]))
        .to.emit(l, "Credited")
        .withArgs(ethers.getAddress("0x" + "c0".repeat(20)), datanetId, receipt(4), 9);
    });

    it("shares a receipt between several, the whole of it at most", async () => {
      const { ledger: l, publisher, step } = await loadFixture(ledger);
      for (const [credits, index, sum] of [
        [[credit(0, 10_001)], 0, 10_001],
        [[credit(0, 9_999), credit(0, 2)], 0, 10_001],
        [[credit(0, 5_000), credit(0, 5_000), credit(0, 65_535)], 0, 75_535],
        [[credit(0, 10_000), credit(1, 5_000), credit(1, 5_001)], 1, 10_001],
      ]) {
        await refused(step(0, 2, credits), l, "ReceiptLedgerTooManyShares", receipt(index), sum);
      }
      expect(await l.checkpointOf(publisher)).to.deep.equal([0n, ethers.ZeroHash]);
      await step(0, 2, [credit(0, 9_999), credit(0, 0), credit(0, 1), credit(1, 10_000)]);
    });

    it("takes no credit at another step's place, so that none is ever credited again", async () => {
      const { ledger: l, step } = await loadFixture(ledger);
      const misplaced = (attempt, index) =>
        refused(attempt, l, "ReceiptLedgerMisplacedCredit", receipt(index), BigInt(index));
      await misplaced(step(0, 2, [credit(2, 1)]), 2);
      await step(0, 2, [credit(0, 10_000), credit(1, 10_000)]);
      for (const index of [0, 1, 4, 5]) await misplaced(step(2, 4, [credit(index, 1)]), index);
      await step(2, 4, [credit(2, 1), credit(3, 1)]);
      await misplaced(step(4, 5, [credit(3, 1)]), 3);
    });

    it("takes no credit out of order, and no second receipt at one place", async () => {
      const { ledger: l, step } = await loadFixture(ledger);
      const back = step(0, 4, [credit(2, 10_000), credit(3, 1), credit(2, 1)]);
      await refused(back, l, "ReceiptLedgerMisplacedCredit", receipt(2), 2);
      const double = step(0, 4, [credit(2, 10_000), credit(2, 10_000, { receipt: receipt(9) })]);
      await refused(double, l, "ReceiptLedgerMisplacedCredit", receipt(9), 2);
      const first = step(0, 4, [credit(0, 10_000), credit(0, 10_000, { receipt: receipt(9) })]);
      await refused(first, l, "ReceiptLedgerMisplacedCredit", receipt(9), 0);
    });
  });

  describe("changing keys", () => {
    /** The publisher's log of 2 is under `other`'s key now. */
    async function rotated() {
      const given = await ledgerAt(2);
      await given.ledger.offerKey(given.publisher, given.other);
      await given.ledger.connect(given.other).acceptKey(given.publisher);
      return given;
    }

    it("takes two steps, and the log goes on under its publisher's address", async () => {
      const { ledger: l, publisher, other, step } = await ledgerAt(2);
      await expect(l.offerKey(publisher, other)).to.emit(l, "KeyOffered").withArgs(publisher, other);
      expect(await l.keyOf(publisher)).to.equal(publisher);
      await refused(step(2, 3, [], other), l, "ReceiptLedgerNotKey", publisher, other);
      await step(2, 3);
      await expect(l.connect(other).acceptKey(publisher))
        .to.emit(l, "KeyRotated")
        .withArgs(publisher, other, publisher);
      expect(await l.keyOf(publisher)).to.equal(other);
      expect(await l.checkpointOf(publisher)).to.deep.equal([3n, rootOf[3]]);
      await expect(step(3, 4, [], other))
        .to.emit(l, "CheckpointAnchored")
        .withArgs(publisher, 4, rootOf[4]);
      await step(4, 5, [], other);
      expect(await l.keyOf(publisher)).to.equal(other);
    });

    it("leaves the old key no power, though it be the publisher's own", async () => {
      const { ledger: l, publisher, next, step } = await loadFixture(rotated);
      await refused(step(2, 3), l, "ReceiptLedgerNotKey", publisher, publisher);
      await refused(l.offerKey(publisher, next), l, "ReceiptLedgerNotKey", publisher, publisher);
      await refused(l.acceptKey(publisher), l, "ReceiptLedgerNotOffered", publisher, publisher);
    });

    it("goes on from key to key, and back to the publisher's own", async () => {
      const { ledger: l, publisher, other, next, step } = await loadFixture(rotated);
      await l.connect(other).offerKey(publisher, next);
      await expect(l.connect(next).acceptKey(publisher)).to.emit(l, "KeyRotated").withArgs(publisher, next, other);
      await refused(step(2, 3, [], other), l, "ReceiptLedgerNotKey", publisher, other);
      await step(2, 3, [], next);
      await l.connect(next).offerKey(publisher, publisher);
      await l.acceptKey(publisher);
      await refused(step(3, 4, [], next), l, "ReceiptLedgerNotKey", publisher, next);
      await step(3, 4);
    });

    it("is for the one offered, once, and not when the offer was taken back or given to another", async () => {
      const { ledger: l, publisher, other, stranger, next } = await ledgerAt(2);
      const accept = (who) => l.connect(who).acceptKey(publisher);
      const declined = (who) => refused(accept(who), l, "ReceiptLedgerNotOffered", publisher, who);
      await declined(other);
      await l.offerKey(publisher, other);
      await declined(stranger);
      await expect(l.offerKey(publisher, ethers.ZeroAddress))
        .to.emit(l, "KeyOffered")
        .withArgs(publisher, ethers.ZeroAddress);
      await declined(other);
      await l.offerKey(publisher, other);
      await l.offerKey(publisher, next);
      await declined(other);
      await accept(next);
      await declined(next);
      expect(await l.keyOf(publisher)).to.equal(next);
    });

    it("is the key's to decide: nobody else offers, and the other logs are not touched", async () => {
      const { ledger: l, publisher, other, stranger } = await loadFixture(rotated);
      const theft = l.connect(stranger).offerKey(publisher, stranger);
      await refused(theft, l, "ReceiptLedgerNotKey", publisher, stranger);
      expect(await l.keyOf(other)).to.equal(other);
      const notMine = l.connect(other).anchor(stranger, 1, rootOf[1], [], []);
      await refused(notMine, l, "ReceiptLedgerNotKey", stranger, other);
      await l.connect(other).anchor(other, 1, rootOf[1], [], []);
      expect(await l.checkpointOf(publisher)).to.deep.equal([2n, rootOf[2]]);
    });
  });

  describe("finding receipts", () => {
    it("finds every receipt of the shared vectors at its place", async () => {
      for (const { size } of merkle.logs.filter((log) => log.size > 0)) {
        const { ledger: l, publisher } = await ledgerAt(size);
        for (const { index, proof } of merkle.inclusion.filter((v) => v.size === size)) {
          const found = await l.verifyInclusion(publisher, receipt(index), index, proof);
          expect(found).to.equal(true, `${index} of ${size}`);
        }
      }
    });

    it("finds no receipt elsewhere, under another publisher or by a changed proof", async () => {
      const { ledger: l, publisher, other } = await ledgerAt(13);
      const found = (who, what, where, how) => l.verifyInclusion(who, what, where, how);
      for (const index of [0, 5, 11, 12]) {
        const { proof } = merkle.inclusion.find((v) => v.size === 13 && v.index === index);
        expect(await found(publisher, receipt(index), index, proof)).to.equal(true);
        expect(await found(other, receipt(index), index, proof)).to.equal(false);
        expect(await found(publisher, receipt(index + 1), index, proof)).to.equal(false);
        for (const where of [index + 1, 13, 2n ** 64n - 1n]) {
          expect(await found(publisher, receipt(index), where, proof)).to.equal(false);
        }
        for (const wrong of [
          ...proof.map((hash, i) => proof.with(i, flipped(hash))),
          ...proof.map((_, i) => proof.toSpliced(i, 1)),
          [...proof, digest("more")],
        ]) {
          expect(await found(publisher, receipt(index), index, wrong)).to.equal(false);
        }
      }
    });

    it("takes no proof of an older size", async () => {
      const { ledger: l, publisher, step } = await ledgerAt(13);
      const { proof } = merkle.inclusion.find((v) => v.size === 13 && v.index === 5);
      await step(13, 14);
      expect(await l.verifyInclusion(publisher, receipt(5), 5, proof)).to.equal(false);
    });
  });
});
