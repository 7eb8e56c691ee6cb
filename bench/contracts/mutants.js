/**
 * Breaks the contracts, one condition at a time, and runs the Solidity tests: `node bench/contracts/mutants.js
 * [Contract…]`. A mutant that no test notices is run against Hardhat's tests too; one that survives both is named.
 * Ends with 1 if any survives. Takes a while (a compilation a mutant), so it is no part of `npm test`.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";

import { CONTRACTS, forge, ROOT } from "./forge.js";

const WORK = `${ROOT}/cache/mutants`;
const NEEDS = {
  DatanetRegistry: ["DatanetRules.t.sol"],
  ModelRegistry: ["DatanetRegistry.sol"],
  ReceiptLedger: [],
  SignatureValidator: [],
};
// What stands to what: each is tried in each place where it stands outside comments.
const SWAPS = [
  [/&&/g, "||"],
  [/\|\|/g, "&&"],
  [/==/g, "!="],
  [/!=/g, "=="],
  [/ <= /g, " < "],
  [/ >= /g, " > "],
  [/ < /g, " <= "],
  [/ > /g, " >= "],
  [/& ~/g, "& "],
  [/ \+ 1\b/g, " + 2"],
  [/ - 1\b/g, " - 0"],
  [/\+\+(?=\w+[.;])/g, ""],
  [/return true;/g, "return false;"],
  [/return false;/g, "return true;"],
  [/\bonly\w+\(datanetId\) (?=\{)/g, ""],
  [/(?<=^ +)_check\w+\([^;]*\);/gm, ""],
  [/(?<=^ +)delete [^;]*;/gm, ""],
  [/(?<=^ +)emit [^;]*;/gm, ""],
];

/** Every mutant of a source: [what was done, line, source]. */
function* mutantsOf(source) {
  const code = source.replace(/\/\/.*$/gm, (comment) => " ".repeat(comment.length));
  const at = (index, length, text) => [
    source
      .slice(index, index + length)
      .split("\n")[0]
      .trim() +
      " → " +
      (text.trim() || "nothing"),
    source.slice(0, index).split("\n").length,
    source.slice(0, index) + text + source.slice(index + length),
  ];
  for (const { index } of code.matchAll(/\bif \(/g)) {
    const [start, end] = [index + 3, closing(code, index + 3)];
    const condition = source.slice(start, end);
    yield at(start, end - start, `(!${condition})`);
    yield at(start, end - start, `(false && ${condition})`);
    yield at(start, end - start, `(true || ${condition})`);
  }
  for (const [pattern, text] of SWAPS) {
    for (const match of code.matchAll(pattern)) {
      const line = code.slice(code.lastIndexOf("\n", match.index) + 1, code.indexOf("\n", match.index));
      if (!/^(import|pragma|\s*(event|error|mapping|modifier|constructor)\b)/.test(line)) {
        yield at(match.index, match[0].length, text);
      }
    }
  }
}

function closing(code, open) {
  let depth = 0;
  for (let i = open; ; i++) {
    if (code[i] === "(") depth++;
    if (code[i] === ")" && --depth === 0) return i + 1;
  }
}

/** A project of just this contract and its tests. */
function prepare(name) {
  const root = `${WORK}/${name}`;
  rmSync(root, { recursive: true, force: true });
  mkdirSync(`${root}/contracts`, { recursive: true });
  for (const file of [`${name}.sol`, `${name}.t.sol`, "test", ...NEEDS[name]]) {
    cpSync(`${ROOT}/contracts/${file}`, `${root}/contracts/${file}`, { recursive: true });
  }
  symlinkSync(`${ROOT}/node_modules`, `${root}/node_modules`);
  return root;
}

/** Fast rather than small: unoptimised, and by the older code generator. */
const QUICK = {
  FOUNDRY_VIA_IR: "false",
  FOUNDRY_OPTIMIZER: "false",
  FOUNDRY_FUZZ_RUNS: "64",
  FOUNDRY_LINT_LINT_ON_BUILD: "false",
};

/** "noticed", "invalid" where it does not compile, or "missed". */
function solidityTests(root) {
  const { status, stdout, stderr } = forge(root, ["test", "--fail-fast"], QUICK);
  if (/Compiler run failed/.test(stdout + stderr)) return "invalid";
  return status === 0 ? "missed" : "noticed";
}

/** Hardhat's tests over the whole project with one contract replaced. */
function hardhatTests(name, source) {
  const root = `${WORK}/${name}-hardhat`;
  mkdirSync(root, { recursive: true });
  for (const file of ["contracts", "tests/contracts", "tests/vectors", "hardhat.config.js", "package.json"]) {
    cpSync(`${ROOT}/${file}`, `${root}/${file}`, { recursive: true, filter: (path) => !path.endsWith(".t.sol") });
  }
  rmSync(`${root}/node_modules`, { force: true });
  symlinkSync(`${ROOT}/node_modules`, `${root}/node_modules`);
  writeFileSync(`${root}/contracts/${name}.sol`, source);
  const hardhat = `${root}/node_modules/hardhat/dist/src/cli.js`;
  const { status } = spawnSync(process.execPath, [hardhat, "test", "mocha"], { cwd: root, encoding: "utf8" });
  return status === 0 ? "missed" : "noticed";
}

let survivors = 0;
for (const name of process.argv.length > 2 ? process.argv.slice(2) : CONTRACTS) {
  const original = readFileSync(`${ROOT}/contracts/${name}.sol`, "utf8");
  const root = prepare(name);
  if (solidityTests(root) !== "missed") throw new Error(`${name}'s own tests fail before anything is broken`);
  const counts = { noticed: 0, invalid: 0, byHardhatOnly: 0, survived: 0 };
  for (const [what, line, source] of mutantsOf(original)) {
    writeFileSync(`${root}/contracts/${name}.sol`, source);
    const outcome = solidityTests(root);
    if (outcome !== "missed") counts[outcome]++;
    else if (hardhatTests(name, source) === "noticed") {
      counts.byHardhatOnly++;
      console.log(`Hardhat only: ${name}.sol:${line}: ${what}`);
    } else {
      counts.survived++;
      console.log(`SURVIVED: ${name}.sol:${line}: ${what}`);
    }
  }
  survivors += counts.survived;
  console.log(name, JSON.stringify(counts));
}
process.exit(survivors === 0 ? 0 : 1);
