import { readFileSync } from "node:fs";

import { expect } from "chai";
import { network } from "hardhat";

export const { ethers, networkHelpers } = await network.getOrCreate();

export const TRAIN = 1;
export const RETRIEVE = 2;
export const EVALUATE = 4;
export const EXPORT = 8;
export const ALL = 15;
export const NEVER = 0;
export const NO_CURRENCY = "0x000000";
export const EUR = ethers.hexlify(ethers.toUtf8Bytes("EUR"));

export const digest = (text) => ethers.id(text);
export const vectors = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8"));

/** Terms that offer everything for nothing, with some fields changed. */
export const terms = (changed = {}) => ({
  licenceDigest: digest("licence"),
  purposes: ALL,
  pricePer1000Answers: 0,
  currency: NO_CURRENCY,
  keepsModels: false,
  ...changed,
});

/** The attempt ends in this error of the contract's, with exactly these arguments. */
export const refused = (attempt, contract, error, ...args) =>
  expect(attempt, error)
    .to.be.revertedWithCustomError(contract, error)
    .withArgs(...args);

/** A registry in which `owner` has datanet 1, all of it on offer, with version 1 published. */
export async function registryWithDatanet() {
  const [owner, builder, other, stranger, manager] = await ethers.getSigners();
  const registry = await ethers.deployContract("DatanetRegistry");
  await registry.createDatanet("Cardiology notes", terms(), "bafylicence", 0);
  await registry.publishVersion(1, 1, digest("manifest 1"), digest("records 1"), "bafyone");
  return { registry, owner, builder, other, stranger, manager };
}

/** Both steps of a transfer of datanet 1. */
export async function transfer(registry, from, to) {
  await registry.connect(from).approve(to, 1);
  await registry.connect(to).transferFrom(from, to, 1);
}

const NAMES = {
  Grant: ["datanetId", "grantee", "purposes", "expiresAt", "termsVersion", "nonce", "deadline"],
  Revocation: ["datanetId", "grantee", "purposes", "nonce", "deadline"],
};
const TYPES = { grantee: "address", purposes: "uint32", expiresAt: "uint48", termsVersion: "uint32" };
export const consentTypes = (primaryType) => ({
  [primaryType]: NAMES[primaryType].map((name) => ({ name, type: TYPES[name] ?? "uint256" })),
});

/** What wallets sign for this contract on this chain, as EIP-5267 has the contract say it. */
export async function domainOf(contract) {
  const { name, version, chainId, verifyingContract } = await contract.eip712Domain();
  return { name, version, chainId, verifyingContract };
}

/**
 * A registry as above, a `manager` of datanet 1, and consents to sign: `grantConsent` and `revocationConsent` are what
 * would be good now (for all or TRAIN, for an hour), `sign` signs one, and `relayGrant` and `relayRevocation` have a
 * stranger submit it.
 */
export async function registryWithConsents() {
  const given = await registryWithDatanet();
  const { registry, owner, builder, stranger, manager } = given;
  await registry.setManager(1, manager, true);
  const domain = await domainOf(registry);
  const common = async (changed) => ({
    datanetId: 1,
    grantee: builder.address,
    nonce: await registry.nonceOf(1, builder),
    deadline: (await networkHelpers.time.latest()) + 3600,
    ...changed,
  });
  const grantConsent = (changed = {}) => common({ purposes: ALL, expiresAt: NEVER, termsVersion: 1, ...changed });
  const revocationConsent = (changed = {}) => common({ purposes: TRAIN, ...changed });
  const sign = (consent, signer = owner, under = domain) =>
    signer.signTypedData(under, consentTypes("termsVersion" in consent ? "Grant" : "Revocation"), consent);
  const relayGrant = async (consent, signature, signer = owner) =>
    registry.connect(stranger).grantBySignature(consent, signer, signature ?? (await sign(consent)));
  const relayRevocation = async (consent, signature, signer = owner) =>
    registry.connect(stranger).revokeBySignature(consent, signer, signature ?? (await sign(consent)));
  return { ...given, domain, grantConsent, revocationConsent, sign, relayGrant, relayRevocation };
}
