import { expect } from "chai";

import {
  ALL,
  digest,
  ethers,
  EUR,
  EVALUATE,
  EXPORT,
  networkHelpers,
  NEVER,
  NO_CURRENCY,
  refused,
  registryWithDatanet,
  RETRIEVE,
  terms,
  TRAIN,
  transfer,
} from "./fixtures.js";

const { loadFixture, time } = networkHelpers;

describe("DatanetRegistry: terms and requests", () => {
  describe("terms", () => {
    it("are numbered, say what they are, and the earlier ones stay readable", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      const next = {
        licenceDigest: digest("licence 2"),
        purposes: TRAIN | RETRIEVE,
        pricePer1000Answers: 2n ** 64n - 1n,
        currency: EUR,
        keepsModels: true,
      };
      await expect(registry.setTerms(1, 2, next, "bafynew"))
        .to.emit(registry, "TermsSet")
        .withArgs(1, 2, digest("licence 2"), "bafynew", TRAIN | RETRIEVE, 2n ** 64n - 1n, EUR, true);
      const now = await registry.datanetOf(1);
      expect([now.termsVersion, now.licenceDigest]).to.deep.equal([2n, digest("licence 2")]);
      expect(await registry.termsOf(1, 2)).to.deep.equal([digest("licence 2"), 3n, 2n ** 64n - 1n, EUR, true]);
      expect(await registry.termsOf(1, 1)).to.deep.equal([digest("licence"), 15n, 0n, NO_CURRENCY, false]);
      expect(await registry.termsOf(1, 3)).to.deep.equal([ethers.ZeroHash, 0n, 0n, NO_CURRENCY, false]);
    });

    it("come in order, so that nobody overwrites terms unread", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      for (const version of [0, 1, 3]) {
        await refused(registry.setTerms(1, version, terms(), ""), registry, "DatanetRegistryStaleTerms", 1, version, 1);
      }
    });

    it("offer something that exists, and have a currency exactly where there is a price", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      const set = (changed) => registry.setTerms(1, 2, terms(changed), "");
      for (const purposes of [0, 16, 17, 2 ** 31, 2 ** 32 - 1]) {
        await refused(set({ purposes }), registry, "DatanetRegistryInvalidPurposes", purposes);
      }
      const priced = { pricePer1000Answers: 5, currency: NO_CURRENCY };
      await refused(set(priced), registry, "DatanetRegistryInvalidPrice", 5, NO_CURRENCY);
      await refused(set({ currency: EUR }), registry, "DatanetRegistryInvalidPrice", 0, EUR);
    });

    it("put every grant to rest until its grantee accepts them", async () => {
      const { registry, builder, other } = await loadFixture(registryWithDatanet);
      for (const wallet of [builder, other]) await registry.grant(1, wallet, TRAIN | RETRIEVE, NEVER);
      await registry.setTerms(1, 2, terms(), "");
      for (const wallet of [builder, other]) expect(await registry.mayUse(wallet, 1, RETRIEVE)).to.equal(false);
      await expect(registry.connect(builder).acceptTerms(1, 2))
        .to.emit(registry, "TermsAccepted")
        .withArgs(1, builder, 2, TRAIN | RETRIEVE);
      expect(await registry.mayUse(builder, 1, TRAIN | RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(other, 1, RETRIEVE)).to.equal(false);
    });

    it("narrow a grant to what they offer, for good", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await registry.setTerms(1, 2, terms({ purposes: RETRIEVE | EXPORT }), "");
      await expect(registry.connect(builder).acceptTerms(1, 2))
        .to.emit(registry, "TermsAccepted")
        .withArgs(1, builder, 2, RETRIEVE);
      await registry.setTerms(1, 3, terms(), "");
      await registry.connect(builder).acceptTerms(1, 3);
      expect((await registry.grantOf(1, builder)).purposes).to.equal(RETRIEVE);
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
      for (const lost of [TRAIN, EXPORT]) expect(await registry.mayUse(builder, 1, lost)).to.equal(false);
    });

    it("are accepted by number: not the old ones, not ones to come", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN, NEVER);
      await registry.setTerms(1, 2, terms(), "");
      for (const version of [1, 3]) {
        const attempt = registry.connect(builder).acceptTerms(1, version);
        await refused(attempt, registry, "DatanetRegistryStaleTerms", 1, version, 2);
      }
    });

    it("leave nothing to accept to a wallet without a grant of the present owner's that goes on under them", async () => {
      const { registry, owner, builder, other, stranger } = await loadFixture(registryWithDatanet);
      const accept = (wallet, version) => registry.connect(wallet).acceptTerms(1, version);
      const nothing = (wallet, version) =>
        refused(accept(wallet, version), registry, "DatanetRegistryNoGrant", 1, wallet);
      await nothing(stranger, 1);
      await registry.grant(1, builder, TRAIN, NEVER);
      await registry.setTerms(1, 2, terms({ purposes: RETRIEVE }), "");
      await nothing(builder, 2);
      await registry.setTerms(1, 3, terms(), "");
      await registry.revoke(1, builder, TRAIN);
      await nothing(builder, 3);
      await registry.grant(1, builder, TRAIN, NEVER);
      await transfer(registry, owner, other);
      await nothing(builder, 3);
    });

    it("extend no grant that has expired", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 100;
      await registry.grant(1, builder, TRAIN, until);
      await registry.setTerms(1, 2, terms(), "");
      await time.increaseTo(until);
      await registry.connect(builder).acceptTerms(1, 2);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("close the public purposes that they no longer offer, and say so only then", async () => {
      const { registry, stranger } = await loadFixture(registryWithDatanet);
      await registry.setPublicPurposes(1, RETRIEVE | EVALUATE);
      await expect(registry.setTerms(1, 2, terms({ purposes: RETRIEVE | TRAIN }), ""))
        .to.emit(registry, "PublicPurposesSet")
        .withArgs(1, RETRIEVE);
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(stranger, 1, EVALUATE)).to.equal(false);
      await expect(registry.setTerms(1, 3, terms(), "")).to.not.emit(registry, "PublicPurposesSet");
      expect((await registry.datanetOf(1)).publicPurposes).to.equal(RETRIEVE);
    });

    it("bound what is granted and opened to everyone", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.setTerms(1, 2, terms({ purposes: RETRIEVE }), "");
      for (const attempt of [
        () => registry.grant(1, builder, TRAIN | RETRIEVE, NEVER),
        () => registry.setPublicPurposes(1, TRAIN | RETRIEVE),
        () => registry.connect(builder).requestAccess(1, 2, TRAIN | RETRIEVE, NEVER, ""),
      ]) {
        await refused(attempt(), registry, "DatanetRegistryInvalidPurposes", TRAIN | RETRIEVE);
      }
    });
  });

  describe("requests", () => {
    const ask = (registry, wallet, purposes, expiresAt = NEVER, message = "", version = 1) =>
      registry.connect(wallet).requestAccess(1, version, purposes, expiresAt, message);

    it("are kept one a wallet, the latest", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 3600;
      await ask(registry, builder, TRAIN, NEVER, "first");
      await expect(ask(registry, builder, RETRIEVE | EXPORT, until, "for a review"))
        .to.emit(registry, "AccessRequested")
        .withArgs(1, builder, RETRIEVE | EXPORT, until, 1, "for a review");
      expect((await registry.requestOf(1, builder)).toObject()).to.deep.equal({
        purposes: 10n,
        expiresAt: BigInt(until),
        requestedAt: BigInt(await time.latest()),
        termsVersion: 1n,
        ownerEpoch: 0n,
        nonce: 0n,
      });
    });

    it("give nothing by themselves", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await ask(registry, builder, TRAIN);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("can be approved in part: then the request is gone and the grant is there", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await ask(registry, builder, TRAIN | RETRIEVE);
      await expect(registry.approveRequest(1, builder, RETRIEVE, NEVER))
        .to.emit(registry, "RequestApproved")
        .withArgs(1, builder, owner)
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, owner, RETRIEVE, NEVER, 1);
      expect((await registry.requestOf(1, builder)).purposes).to.equal(0);
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("cannot be approved for more than was asked, nor for nothing, nor into the past", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await ask(registry, builder, RETRIEVE);
      for (const purposes of [TRAIN, TRAIN | RETRIEVE, 0]) {
        const attempt = registry.approveRequest(1, builder, purposes, NEVER);
        await refused(attempt, registry, "DatanetRegistryInvalidPurposes", purposes);
      }
      await refused(registry.approveRequest(1, builder, RETRIEVE, 1), registry, "DatanetRegistryInvalidExpiry", 1);
    });

    /** Nobody can say yes, no or never mind to a request that is none. */
    async function isNone(registry, decider, wallet) {
      expect((await registry.requestOf(1, wallet)).purposes).to.equal(0);
      for (const attempt of [
        () => registry.connect(decider).approveRequest(1, wallet, TRAIN, NEVER),
        () => registry.connect(decider).denyRequest(1, wallet),
        () => registry.connect(wallet).withdrawRequest(1),
      ]) {
        await refused(attempt(), registry, "DatanetRegistryNoRequest", 1, wallet);
      }
    }

    it("can be denied or withdrawn, once; what was held before stays", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, RETRIEVE, NEVER);
      await ask(registry, builder, TRAIN);
      await expect(registry.denyRequest(1, builder)).to.emit(registry, "RequestDenied").withArgs(1, builder, owner);
      await isNone(registry, owner, builder);
      await ask(registry, builder, TRAIN);
      await expect(registry.connect(builder).withdrawRequest(1))
        .to.emit(registry, "RequestWithdrawn")
        .withArgs(1, builder);
      await isNone(registry, owner, builder);
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
    });

    it("end with new terms, though these be the same: what was accepted is not what holds", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await ask(registry, builder, TRAIN);
      await registry.setTerms(1, 2, terms(), "");
      await isNone(registry, owner, builder);
      await refused(ask(registry, builder, TRAIN), registry, "DatanetRegistryStaleTerms", 1, 1, 2);
      await ask(registry, builder, TRAIN, NEVER, "", 2);
      await registry.approveRequest(1, builder, TRAIN, NEVER);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
    });

    it("are answered by any grant or revocation after them", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      for (const answer of [
        () => registry.grant(1, builder, RETRIEVE, NEVER),
        () => registry.revoke(1, builder, ALL),
      ]) {
        await ask(registry, builder, TRAIN);
        expect((await registry.requestOf(1, builder)).purposes).to.equal(TRAIN);
        await answer();
        await isNone(registry, owner, builder);
      }
    });

    it("refuse a message over 280 bytes, no purpose, an unknown one and an expiry in the past", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await ask(registry, builder, TRAIN, NEVER, "é".repeat(140));
      const long = ask(registry, builder, TRAIN, NEVER, "é".repeat(140) + "x");
      await refused(long, registry, "DatanetRegistryMessageTooLong", 281);
      for (const purposes of [0, 16]) {
        await refused(ask(registry, builder, purposes), registry, "DatanetRegistryInvalidPurposes", purposes);
      }
      await refused(ask(registry, builder, TRAIN, 1), registry, "DatanetRegistryInvalidExpiry", 1);
    });
  });
});
