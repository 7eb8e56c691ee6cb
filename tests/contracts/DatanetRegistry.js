import { expect } from "chai";

import {
  digest,
  ethers,
  EVALUATE,
  EXPORT,
  networkHelpers,
  NEVER,
  registryWithDatanet,
  RETRIEVE,
  TRAIN,
} from "./fixtures.js";

const { loadFixture, time } = networkHelpers;

describe("DatanetRegistry", () => {
  describe("creating", () => {
    it("gives the creator the token, counts from 1 and says what was created", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      expect(await registry.name()).to.equal("Byline Datanet");
      expect(await registry.symbol()).to.equal("DATANET");
      await expect(registry.connect(builder).createDatanet("Trials", digest("t"), "bafyt", RETRIEVE))
        .to.emit(registry, "DatanetCreated")
        .withArgs(2, builder, "Trials", digest("t"), "bafyt")
        .to.emit(registry, "Transfer")
        .withArgs(ethers.ZeroAddress, builder, 2)
        .to.emit(registry, "PublicPurposesSet")
        .withArgs(2, RETRIEVE);
      expect(await registry.datanetCount()).to.equal(2);
      expect(await registry.ownerOf(1)).to.equal(owner);
      const created = await registry.datanetOf(2);
      expect(created.owner).to.equal(builder);
      expect(created.version).to.equal(0);
      expect(created.manifestDigest).to.equal(ethers.ZeroHash);
      expect(created.termsDigest).to.equal(digest("t"));
      expect(created.termsVersion).to.equal(1);
      expect(created.publicPurposes).to.equal(RETRIEVE);
      expect(created.createdAt).to.equal(await time.latest());
    });

    it("is silent about public purposes when there are none", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      await expect(registry.createDatanet("Trials", ethers.ZeroHash, "", 0)).to.not.emit(registry, "PublicPurposesSet");
    });

    it("takes a name of 1 to 80 bytes", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      const create = (name) => registry.createDatanet(name, ethers.ZeroHash, "", 0);
      await create("é".repeat(40));
      for (const [name, bytes] of [
        ["", 0],
        ["é".repeat(40) + "x", 81],
      ]) {
        await expect(create(name))
          .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidName")
          .withArgs(bytes);
      }
    });

    it("refuses a purpose that does not exist", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      await expect(registry.createDatanet("Trials", ethers.ZeroHash, "", 16))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidPurposes")
        .withArgs(16);
    });
  });

  describe("publishing", () => {
    it("makes the next version current and keeps the earlier ones", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      await expect(registry.publishVersion(1, 2, digest("manifest 2"), digest("records 2"), "bafytwo"))
        .to.emit(registry, "VersionPublished")
        .withArgs(1, 2, digest("manifest 2"), digest("records 2"), "bafytwo");
      const now = await registry.datanetOf(1);
      expect([now.version, now.manifestDigest, now.recordsRoot]).to.deep.equal([
        2n,
        digest("manifest 2"),
        digest("records 2"),
      ]);
      const [manifestDigest, recordsRoot, publishedAt] = await registry.versionOf(1, 1);
      expect([manifestDigest, recordsRoot]).to.deep.equal([digest("manifest 1"), digest("records 1")]);
      expect(publishedAt).to.be.greaterThan(0);
      expect(await registry.versionOf(1, 3)).to.deep.equal([ethers.ZeroHash, ethers.ZeroHash, 0n]);
    });

    it("refuses any version but the next, so that two publishers cannot overwrite one another", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      for (const version of [0, 1, 3]) {
        await expect(registry.publishVersion(1, version, digest("m"), digest("r"), ""))
          .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidVersion")
          .withArgs(1, version, 2);
      }
    });

    it("refuses a version without a manifest or without records", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      for (const [manifest, records] of [
        [ethers.ZeroHash, digest("r")],
        [digest("m"), ethers.ZeroHash],
      ]) {
        await expect(registry.publishVersion(1, 2, manifest, records, ""))
          .to.be.revertedWithCustomError(registry, "DatanetRegistryZeroDigest")
          .withArgs(1);
      }
    });
  });

  describe("who decides", () => {
    it("lets nobody but the owner act on a datanet", async () => {
      const { registry, builder, stranger } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "");
      const asStranger = registry.connect(stranger);
      for (const attempt of [
        () => asStranger.publishVersion(1, 2, digest("m"), digest("r"), ""),
        () => asStranger.setPublicPurposes(1, TRAIN),
        () => asStranger.approveRequest(1, builder, TRAIN, NEVER),
        () => asStranger.denyRequest(1, builder),
        () => asStranger.grant(1, stranger, TRAIN, NEVER),
        () => asStranger.revoke(1, builder, TRAIN),
      ]) {
        await expect(attempt())
          .to.be.revertedWithCustomError(registry, "DatanetRegistryNotOwner")
          .withArgs(1, stranger);
      }
    });

    it("names a datanet that does not exist", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      for (const attempt of [
        () => registry.publishVersion(9, 1, digest("m"), digest("r"), ""),
        () => registry.setPublicPurposes(9, TRAIN),
        () => registry.requestAccess(9, TRAIN, NEVER, ""),
        () => registry.approveRequest(9, builder, TRAIN, NEVER),
        () => registry.denyRequest(9, builder),
        () => registry.grant(9, builder, TRAIN, NEVER),
        () => registry.revoke(9, builder, TRAIN),
        () => registry.datanetOf(9),
      ]) {
        await expect(attempt()).to.be.revertedWithCustomError(registry, "DatanetRegistryUnknownDatanet").withArgs(9);
      }
    });

    it("hands every decision to whoever the token is transferred to", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.transferFrom(owner, builder, 1);
      expect((await registry.datanetOf(1)).owner).to.equal(builder);
      expect(await registry.mayUse(owner, 1, TRAIN)).to.equal(false);
      await expect(registry.grant(1, owner, TRAIN, NEVER)).to.be.revertedWithCustomError(
        registry,
        "DatanetRegistryNotOwner",
      );
      await registry.connect(builder).grant(1, owner, TRAIN, NEVER);
      expect(await registry.mayUse(owner, 1, TRAIN)).to.equal(true);
    });
  });

  describe("granting and revoking", () => {
    it("replaces what the grantee held and bumps the nonce", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 3600;
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await expect(registry.grant(1, builder, EVALUATE, until))
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, owner, EVALUATE, until);
      const held = await registry.grantOf(1, builder);
      expect([held.purposes, held.expiresAt, held.termsVersion, held.nonce]).to.deep.equal([4n, BigInt(until), 1n, 2n]);
      expect(held.grantedAt).to.equal(await time.latest());
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
      expect((await registry.grantOf(1, builder)).nonce).to.equal(2);
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

    it("refuses no purpose, an unknown one, an expiry in the past and nobody as grantee", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      for (const purposes of [0, 16, 2 ** 32 - 1]) {
        for (const attempt of [
          () => registry.grant(1, builder, purposes, NEVER),
          () => registry.revoke(1, builder, purposes),
        ]) {
          await expect(attempt())
            .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidPurposes")
            .withArgs(purposes);
        }
      }
      const past = await time.latest();
      await expect(registry.grant(1, builder, TRAIN, past))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidExpiry")
        .withArgs(past);
      await expect(registry.grant(1, ethers.ZeroAddress, TRAIN, NEVER))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidGrantee")
        .withArgs(ethers.ZeroAddress);
    });
  });

  describe("a sold datanet", () => {
    it("takes nobody along, not even the seller and its other wallets", async () => {
      const { registry, owner, builder, other, stranger } = await loadFixture(registryWithDatanet);
      for (const wallet of [owner, builder, stranger]) await registry.grant(1, wallet, 15, NEVER);
      await expect(registry.transferFrom(owner, other, 1))
        .to.emit(registry, "Transfer")
        .withArgs(owner, other, 1);
      for (const wallet of [owner, builder, stranger]) {
        for (let purposes = 1; purposes < 16; purposes++) {
          expect(await registry.mayUse(wallet, 1, purposes)).to.equal(false);
        }
      }
      expect(await registry.mayUse(other, 1, 15)).to.equal(true);
      expect((await registry.datanetOf(1)).ownerEpoch).to.equal(1);
    });

    it("lets in whom its new owner lets in, and goes on counting that wallet's changes", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await registry.transferFrom(owner, other, 1);
      await registry.connect(other).grant(1, builder, EVALUATE, NEVER);
      expect(await registry.mayUse(builder, 1, EVALUATE)).to.equal(true);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
      const held = await registry.grantOf(1, builder);
      expect([held.purposes, held.nonce, held.ownerEpoch]).to.deep.equal([4n, 2n, 1n]);
    });

    it("does not bring old grants back when it comes back, nor in a part that nobody revoked", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await registry.transferFrom(owner, other, 1);
      await expect(registry.connect(other).revoke(1, builder, TRAIN))
        .to.emit(registry, "AccessRevoked")
        .withArgs(1, builder, other, TRAIN, 0);
      await registry.connect(other).transferFrom(other, owner, 1);
      for (const purposes of [TRAIN, RETRIEVE]) expect(await registry.mayUse(builder, 1, purposes)).to.equal(false);
    });

    it("leaves its requests behind: who asked the seller asks the buyer anew", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "dear seller");
      await registry.transferFrom(owner, other, 1);
      expect((await registry.requestOf(1, builder)).purposes).to.equal(0);
      for (const attempt of [
        () => registry.connect(other).approveRequest(1, builder, TRAIN, NEVER),
        () => registry.connect(other).denyRequest(1, builder),
        () => registry.connect(builder).withdrawRequest(1),
      ]) {
        await expect(attempt())
          .to.be.revertedWithCustomError(registry, "DatanetRegistryNoRequest")
          .withArgs(1, builder);
      }
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "dear buyer");
      await registry.connect(other).approveRequest(1, builder, TRAIN, NEVER);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
    });

    it("keeps what is the datanet's own: versions, terms and public purposes", async () => {
      const { registry, owner, other, stranger } = await loadFixture(registryWithDatanet);
      await registry.setPublicPurposes(1, RETRIEVE);
      const before = await registry.datanetOf(1);
      await registry.transferFrom(owner, other, 1);
      const after = await registry.datanetOf(1);
      expect(after.owner).to.equal(other);
      for (const kept of ["version", "manifestDigest", "recordsRoot", "termsDigest", "termsVersion", "createdAt"]) {
        expect(after[kept]).to.equal(before[kept]);
      }
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(true);
    });

    it("is sold by whoever the owner approved, with the same effect", async () => {
      const { registry, owner, builder, other, stranger } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, TRAIN, NEVER);
      await registry.approve(stranger, 1);
      await registry.connect(stranger)["safeTransferFrom(address,address,uint256)"](owner, other, 1);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("need not be sold: its owner ends every grant at once by a transfer to itself", async () => {
      const { registry, owner, builder, stranger } = await loadFixture(registryWithDatanet);
      for (const wallet of [builder, stranger]) await registry.grant(1, wallet, 15, NEVER);
      await registry.transferFrom(owner, owner, 1);
      for (const wallet of [builder, stranger]) expect(await registry.mayUse(wallet, 1, TRAIN)).to.equal(false);
      expect(await registry.mayUse(owner, 1, 15)).to.equal(true);
    });

    it("disturbs no other datanet", async () => {
      const { registry, owner, builder, other } = await loadFixture(registryWithDatanet);
      await registry.createDatanet("Trials", ethers.ZeroHash, "", 0);
      await registry.grant(2, builder, TRAIN, NEVER);
      await registry.transferFrom(owner, other, 1);
      expect(await registry.mayUse(builder, 2, TRAIN)).to.equal(true);
    });
  });

  describe("mayUse", () => {
    it("lets the owner do anything that exists, and nobody anything that does not", async () => {
      const { registry, owner } = await loadFixture(registryWithDatanet);
      expect(await registry.mayUse(owner, 1, 15)).to.equal(true);
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
      await expect(registry.setPublicPurposes(1, 16))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidPurposes")
        .withArgs(16);
    });
  });

  describe("asking", () => {
    it("keeps one pending request a wallet, the latest", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      const until = (await time.latest()) + 3600;
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "first");
      await expect(registry.connect(builder).requestAccess(1, RETRIEVE | EXPORT, until, "for a review"))
        .to.emit(registry, "AccessRequested")
        .withArgs(1, builder, RETRIEVE | EXPORT, until, "for a review");
      const pending = await registry.requestOf(1, builder);
      expect([pending.purposes, pending.expiresAt]).to.deep.equal([10n, BigInt(until)]);
      expect(pending.requestedAt).to.equal(await time.latest());
    });

    it("gives nothing by itself", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "");
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("can be approved in part: then the request is gone and the grant is there", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, TRAIN | RETRIEVE, NEVER, "");
      await expect(registry.approveRequest(1, builder, RETRIEVE, NEVER))
        .to.emit(registry, "RequestApproved")
        .withArgs(1, builder, owner)
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, owner, RETRIEVE, NEVER);
      expect((await registry.requestOf(1, builder)).purposes).to.equal(0);
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    });

    it("cannot be approved for more than was asked, nor for nothing, nor into the past", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      await registry.connect(builder).requestAccess(1, RETRIEVE, NEVER, "");
      for (const purposes of [TRAIN, TRAIN | RETRIEVE, 0]) {
        await expect(registry.approveRequest(1, builder, purposes, NEVER))
          .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidPurposes")
          .withArgs(purposes);
      }
      await expect(registry.approveRequest(1, builder, RETRIEVE, 1))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidExpiry")
        .withArgs(1);
    });

    it("can be denied or withdrawn, once; what was held before stays", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      await registry.grant(1, builder, RETRIEVE, NEVER);
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "");
      await expect(registry.denyRequest(1, builder)).to.emit(registry, "RequestDenied").withArgs(1, builder, owner);
      await registry.connect(builder).requestAccess(1, TRAIN, NEVER, "");
      await expect(registry.connect(builder).withdrawRequest(1))
        .to.emit(registry, "RequestWithdrawn")
        .withArgs(1, builder);
      for (const attempt of [
        () => registry.denyRequest(1, builder),
        () => registry.approveRequest(1, builder, TRAIN, NEVER),
        () => registry.connect(builder).withdrawRequest(1),
      ]) {
        await expect(attempt())
          .to.be.revertedWithCustomError(registry, "DatanetRegistryNoRequest")
          .withArgs(1, builder);
      }
      expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
    });

    it("refuses a message over 280 bytes, no purpose, an unknown one and an expiry in the past", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      const ask = (purposes, expiresAt, message) =>
        registry.connect(builder).requestAccess(1, purposes, expiresAt, message);
      await ask(TRAIN, NEVER, "é".repeat(140));
      await expect(ask(TRAIN, NEVER, "é".repeat(140) + "x"))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryMessageTooLong")
        .withArgs(281);
      for (const purposes of [0, 16]) {
        await expect(ask(purposes, NEVER, ""))
          .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidPurposes")
          .withArgs(purposes);
      }
      await expect(ask(TRAIN, 1, ""))
        .to.be.revertedWithCustomError(registry, "DatanetRegistryInvalidExpiry")
        .withArgs(1);
    });
  });
});
