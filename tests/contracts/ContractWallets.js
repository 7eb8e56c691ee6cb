import { expect } from "chai";

import {
  ALL,
  consentTypes,
  domainOf,
  ethers,
  networkHelpers,
  NEVER,
  refused,
  registryWithConsents,
  terms,
  TRAIN,
  vectors,
} from "./fixtures.js";

const { loadFixture } = networkHelpers;

describe("DatanetRegistry: contract wallets and shared vectors", () => {
  /** Datanet 1 belongs to a contract wallet that `other` holds the key of. */
  async function ownedByWallet() {
    const given = await registryWithConsents();
    const { registry, owner, other } = given;
    const wallet = await ethers.deployContract("ContractWallet", [other.address]);
    const call = (name, ...args) =>
      wallet.connect(other).execute(registry, registry.interface.encodeFunctionData(name, args));
    await registry.approve(wallet, 1);
    await call("transferFrom", owner.address, await wallet.getAddress(), 1);
    return { ...given, wallet, call };
  }

  it("an owner that is a contract consents by ERC-1271, and acts by calls", async () => {
    const { registry, builder, other, wallet, call, ...given } = await loadFixture(ownedByWallet);
    expect(await registry.ownerOf(1)).to.equal(wallet);
    const grant = await given.grantConsent();
    await expect(given.relayGrant(grant, await given.sign(grant, other), wallet))
      .to.emit(registry, "AccessGranted")
      .withArgs(1, builder, wallet, ALL, NEVER, 1);
    const revocation = await given.revocationConsent();
    await given.relayRevocation(revocation, await given.sign(revocation, other), wallet);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(false);
    await call("grant", 1, builder.address, TRAIN, NEVER);
    expect(await registry.mayUse(builder, 1, TRAIN)).to.equal(true);
  });

  it("its key alone is not the owner, and another key's signature is not its word", async () => {
    const { registry, owner, other, wallet, ...given } = await loadFixture(ownedByWallet);
    const consent = await given.grantConsent();
    const byKey = given.relayGrant(consent, await given.sign(consent, other), other);
    await refused(byKey, registry, "DatanetRegistryNotManager", 1, other);
    for (const signature of [await given.sign(consent, owner), "0x", "0x" + "00".repeat(65)]) {
      const attempt = given.relayGrant(consent, signature, wallet);
      await refused(attempt, registry, "DatanetRegistryInvalidSignature", wallet);
    }
  });

  it("a contract that knows no ERC-1271 signs nothing", async () => {
    const { registry, ...given } = await loadFixture(registryWithConsents);
    await registry.setManager(1, registry, true);
    const consent = await given.grantConsent();
    const attempt = given.relayGrant(consent, await given.sign(consent), registry);
    await refused(attempt, registry, "DatanetRegistryInvalidSignature", registry);
  });

  it("the registry computes the digests of the shared vectors and takes their signatures", async () => {
    const { grant, revocation } = vectors("grant.json");
    const { registry, stranger } = await loadFixture(registryWithConsents);
    const place = grant.domain.verifyingContract;
    await networkHelpers.setCode(place, await ethers.provider.getCode(registry));
    // Names are kept in storage only when longer than 31 bytes; this one lives in the code.
    const there = registry.attach(place).connect(stranger);
    expect(await domainOf(there)).to.deep.equal({ ...grant.domain, chainId: BigInt(grant.domain.chainId) });
    for (const { types, primaryType, message, digest, signer, signature, domain } of [grant, revocation]) {
      const { EIP712Domain, ...rest } = types;
      expect(rest).to.deep.equal(consentTypes(primaryType));
      expect(EIP712Domain.map(({ name }) => name)).to.deep.equal(Object.keys(domain));
      expect(ethers.TypedDataEncoder.hash(domain, rest, message)).to.equal(digest);
      expect(ethers.recoverAddress(digest, signature)).to.equal(signer);
    }
    expect(await there.grantDigest(grant.message)).to.equal(grant.digest);
    expect(await there.revocationDigest(revocation.message)).to.equal(revocation.digest);

    const owner = await ethers.getImpersonatedSigner(grant.signer);
    await networkHelpers.setBalance(grant.signer, ethers.parseEther("1"));
    await there.connect(owner).createDatanet("Vectors", terms(), "", 0);
    await there.grantBySignature(grant.message, grant.signer, grant.signature);
    expect(await there.mayUse(grant.message.grantee, 1, grant.message.purposes)).to.equal(true);
    await there.revokeBySignature(revocation.message, revocation.signer, revocation.signature);
    expect(await there.mayUse(grant.message.grantee, 1, revocation.message.purposes)).to.equal(false);
  });
});
