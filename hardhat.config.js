import { createRequire } from "node:module";

import ethers from "@nomicfoundation/hardhat-ethers";
import matchers from "@nomicfoundation/hardhat-ethers-chai-matchers";
import mocha from "@nomicfoundation/hardhat-mocha";
import helpers from "@nomicfoundation/hardhat-network-helpers";
import verify from "@nomicfoundation/hardhat-verify";
import { configVariable, defineConfig } from "hardhat/config";

const require = createRequire(import.meta.url);

// What is tested is what is deployed: both build profiles are this one.
const compiler = {
  version: "0.8.37",
  path: require.resolve("solc/soljson.js"), // from npm, so that Hardhat downloads nothing
  settings: {
    optimizer: { enabled: true, runs: 200 },
    viaIR: true,
    evmVersion: "cancun", // OpenZeppelin 5.7 uses mcopy
    metadata: { bytecodeHash: "ipfs", useLiteralContent: true },
    // Beside Hardhat's own: what the explorer says of a decoded call, and what `byline verify-sources` hands on.
    outputSelection: { "*": { "*": ["userdoc", "devdoc", "metadata"] } },
  },
};

export default defineConfig({
  plugins: [ethers, matchers, mocha, helpers, verify],
  solidity: { profiles: { default: compiler, production: compiler } },
  paths: { sources: "./contracts", tests: { mocha: "./tests/contracts", solidity: "./contracts" } },
  test: {
    mocha: { timeout: 300_000 },
    solidity: { fuzz: { runs: 500 }, invariant: { runs: 32, depth: 64, failOnRevert: true } },
  },
  networks: {
    // Tests run under the embedded chain's id, so that the EIP-712 vectors are its vectors.
    default: { type: "edr-simulated", chainType: "l1", chainId: 20931 },
    remote: {
      type: "http",
      chainType: "l1",
      url: configVariable("RPC_URL"),
      accounts: [configVariable("DEPLOYER_KEY")],
    },
  },
  // hardhat-verify refuses the usual local ids 31337 and 1337; Byline's embedded chain is 20931.
  chainDescriptors: { 20931: { name: "byline-local", blockExplorers: {} } },
  verify: { sourcify: { enabled: true }, blockscout: { enabled: true } },
});
