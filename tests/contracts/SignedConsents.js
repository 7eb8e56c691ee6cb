import { expect } from "chai";
import { network } from "hardhat";

import {
  ALL,
  domainOf,
  ethers,
  networkHelpers,
  NEVER,
  refused,
  registryWithConsents,
  RETRIEVE,
  terms,
  TRAIN,
  transfer,
} from "./fixtures.js";

const { loadFixture, time } = networkHelpers;
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** The other signature that the curve's mathematics would accept: s mirrored, parity flipped. */
function malleated(signature) {
  const { r, s, yParity } = ethers.Signature.from(signature);
  return ethers.concat([r, ethers.toBeHex(CURVE_ORDER - BigInt(s), 32), yParity === 0 ? "0x1c" : "0x1b"]);
}

describe("DatanetRegistry: signed consents", () => {
  it("grant what the owner signed, whoever relays it", async () => {
    const { registry, owner, builder, grantConsent, relayGrant } = await loadFixture(registryWithConsents);
    const until = (await time.latest()) + 1000;
    await expect(relayGrant(await grantConsent({ purposes: RETRIEVE, expiresAt: until })))
      .to.emit(registry, "AccessGranted")
      .withArgs(1, builder, owner, RETRIEVE, until, 1);
    expect(await registry.mayUse(builder, 1, RETRIEVE)).to.equal(true);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
  });

  it("revoke what the owner signed, whoever relays it", async () => {
    const { registry, owner, builder, revocationConsent, relayRevocation } = await loadFixture(registryWithConsents);
    await registry.grant(1, builder, ALL, NEVER);
    await expect(relayRevocation(await revocationConsent()))
      .to.emit(registry, "AccessRevoked")
      .withArgs(1, builder, owner, TRAIN, ALL & ~TRAIN);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
  });

  it("are as good from a manager, in the manager's name", async () => {
    const { registry, builder, manager, ...given } = await loadFixture(registryWithConsents);
    const grant = await given.grantConsent();
    await expect(given.relayGrant(grant, await given.sign(grant, manager), manager))
      .to.emit(registry, "AccessGranted")
      .withArgs(1, builder, manager, ALL, NEVER, 1);
    const revocation = await given.revocationConsent();
    await expect(given.relayRevocation(revocation, await given.sign(revocation, manager), manager))
      .to.emit(registry, "AccessRevoked")
      .withArgs(1, builder, manager, TRAIN, ALL & ~TRAIN);
  });

  it("answer a request as a grant in person does", async () => {
    const { registry, builder, grantConsent, relayGrant } = await loadFixture(registryWithConsents);
    await registry.connect(builder).requestAccess(1, 1, ALL, NEVER, "");
    await relayGrant(await grantConsent());
    expect((await registry.requestOf(1, builder)).purposes).to.equal(0);
  });

  it("bind every field: nothing of what was signed can be changed", async () => {
    const { registry, owner, other, ...given } = await loadFixture(registryWithConsents);
    await registry.createDatanet("Trials", terms(), "", 0);
    const untouched = await networkHelpers.takeSnapshot();
    for (const [draft, relay, changes] of [
      [
        given.grantConsent,
        given.relayGrant,
        { datanetId: 2, grantee: other.address, purposes: RETRIEVE, expiresAt: 4_102_444_800, deadline: 4_102_444_800 },
      ],
      [
        given.revocationConsent,
        given.relayRevocation,
        { datanetId: 2, grantee: other.address, purposes: RETRIEVE, deadline: 4_102_444_800 },
      ],
    ]) {
      const consent = await draft({ purposes: TRAIN });
      const signature = await given.sign(consent);
      for (const [field, value] of Object.entries(changes)) {
        const changed = relay({ ...consent, [field]: value }, signature);
        await refused(changed, registry, "DatanetRegistryInvalidSignature", owner);
      }
      await relay(consent, signature);
      await untouched.restore();
    }
  });

  it("are no good as one another: a grant signed is no revocation signed", async () => {
    const { registry, owner, domain, ...given } = await loadFixture(registryWithConsents);
    const grant = await given.grantConsent();
    const revocation = await given.revocationConsent({ purposes: ALL });
    const asGrant = await given.sign(grant);
    const asRevocation = await given.sign(revocation);
    await refused(given.relayGrant(grant, asRevocation), registry, "DatanetRegistryInvalidSignature", owner);
    await refused(given.relayRevocation(revocation, asGrant), registry, "DatanetRegistryInvalidSignature", owner);
    expect(Object.keys(domain)).to.deep.equal(["name", "version", "chainId", "verifyingContract"]);
  });

  it("count once", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const grant = await given.grantConsent();
    await given.relayGrant(grant);
    await refused(given.relayGrant(grant), registry, "DatanetRegistryStaleNonce", 0, 1);
    const revocation = await given.revocationConsent();
    await given.relayRevocation(revocation);
    await refused(given.relayRevocation(revocation), registry, "DatanetRegistryStaleNonce", 1, 2);
  });

  it("carry exactly the next number: none can be signed ahead", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const ahead = given.relayGrant(await given.grantConsent({ nonce: 1 }));
    await refused(ahead, registry, "DatanetRegistryStaleNonce", 1, 0);
  });

  it("are void once a later grant, revocation or approval was made, and once the datanet left and came back", async () => {
    const { registry, owner, builder, other, ...given } = await loadFixture(registryWithConsents);
    const changes = [
      () => registry.grant(1, builder, RETRIEVE, NEVER),
      () => registry.revoke(1, builder, RETRIEVE),
      async () => {
        await registry.connect(builder).requestAccess(1, 1, TRAIN, NEVER, "");
        await registry.approveRequest(1, builder, TRAIN, NEVER);
      },
      async () => {
        await transfer(registry, owner, other);
        await transfer(registry, other, owner);
      },
      () => registry.transferFrom(owner, owner, 1),
    ];
    for (const change of changes) {
      const [grant, revocation] = [await given.grantConsent(), await given.revocationConsent()];
      await change();
      const now = await registry.nonceOf(1, builder);
      expect(now).to.be.greaterThan(grant.nonce);
      for (const attempt of [() => given.relayGrant(grant), () => given.relayRevocation(revocation)]) {
        await refused(attempt(), registry, "DatanetRegistryStaleNonce", grant.nonce, now);
      }
    }
  });

  it("to grant are void under new terms; to revoke they hold", async () => {
    const { registry, builder, ...given } = await loadFixture(registryWithConsents);
    await registry.grant(1, builder, ALL, NEVER);
    const [grant, revocation] = [await given.grantConsent(), await given.revocationConsent()];
    await registry.setTerms(1, 2, terms(), "");
    await refused(given.relayGrant(grant), registry, "DatanetRegistryStaleTerms", 1, 1, 2);
    await given.relayRevocation(revocation);
    expect((await registry.grantOf(1, builder)).purposes).to.equal(ALL & ~TRAIN);
  });

  it("to grant name the terms of now, not ones to come", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const early = given.relayGrant(await given.grantConsent({ termsVersion: 2 }));
    await refused(early, registry, "DatanetRegistryStaleTerms", 1, 2, 1);
  });

  it("to revoke cannot be escaped by their grantee: accepting, asking and withdrawing change no number", async () => {
    const { registry, builder, ...given } = await loadFixture(registryWithConsents);
    await registry.grant(1, builder, ALL, NEVER);
    await registry.setTerms(1, 2, terms(), "");
    const revocation = await given.revocationConsent();
    const grantee = registry.connect(builder);
    for (let i = 0; i < 2; i++) await grantee.acceptTerms(1, 2);
    await grantee.requestAccess(1, 2, TRAIN, NEVER, "");
    await grantee.withdrawRequest(1);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
    await given.relayRevocation(revocation);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
  });

  it("are good in the second of their deadline and void after it", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const [grant, revocation] = [await given.grantConsent(), await given.revocationConsent()];
    const snapshot = await networkHelpers.takeSnapshot();
    for (const [consent, relay] of [
      [grant, given.relayGrant],
      [revocation, given.relayRevocation],
    ]) {
      const signature = await given.sign(consent);
      await time.setNextBlockTimestamp(consent.deadline);
      await relay(consent, signature);
      await snapshot.restore();
      await time.setNextBlockTimestamp(BigInt(consent.deadline) + 1n);
      await refused(relay(consent, signature), registry, "DatanetRegistrySignatureExpired", consent.deadline);
      await snapshot.restore();
    }
  });

  it("of a removed manager, an earlier owner or anybody else are void", async () => {
    const { registry, owner, other, stranger, manager, ...given } = await loadFixture(registryWithConsents);
    const refuses = async (signer) => {
      for (const [consent, relay] of [
        [await given.grantConsent(), given.relayGrant],
        [await given.revocationConsent(), given.relayRevocation],
      ]) {
        const attempt = relay(consent, await given.sign(consent, signer), signer);
        await refused(attempt, registry, "DatanetRegistryNotManager", 1, signer);
      }
    };
    await refuses(stranger);
    await registry.setManager(1, manager, false);
    await refuses(manager);
    await transfer(registry, owner, other);
    await refuses(owner);
  });

  it("about a datanet that does not exist name it", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const attempts = [
      given.relayGrant(await given.grantConsent({ datanetId: 9 })),
      given.relayRevocation(await given.revocationConsent({ datanetId: 9 })),
    ];
    for (const attempt of attempts) await refused(attempt, registry, "DatanetRegistryUnknownDatanet", 9);
  });

  it("obey the rules of a grant in person", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    const grant = async (changed) => given.relayGrant(await given.grantConsent(changed));
    await refused(grant({ purposes: 16 }), registry, "DatanetRegistryInvalidPurposes", 16);
    await refused(grant({ expiresAt: 1 }), registry, "DatanetRegistryInvalidExpiry", 1);
    const nobody = { grantee: ethers.ZeroAddress };
    await refused(grant(nobody), registry, "DatanetRegistryInvalidGrantee", ethers.ZeroAddress);
    const nothing = given.relayRevocation(await given.revocationConsent({ purposes: 0 }));
    await refused(nothing, registry, "DatanetRegistryInvalidPurposes", 0);
  });

  it("with a signature by another, mirrored, short, long, compact or of garbage are refused", async () => {
    const { registry, owner, manager, ...given } = await loadFixture(registryWithConsents);
    for (const [consent, relay] of [
      [await given.grantConsent(), given.relayGrant],
      [await given.revocationConsent(), given.relayRevocation],
    ]) {
      const good = await given.sign(consent);
      for (const bad of [
        await given.sign(consent, manager),
        malleated(good),
        "0x",
        ethers.dataSlice(good, 0, 64),
        good + "00",
        ethers.Signature.from(good).compactSerialized,
        ethers.dataSlice(good, 0, 64) + "1d",
        "0x" + "00".repeat(65),
        "0x" + "ff".repeat(65),
      ]) {
        await refused(relay(consent, bad), registry, "DatanetRegistryInvalidSignature", owner);
      }
    }
  });

  it("are not nobody's, though nobody be named a manager", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    await registry.setManager(1, ethers.ZeroAddress, true);
    const attempt = given.relayGrant(await given.grantConsent(), "0x" + "00".repeat(65), ethers.ZeroAddress);
    await refused(attempt, registry, "DatanetRegistryInvalidSignature", ethers.ZeroAddress);
  });

  it("are refused where the chain was split: the same contract at the same address under another id", async () => {
    const { registry, owner, ...given } = await loadFixture(registryWithConsents);
    const place = await registry.getAddress();
    const split = await network.create({ override: { chainId: 20932 } });
    await split.networkHelpers.setCode(place, await ethers.provider.getCode(place));
    const there = await split.ethers.getContractAt("DatanetRegistry", place);
    await there.createDatanet("Cardiology notes", terms(), "bafylicence", 0);
    const consent = await given.grantConsent();
    const attempt = there.grantBySignature(consent, owner.address, await given.sign(consent));
    await refused(attempt, registry, "DatanetRegistryInvalidSignature", owner.address);
    const domain = await domainOf(there);
    expect(domain.chainId).to.equal(20932);
    await there.grantBySignature(consent, owner.address, await given.sign(consent, owner, domain));
    await given.relayGrant(consent);
  });

  it("for another chain, contract, name or version are refused here", async () => {
    const { registry, owner, domain, ...given } = await loadFixture(registryWithConsents);
    const twin = await ethers.deployContract("DatanetRegistry");
    await twin.createDatanet("Cardiology notes", terms(), "bafylicence", 0);
    const consent = await given.grantConsent();
    for (const other of [
      { chainId: domain.chainId + 1n },
      { verifyingContract: await twin.getAddress() },
      { name: "Byline ModelRegistry" },
      { version: "2" },
    ]) {
      const signature = await given.sign(consent, owner, { ...domain, ...other });
      await refused(given.relayGrant(consent, signature), registry, "DatanetRegistryInvalidSignature", owner);
    }
    await twin.grantBySignature(consent, owner, await given.sign(consent, owner, await domainOf(twin)));
    expect(await registry.nonceOf(1, consent.grantee)).to.equal(0);
  });
});
