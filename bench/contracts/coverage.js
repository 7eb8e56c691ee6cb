/**
 * Fails unless the tests reach every line and branch of our contracts: `npm run coverage:check`.
 * Lines are counted by Hardhat over all tests (`npm run coverage` first). Branches, which Hardhat does not count, by
 * forge over the Solidity tests alone.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";

import { CONTRACTS, forge, ROOT } from "./forge.js";

const HARDHAT_REPORT = `${ROOT}/coverage/lcov.info`;
const FORGE_REPORT = `${ROOT}/cache/forge/lcov.info`;

/** lcov's records of our contracts: name → {found, hit, missed}, by the two fields that count, such as LF and LH. */
function read(report, found, hit, missed) {
  const records = readFileSync(report, "utf8").split("end_of_record");
  const entries = CONTRACTS.map((name) => {
    const record = records.find((text) => new RegExp(`^SF:(.*/)?contracts/${name}\\.sol$`, "m").test(text));
    if (record === undefined) return [name, { found: NaN, hit: 0, missed: ["the whole file"] }];
    const count = (field) => Number(record.match(new RegExp(`^${field}:(\\d+)$`, "m"))?.[1]);
    const lines = [...record.matchAll(missed)].map((match) => match[1]);
    return [name, { found: count(found), hit: count(hit), missed: [...new Set(lines)] }];
  });
  return Object.fromEntries(entries);
}

if (!existsSync(HARDHAT_REPORT)) {
  console.error("There is no report of Hardhat's: npm run coverage makes it.");
  process.exit(2);
}
mkdirSync(`${ROOT}/cache/forge`, { recursive: true });
const { status, stdout, stderr } = forge(ROOT, [
  ...["coverage", "--ir-minimum", "--no-match-contract", "Invariant", "--no-match-coverage", "node_modules|test"],
  ...["--report", "lcov", "--report-file", FORGE_REPORT],
]);
if (status !== 0) {
  console.error(`forge coverage failed:\n${stdout}\n${stderr}`);
  process.exit(2);
}
const lines = read(HARDHAT_REPORT, "LF", "LH", /^DA:(\d+),0$/gm);
const branches = read(FORGE_REPORT, "BRF", "BRH", /^BRDA:(\d+),\d+,\d+,(?:0|-)$/gm);
let complete = true;
for (const name of CONTRACTS) {
  for (const [kind, { found, hit, missed }] of [
    ["lines", lines[name]],
    ["branches", branches[name]],
  ]) {
    complete &&= found === hit;
    console.log(`${name}: ${hit} of ${found} ${kind}${found === hit ? "" : `; not line ${missed.join(", ")}`}`);
  }
}
process.exit(complete ? 0 : 1);
