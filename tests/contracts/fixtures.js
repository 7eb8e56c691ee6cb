import { readFileSync } from "node:fs";

import { network } from "hardhat";

export const { ethers, networkHelpers } = await network.getOrCreate();

export const TRAIN = 1;
export const RETRIEVE = 2;
export const EVALUATE = 4;
export const EXPORT = 8;
export const NEVER = 0;

export const digest = (text) => ethers.id(text);
export const vectors = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8"));

/** A registry in which `owner` has datanet 1 with version 1 published. */
export async function registryWithDatanet() {
  const [owner, builder, other, stranger] = await ethers.getSigners();
  const registry = await ethers.deployContract("DatanetRegistry");
  await registry.createDatanet("Cardiology notes", digest("terms"), "bafyterms", 0);
  await registry.publishVersion(1, 1, digest("manifest 1"), digest("records 1"), "bafyone");
  return { registry, owner, builder, other, stranger };
}
