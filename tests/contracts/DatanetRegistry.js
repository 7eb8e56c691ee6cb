import { expect } from "chai";

import {
  ALL,
  digest,
  ethers,
  EUR,
  EVALUATE,
  networkHelpers,
  NEVER,
  refused,
  registryWithDatanet,
  RETRIEVE,
  terms,
  TRAIN,
} from "./fixtures.js";

const { loadFixture, time } = networkHelpers;

async function registryWithManager() {
  const given = await registryWithDatanet();
  await given.registry.setManager(1, given.manager, true);
  return given;
}

describe("DatanetRegistry", () => {
  describe("creating", () => {
    it("gives the creator the token, counts from 1 and says what was created", async () => {
      const { registry, owner, builder } = await loadFixture(registryWithDatanet);
      expect(await registry.name()).to.equal("Byline Datanet");
      expect(await registry.symbol()).to.equal("DATANET");
      const offered = terms({ purposes: RETRIEVE | TRAIN, pricePer1000Answers: 250, currency: EUR, keepsModels: true });
      await expect(registry.connect(builder).createDatanet("Trials", offered, "bafyt", RETRIEVE))
        .to.emit(registry, "DatanetCreated")
        .withArgs(2, builder, "Trials")
        .to.emit(registry, "Transfer")
        .withArgs(ethers.ZeroAddress, builder, 2)
        .to.emit(registry, "TermsSet")
        .withArgs(2, 1, digest("licence"), "bafyt", RETRIEVE | TRAIN, 250, EUR, true)
        .to.emit(registry, "PublicPurposesSet")
        .withArgs(2, RETRIEVE);
      expect(await registry.datanetCount()).to.equal(2);
      expect(await registry.ownerOf(1)).to.equal(owner);
      expect(await registry.balanceOf(builder)).to.equal(1);
      expect((await registry.datanetOf(2)).toObject()).to.deep.equal({
        owner: builder.address,
        version: 0n,
        manifestDigest: ethers.ZeroHash,
        recordsRoot: ethers.ZeroHash,
        licenceDigest: digest("licence"),
        termsVersion: 1n,
        publicPurposes: 2n,
        createdAt: BigInt(await time.latest()),
        ownerEpoch: 0n,
        frozen: false,
      });
    });

    it("is silent about public purposes when there are none", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      await expect(registry.createDatanet("Trials", terms(), "", 0)).to.not.emit(registry, "PublicPurposesSet");
    });

    it("takes a name of 1 to 80 bytes", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      const create = (name) => registry.createDatanet(name, terms(), "", 0);
      for (const name of ["x", "é".repeat(40)]) await create(name);
      await refused(create(""), registry, "DatanetRegistryInvalidName", 0);
      await refused(create("é".repeat(40) + "x"), registry, "DatanetRegistryInvalidName", 81);
    });

    it("opens to everyone only what the terms offer", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      const open = (purposes) => registry.createDatanet("Trials", terms({ purposes: RETRIEVE }), "", purposes);
      for (const purposes of [16, TRAIN, RETRIEVE | TRAIN]) {
        await refused(open(purposes), registry, "DatanetRegistryInvalidPurposes", purposes);
      }
    });
  });

  describe("publishing", () => {
    it("makes the next version current and keeps the earlier ones", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      await expect(registry.publishVersion(1, 2, digest("manifest 2"), digest("records 2"), "bafytwo"))
        .to.emit(registry, "VersionPublished")
        .withArgs(1, 2, digest("manifest 2"), digest("records 2"), "bafytwo");
      const publishedAt = BigInt(await time.latest());
      const now = await registry.datanetOf(1);
      expect([now.version, now.manifestDigest, now.recordsRoot]).to.deep.equal([
        2n,
        digest("manifest 2"),
        digest("records 2"),
      ]);
      expect(await registry.versionOf(1, 2)).to.deep.equal([digest("manifest 2"), digest("records 2"), publishedAt]);
      expect((await registry.versionOf(1, 1)).manifestDigest).to.equal(digest("manifest 1"));
      expect(await registry.versionOf(1, 3)).to.deep.equal([ethers.ZeroHash, ethers.ZeroHash, 0n]);
    });

    it("refuses any version but the next, so that two publishers cannot overwrite one another", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      for (const version of [0, 1, 3]) {
        const attempt = registry.publishVersion(1, version, digest("m"), digest("r"), "");
        await refused(attempt, registry, "DatanetRegistryInvalidVersion", 1, version, 2);
      }
    });

    it("refuses a version without a manifest or without records", async () => {
      const { registry } = await loadFixture(registryWithDatanet);
      for (const [manifest, records] of [
        [ethers.ZeroHash, digest("r")],
        [digest("m"), ethers.ZeroHash],
      ]) {
        await refused(registry.publishVersion(1, 2, manifest, records, ""), registry, "DatanetRegistryZeroDigest", 1);
      }
    });
  });

  describe("who decides", () => {
    const managing = (registry, builder) => [
      () => registry.publishVersion(1, 2, digest("m"), digest("r"), ""),
      () => registry.approveRequest(1, builder, TRAIN, NEVER),
      () => registry.denyRequest(1, builder),
      () => registry.grant(1, builder, TRAIN, NEVER),
      () => registry.revoke(1, builder, TRAIN),
      () => registry.freeze(1),
    ];
    const owning = (registry, builder) => [
      () => registry.setTerms(1, 2, terms(), ""),
      () => registry.setPublicPurposes(1, TRAIN),
      () => registry.setManager(1, builder, true),
      () => registry.unfreeze(1),
    ];

    it("lets nobody but the owner and its managers act on a datanet", async () => {
      const { registry, builder, stranger } = await loadFixture(registryWithManager);
      await registry.connect(builder).requestAccess(1, 1, TRAIN, NEVER, "");
      for (const who of [stranger, builder]) {
        const as = registry.connect(who);
        for (const attempt of managing(as, builder)) {
          await refused(attempt(), registry, "DatanetRegistryNotManager", 1, who);
        }
        for (const attempt of owning(as, builder))
          await refused(attempt(), registry, "DatanetRegistryNotOwner", 1, who);
      }
    });

    it("lets a manager grant, revoke, approve, deny, publish and freeze in its own name", async () => {
      const { registry, builder, manager } = await loadFixture(registryWithManager);
      const asManager = registry.connect(manager);
      const ask = () => registry.connect(builder).requestAccess(1, 1, TRAIN, NEVER, "");
      await expect(asManager.grant(1, builder, EVALUATE, NEVER))
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, manager, EVALUATE, NEVER, 1);
      await expect(asManager.revoke(1, builder, EVALUATE))
        .to.emit(registry, "AccessRevoked")
        .withArgs(1, builder, manager, EVALUATE, 0);
      await ask();
      await expect(asManager.denyRequest(1, builder)).to.emit(registry, "RequestDenied").withArgs(1, builder, manager);
      await ask();
      await expect(asManager.approveRequest(1, builder, TRAIN, NEVER))
        .to.emit(registry, "RequestApproved")
        .withArgs(1, builder, manager)
        .to.emit(registry, "AccessGranted")
        .withArgs(1, builder, manager, TRAIN, NEVER, 1);
      await asManager.publishVersion(1, 2, digest("m"), digest("r"), "");
      await expect(asManager.freeze(1)).to.emit(registry, "DatanetFrozen").withArgs(1, manager);
    });

    it("lets no manager set terms, public purposes or managers, unfreeze or give the datanet away", async () => {
      const { registry, owner, builder, manager } = await loadFixture(registryWithManager);
      const asManager = registry.connect(manager);
      for (const attempt of owning(asManager, builder)) {
        await refused(attempt(), registry, "DatanetRegistryNotOwner", 1, manager);
      }
      await refused(asManager.approve(builder, 1), registry, "ERC721InvalidApprover", manager);
      const take = asManager.transferFrom(owner, manager, 1);
      await refused(take, registry, "ERC721InsufficientApproval", manager, 1);
    });

    it("gives a manager no use of the data, and says that an owner is no manager", async () => {
      const { registry, owner, stranger, manager } = await loadFixture(registryWithManager);
      expect(await registry.mayUse(manager, 1, RETRIEVE)).to.equal(false);
      const named = (who) => registry.isManager(1, who);
      expect(await Promise.all([manager, owner, stranger].map(named))).to.deep.equal([true, false, false]);
    });

    it("takes a manager's power back at once, and for one datanet only", async () => {
      const { registry, builder, manager } = await loadFixture(registryWithManager);
      await registry.createDatanet("Trials", terms(), "", 0);
      const other = registry.connect(manager).grant(2, builder, TRAIN, NEVER);
      await refused(other, registry, "DatanetRegistryNotManager", 2, manager);
      await expect(registry.setManager(1, manager, false))
        .to.emit(registry, "ManagerSet")
        .withArgs(1, manager, false);
      expect(await registry.isManager(1, manager)).to.equal(false);
      const late = registry.connect(manager).grant(1, builder, TRAIN, NEVER);
      await refused(late, registry, "DatanetRegistryNotManager", 1, manager);
      await expect(registry.setManager(1, manager, true))
        .to.emit(registry, "ManagerSet")
        .withArgs(1, manager, true);
      await registry.connect(manager).grant(1, builder, TRAIN, NEVER);
    });

    it("names a datanet that does not exist", async () => {
      const { registry, builder } = await loadFixture(registryWithDatanet);
      for (const attempt of [
        () => registry.publishVersion(9, 1, digest("m"), digest("r"), ""),
        () => registry.setTerms(9, 1, terms(), ""),
        () => registry.acceptTerms(9, 0),
        () => registry.setPublicPurposes(9, TRAIN),
        () => registry.setManager(9, builder, true),
        () => registry.freeze(9),
        () => registry.unfreeze(9),
        () => registry.requestAccess(9, 0, TRAIN, NEVER, ""),
        () => registry.approveRequest(9, builder, TRAIN, NEVER),
        () => registry.denyRequest(9, builder),
        () => registry.grant(9, builder, TRAIN, NEVER),
        () => registry.revoke(9, builder, TRAIN),
        () => registry.datanetOf(9),
      ]) {
        await refused(attempt(), registry, "DatanetRegistryUnknownDatanet", 9);
      }
    });
  });

  describe("freezing", () => {
    it("stops every purpose of everybody at once: grantees, the public and the owner too", async () => {
      const { registry, owner, builder, stranger, manager } = await loadFixture(registryWithManager);
      await registry.setPublicPurposes(1, RETRIEVE);
      await registry.grant(1, builder, TRAIN, NEVER);
      await registry.connect(manager).freeze(1);
      expect((await registry.datanetOf(1)).frozen).to.equal(true);
      for (const wallet of [owner, builder, stranger, manager]) {
        for (let purposes = 1; purposes < 16; purposes++) {
          expect(await registry.mayUse(wallet, 1, purposes)).to.equal(false);
        }
      }
      await expect(registry.unfreeze(1)).to.emit(registry, "DatanetUnfrozen").withArgs(1);
      expect((await registry.datanetOf(1)).frozen).to.equal(false);
      expect(await registry.mayUse(owner, 1, ALL)).to.equal(true);
      expect(await registry.mayUse(builder, 1, TRAIN | RETRIEVE)).to.equal(true);
      expect(await registry.mayUse(stranger, 1, RETRIEVE)).to.equal(true);
    });

    it("stands in the way of neither revoking, nor transferring, nor reading, and lasts until the owner ends it", async () => {
      const { registry, owner, builder, other, manager } = await loadFixture(registryWithManager);
      await registry.grant(1, builder, TRAIN | RETRIEVE, NEVER);
      await registry.freeze(1);
      await registry.connect(manager).revoke(1, builder, TRAIN);
      expect((await registry.grantOf(1, builder)).purposes).to.equal(RETRIEVE);
      expect((await registry.versionOf(1, 1)).recordsRoot).to.equal(digest("records 1"));
      expect((await registry.termsOf(1, 1)).purposes).to.equal(ALL);
      await registry.approve(other, 1);
      await registry.connect(other).transferFrom(owner, other, 1);
      expect(await registry.mayUse(other, 1, RETRIEVE)).to.equal(false);
      await registry.connect(other).unfreeze(1);
      expect(await registry.mayUse(other, 1, RETRIEVE)).to.equal(true);
    });

    it("freezes one datanet and no other", async () => {
      const { registry, owner } = await loadFixture(registryWithDatanet);
      await registry.createDatanet("Trials", terms(), "", 0);
      await registry.freeze(1);
      expect(await registry.mayUse(owner, 2, ALL)).to.equal(true);
    });
  });
});
