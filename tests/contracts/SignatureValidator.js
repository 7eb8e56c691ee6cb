import { expect } from "chai";

import { digest, ethers, networkHelpers } from "./fixtures.js";

const { loadFixture } = networkHelpers;

const YES = ethers.zeroPadValue("0x01", 32);
const NO = ethers.ZeroHash;

/** `ask` sends the validator's creation code as one call, as the server does; a `factory` can make the wallet. */
async function validator() {
  const [key, another] = await ethers.getSigners();
  const code = await ethers.getContractFactory("SignatureValidator");
  const ask = async (signer, signature, factory = ethers.ZeroAddress, factoryData = "0x", hash = digest("text")) => {
    const { data } = await code.getDeployTransaction(signer, hash, signature, factory, factoryData);
    return ethers.provider.call({ data });
  };
  const signature = key.signingKey?.sign(digest("text")).serialized;
  return { key, another, ask, signature };
}
