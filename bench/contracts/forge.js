/** Forge from npm, with the compiler from npm: where it is and how it is called. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
export const CONTRACTS = ["DatanetRegistry", "ModelRegistry", "ReceiptLedger", "SignatureValidator"];

const CONFIG = fileURLToPath(new URL("./foundry.toml", import.meta.url));
const INSTALLED = `${ROOT}/node_modules/@foundry-rs/forge-linux-amd64/bin/forge`;

/** Runs forge on the project at `root`; `settings` are foundry.toml's, as FOUNDRY_… variables. */
export function forge(root, args, settings = {}) {
  const program = process.env.FORGE ?? INSTALLED;
  if (!existsSync(program)) {
    console.error(`There is no forge at ${program}: npm install, or name one in FORGE.`);
    process.exit(2);
  }
  return spawnSync(program, [...args, "--root", root], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    env: {
      ...process.env,
      FOUNDRY_CONFIG: CONFIG,
      FOUNDRY_SOLC: fileURLToPath(new URL("./solc.cjs", import.meta.url)),
      ...settings,
    },
  });
}
