import { expect } from "chai";

import { digest, ethers, networkHelpers, vectors } from "./fixtures.js";

const { loadFixture } = networkHelpers;

const merkle = vectors("merkle.json");
const rootOf = Object.fromEntries(merkle.logs.map(({ size, root }) => [size, root]));
const proofOf = Object.fromEntries(merkle.consistency.map((v) => [`${v.old_size}-${v.size}`, v.proof]));
const receipt = (index) => ethers.hexlify(new Uint8Array(32).fill(index));
const flipped = (hash) => ethers.toBeHex(BigInt(hash) ^ 1n, 32);

async function ledger() {
  const [publisher, other] = await ethers.getSigners();
  return { ledger: await ethers.deployContract("ReceiptLedger"), publisher, other };
}

/** A ledger where the first signer has anchored the vectors' log of that size. */
async function ledgerAt(size) {
  const given = await ledger();
  await given.ledger.anchor(size, rootOf[size], [], []);
  return given;
}

const sizes = (...all) => all.filter((size) => size in rootOf);

describe("ReceiptLedger", () => {
  it("knows nothing of a publisher before the first checkpoint", async () => {
    const { ledger: l, publisher } = await loadFixture(ledger);
    expect(await l.checkpointOf(publisher)).to.deep.equal([0n, ethers.ZeroHash]);
    expect(await l.verifyInclusion(publisher, receipt(0), 0, [])).to.equal(false);
  });

  it("anchors a first log, credits its contributors in order and keeps logs of publishers apart", async () => {
    const { ledger: l, publisher, other } = await loadFixture(ledger);
    const credits = [
      { contributor: other.address, datanetId: 3, receipt: receipt(0), shareBps: 10_000 },
      { contributor: publisher.address, datanetId: 2n ** 200n, receipt: receipt(1), shareBps: 1 },
    ];
    await expect(l.anchor(2, rootOf[2], [], credits))
      .to.emit(l, "CheckpointAnchored")
      .withArgs(publisher, 2, rootOf[2])
      .to.emit(l, "Credited")
      .withArgs(other, 3, receipt(0), 10_000)
      .to.emit(l, "Credited")
      .withArgs(publisher, 2n ** 200n, receipt(1), 1);
    expect(await l.checkpointOf(publisher)).to.deep.equal([2n, rootOf[2]]);
    await l.connect(other).anchor(1, rootOf[1], [], []);
    expect(await l.checkpointOf(other)).to.deep.equal([1n, rootOf[1]]);
    expect(await l.checkpointOf(publisher)).to.deep.equal([2n, rootOf[2]]);
  });

  it("extends a log of any size to any larger one by the shared vectors' proofs", async () => {
    const { ledger: l } = await loadFixture(ledger);
    const all = sizes(...Object.keys(rootOf).map(Number));
    for (const old of all.filter((size) => size > 0)) {
      const snapshot = await networkHelpers.takeSnapshot();
      await l.anchor(old, rootOf[old], [], []);
      for (const size of all.filter((s) => s > old)) {
        await l.anchor.staticCall(size, rootOf[size], proofOf[`${old}-${size}`], []);
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
      const { ledger: l } = await ledgerAt(old);
      const proof = proofOf[`${old}-${size}`];
      const bad = [
        ...proof.map((hash, i) => proof.with(i, flipped(hash))),
        ...proof.map((_, i) => proof.toSpliced(i, 1)),
        [...proof, digest("more")],
        [digest("more"), ...proof],
        [],
      ];
      for (const wrong of bad) {
        await expect(l.anchor(size, rootOf[size], wrong, []))
          .to.be.revertedWithCustomError(l, "ReceiptLedgerInconsistent")
          .withArgs(old, size);
      }
      await expect(l.anchor(size, flipped(rootOf[size]), proof, [])).to.be.revertedWithCustomError(
        l,
        "ReceiptLedgerInconsistent",
      );
      await l.anchor(size, rootOf[size], proof, []);
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
      const { ledger: l } = await ledger();
      await l.anchor(old, digest(`another log of ${old}`), [], []);
      await expect(l.anchor(size, rootOf[size], proofOf[`${old}-${size}`], []))
        .to.be.revertedWithCustomError(l, "ReceiptLedgerInconsistent")
        .withArgs(old, size);
    }
  });

  it("refuses a first log with a proof, a log that does not grow and one without a root", async () => {
    const { ledger: l, publisher } = await loadFixture(ledger);
    await expect(l.anchor(2, rootOf[2], [digest("x")], []))
      .to.be.revertedWithCustomError(l, "ReceiptLedgerInconsistent")
      .withArgs(0, 2);
    await expect(l.anchor(0, rootOf[1], [], []))
      .to.be.revertedWithCustomError(l, "ReceiptLedgerNotGrowing")
      .withArgs(0, 0);
    await expect(l.anchor(1, ethers.ZeroHash, [], []))
      .to.be.revertedWithCustomError(l, "ReceiptLedgerZeroRoot")
      .withArgs(1);
    await l.anchor(7, rootOf[7], [], []);
    for (const size of [1, 6, 7]) {
      await expect(l.anchor(size, rootOf[size], [], []))
        .to.be.revertedWithCustomError(l, "ReceiptLedgerNotGrowing")
        .withArgs(7, size);
    }
    expect(await l.checkpointOf(publisher)).to.deep.equal([7n, rootOf[7]]);
  });

  it("refuses a share over the whole, and then anchors nothing at all", async () => {
    const { ledger: l, publisher, other } = await loadFixture(ledger);
    const credit = { contributor: other.address, datanetId: 1, receipt: receipt(0), shareBps: 10_001 };
    await expect(l.anchor(1, rootOf[1], [], [credit]))
      .to.be.revertedWithCustomError(l, "ReceiptLedgerInvalidShare")
      .withArgs(receipt(0), 10_001);
    expect(await l.checkpointOf(publisher)).to.deep.equal([0n, ethers.ZeroHash]);
  });

  it("finds every receipt of the shared vectors at its place", async () => {
    for (const { size } of merkle.logs.filter((log) => log.size > 0)) {
      const { ledger: l, publisher } = await ledgerAt(size);
      for (const { index, proof } of merkle.inclusion.filter((v) => v.size === size)) {
        expect(await l.verifyInclusion(publisher, receipt(index), index, proof)).to.equal(true, `${index} of ${size}`);
      }
    }
  });

  it("finds no receipt elsewhere, under another publisher or by a changed proof", async () => {
    const { ledger: l, publisher, other } = await ledgerAt(13);
    for (const index of [0, 5, 11, 12]) {
      const { proof } = merkle.inclusion.find((v) => v.size === 13 && v.index === index);
      const found = (who, what, where, how) => l.verifyInclusion(who, what, where, how);
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
});
