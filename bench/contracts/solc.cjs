#!/usr/bin/env node
// The compiler from npm behind the two options that forge calls a native one with.
const { readFileSync } = require("node:fs");

const solc = require("solc");

const options = process.argv.slice(2);
if (options.includes("--version")) {
  const version = solc.version().replace(/\.Emscripten.*/, "");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}.Linux.g++`);
} else if (options.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error("solc.cjs answers --version and --standard-json only");
  process.exit(1);
}
