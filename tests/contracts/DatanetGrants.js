import { expect } from "chai";

import {
  ALL,
  ethers,
  EVALUATE,
  EXPORT,
  networkHelpers,
  NEVER,
  refused,
  registryWithDatanet,
  RETRIEVE,
  terms,
  TRAIN,
  transfer,
} from "./fixtures.js";

const { loadFixture, time } = networkHelpers;

describe("DatanetRegistry: grants and transfers", () => {
  describe("granting and revoking", () => {
    it("replaces what the grantee held and counts the change", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 3600;
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await expect(registry.grant(1, builder, EVALUATE, until))
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, owner, EVALUATE, until, 1);
      expect((await registry.grantOf(1, builder)).toObject()).to.deep.equal({
        purposes: 4n,
        expiresAt: BigInt(until),
        grantedAt: BigInt(await time.latest()),
        termsVersion: 1n,
        nonce: 2n,
        ownerEpoch: 0n,
      });
      expect(await registry.nonceOf(1, builder)).to.equal(2);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
      expect(await registry.mayUse(builder, 1, EVALUATE)).to.equal(true);
    });

    it("takes only the named purposes away and says what remains", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE | EXPORT, NEVER);
      await expect(registry.revoke(1, builder, TRAIN | EVALUATE))
        .to.emit(registry, "AccessRevoked")
        .withArgs(1, builder, owner, TRAIN | EVALUATE, RETRIEVE | EXPORT);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
      expect(await registry.mayUse(builder, 1, RETRIEVE | EXPORT)).to.equal(true);
      expect(await registry.nonceOf(1, builder)).to.equal(2);
    });

    it("takes away what the terms of now do not offer, too", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await registry.setTerms(1, 2, terms({ purposes: RETRIEVE }), "");
      await expect(registry.revoke(1, builder, TRAIN))
        .to.emit(registry, "AccessRevoked")
        .withArgs(1, builder, owner, TRAIN, RETRIEVE);
      expect((await registry.grantOf(1, builder)).termsVersion).to.equal(1);
    });

    it("ends at the second the grant expires", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 100;
      await registry.grant(1, builder, TRAIN, until);
      await time.increaseTo(until - 1);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
      await time.increaseTo(until);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("refuses no purpose, an unknown one, an expiry that is not to come and nobody as grantee", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      for (const purposes of [0, 16, 2 ** 32 - 1]) {
        for (const attempt of [
          () => registry.grant(1, builder, purposes, NEVER),
          () => registry.revoke(1, builder, purposes),
        ]) {
          await refused(attempt(), registry, "DatanetRegistryInvalidPurposes", purposes);
        }
      }
      const now = (await time.latest()) + 10;
      await time.setNextBlockTimestamp(now);
      await refused(registry.grant(1, builder, TRAIN, now), registry, "DatanetRegistryInvalidExpiry", now);
      const nobody = registry.grant(1, ethers.ZeroAddress, TRAIN, NEVER);
      await refused(nobody, registry, "DatanetRegistryInvalidGrantee", ethers.ZeroAddress);
    });
  });

  describe("mayUse", () => {
    it("lets the owner do anything that exists, and nobody anything that does not", async () => {
      const { registry, owner } = await loadFixture(registryWithDatanet);
      expect(await registry.mayUse(owner, 1, ALL)).to.equal(true);
      for (const purposes of [0, 16, 17, 2 ** 31]) expect(await registry.mayUse(owner, 1, purposes)).to.equal(false);
    });

    it("is false, not an error, for a datanet that does not exist", async () => {
      const { registry, owner } = await loadFixture(registryWithDatanet);
      expect(await registry.mayUse(owner, 9, TRAIN)).to.equal(false);
      expect(await registry.mayUse(ethers.ZeroAddress, 9, TRAIN)).to.equal(false);
    });

    it("adds public purposes to a live grant, bit by bit", async () => {
      const { registry, builder, stranger } = await loadFixture(registryWithDatanet);
      await expect(registry.setPublicPurposes(1, RETRIEVE))
        .to.emit(registry, "PublicPurposesSet")
        .withArgs(1, RETRIEVE);
      await registry.grant(1, builder, TRAIN, NEVER);
      expect(await registry.mayUse(builder, 1, TRAIN | RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(builder, 1, TRAIN | EVALUATE)).to.equal(false);
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(stranger, 1, TRAIN)).to.equal(false);
      await registry.setPublicPurposes(1, 0);
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(false);
    });

    it("goes on with what is public for a wallet whose own grant is at rest or revoked", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.setPublicPurposes(1, RETRIEVE);
      await registry.grant(1, builder, TRAIN, NEVER);
      await registry.setTerms(1, 2, terms(), "");
      await registry.revoke(1, builder, ALL);
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
    });
  });

  describe("a transfer", () => {
    it("takes two steps: the owner offers, and the one approved takes", async () => {
      const { registry, owner, other } = await loadFixture(registryWithDatanet);
      await expect(registry.approve(other, 1)).to.emit(registry, "Approval").withArgs(owner, other, 1);
      expect(await registry.ownerOf(1)).to.equal(owner);
      await expect(registry.connect(other).transferFrom(owner, other, 1))
        .to.emit(registry, "Transfer")
        .withArgs(owner, other, 1);
      expect(await registry.ownerOf(1)).to.equal(other);
      expect(await registry.getApproved(1)).to.equal(ethers.ZeroAddress);
      expect([await registry.balanceOf(owner), await registry.balanceOf(other)]).to.deep.equal([0n, 1n]);
    });

    it("cannot be forced on anybody: neither the owner nor the one approved can send it elsewhere", async () => {
      const { registry, owner, other, stranger } = await loadFixture(registryWithDatanet);
      await registry.approve(other, 1);
      const safe = "safeTransferFrom(address,address,uint256)";
      for (const attempt of [
        () => registry.transferFrom(owner, stranger, 1),
        () => registry[safe](owner, stranger, 1),
        () => registry.connect(other).transferFrom(owner, stranger, 1),
        () => registry.connect(other)[safe](owner, stranger, 1),
      ]) {
        await refused(attempt(), registry, "DatanetRegistryNotAccepted", 1, stranger);
      }
      expect(await registry.ownerOf(1)).to.equal(owner);
    });

    it("is taken only by the one approved, and not once the offer was taken back or given to another", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      const take = (who) => registry.connect(who).transferFrom(owner, who, 1);
      await refused(take(other), registry, "ERC721InsufficientApproval", other, 1);
      await registry.approve(other, 1);
      await registry.approve(ethers.ZeroAddress, 1);
      await refused(take(other), registry, "ERC721InsufficientApproval", other, 1);
      await registry.approve(other, 1);
      await registry.approve(builder, 1);
      await refused(take(other), registry, "ERC721InsufficientApproval", other, 1);
      await take(builder);
      expect(await registry.ownerOf(1)).to.equal(builder);
    });

    it("knows no operators", async () => {
      const { registry, owner, other } = await loadFixture(registryWithDatanet);
      for (const allowed of [true, false]) {
        await refused(registry.setApprovalForAll(other, allowed), registry, "DatanetRegistryNoOperators");
      }
      expect(await registry.isApprovedForAll(owner, other)).to.equal(false);
      await registry.approve(other, 1);
      const passedOn = registry.connect(other).approve(other, 1);
      await refused(passedOn, registry, "ERC721InvalidApprover", other);
    });

    it("takes nobody along, not even the seller and its other wallets", async () => {
      const { registry, owner, builder, other, stranger } = await loadFixture(registryWithDatanet);
      for (const wallet of [owner, builder, stranger]) await registry.grant(1, wallet, ALL, NEVER);
      await transfer(registry, owner, other);
      for (const wallet of [owner, builder, stranger]) {
        for (let purposes = 1; purposes < 16; purposes++) {
          expect(await registry.mayUse(wallet, 1, purposes)).to.equal(false);
        }
      }
      expect(await registry.mayUse(other, 1, ALL)).to.equal(true);
      expect((await registry.datanetOf(1)).ownerEpoch).to.equal(1);
      const seller = registry.grant(1, owner, TRAIN, NEVER);
      await refused(seller, registry, "DatanetRegistryNotManager", 1, owner);
      await refused(registry.unfreeze(1), registry, "DatanetRegistryNotOwner", 1, owner);
    });

    it("ends the managers' power, and brings it back to nobody when the datanet comes back", async () => {
      const { registry, owner, builder, other, manager } = await loadFixture(registryWithDatanet);
      await registry.setManager(1, manager, true);
      const powerless = async () => {
        expect(await registry.isManager(1, manager)).to.equal(false);
        const attempt = registry.connect(manager).grant(1, builder, TRAIN, NEVER);
        await refused(attempt, registry, "DatanetRegistryNotManager", 1, manager);
      };
      await transfer(registry, owner, other);
      await powerless();
      await transfer(registry, other, owner);
      await powerless();
    });

    it("does not bring old grants back when the datanet comes back, nor in a part that nobody revoked", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await transfer(registry, owner, other);
      await expect(registry.connect(other).revoke(1, builder, TRAIN))
        .to.emit(registry, "AccessRevoked")
        .withArgs(1, builder, other, TRAIN, 0);
      await transfer(registry, other, owner);
      for (const purposes of [TRAIN, RETRIEVE]) expect(await registry.mayUse(builder, 1, purposes)).to.equal(false);
      await registry.grant(1, builder, EVALUATE, NEVER);
      const held = await registry.grantOf(1, builder);
      expect([held.purposes, held.nonce, held.ownerEpoch]).to.deep.equal([4n, 3n, 2n]);
      expect(await registry.nonceOf(1, builder)).to.equal((2n << 64n) + 3n);
    });

    it("leaves requests behind: who asked the seller asks the buyer anew", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, 1, TRAIN, NEVER, "dear seller");
      await transfer(registry, owner, other);
      expect((await registry.requestOf(1, builder)).purposes).to.equal(0);
      for (const attempt of [
        () => registry.connect(other).approveRequest(1, builder, TRAIN, NEVER),
        () => registry.connect(other).denyRequest(1, builder),
        () => registry.connect(builder).withdrawRequest(1),
      ]) {
        await refused(attempt(), registry, "DatanetRegistryNoRequest", 1, builder);
      }
      await registry.connect(builder).requestAccess(1, 1, TRAIN, NEVER, "dear buyer");
      await registry.connect(other).approveRequest(1, builder, TRAIN, NEVER);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
    });

    it("keeps what is the datanet's own: versions, terms and public purposes", async () => {
      const { registry, owner, other, stranger } = await loadFixture(registryWithDatanet);
      await registry.setPublicPurposes(1, RETRIEVE);
      const before = (await registry.datanetOf(1)).toObject();
      await transfer(registry, owner, other);
      const after = (await registry.datanetOf(1)).toObject();
      expect(after).to.deep.equal({ ...before, owner: other.address, ownerEpoch: 1n });
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(true);
    });

    it("may be to oneself: so an owner ends every grant at once", async () => {
      const { registry, owner, builder, stranger } = await loadFixture(registryWithDatanet);
      for (const wallet of [builder, stranger]) await registry.grant(1, wallet, ALL, NEVER);
      await registry.transferFrom(owner, owner, 1);
      for (const wallet of [builder, stranger]) expect(await registry.mayUse(wallet, 1, TRAIN)).to.equal(false);
      expect(await registry.mayUse(owner, 1, ALL)).to.equal(true);
    });

    it("disturbs no other datanet", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.createDatanet("Trials", terms(), "", 0);
      await registry.grant(2, builder, TRAIN, NEVER);
      await transfer(registry, owner, other);
      expect(await registry.mayUse(builder, 2, TRAIN)).to.equal(true);
    });
  });
});
