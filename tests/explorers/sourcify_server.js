// A Sourcify server of API v2 for one chain, on Sourcify's own verification library and the compiler from npm.
// node sourcify_server.js RPC_URL CHAIN_ID: prints its URL once it listens; ends with its standard input.

import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { SolidityCompilation, SourcifyChain, Verification } = require("@ethereum-sourcify/lib-sourcify");
const solc = require("solc");

const [rpc, chainId] = process.argv.slice(2);
const chain = new SourcifyChain({
  name: "test",
  chainId: Number(chainId),
  supported: true,
  rpcs: [{ rpc, traceSupport: "trace_transaction" }], // a factory's creations are seen in traces only
});
const compiler = {
  async compile(version, input) {
    if (!solc.version().startsWith(version)) throw new Error(`this server has ${solc.version()}, not ${version}`);
    return JSON.parse(solc.compile(JSON.stringify(input)));
  },
};

const jobs = new Map();
const contracts = new Map();
const words = { perfect: "exact_match", partial: "match" };

async function verify(job, address, body) {
  const colon = body.contractIdentifier.lastIndexOf(":");
  const target = { path: body.contractIdentifier.slice(0, colon), name: body.contractIdentifier.slice(colon + 1) };
  try {
    const compilation = new SolidityCompilation(compiler, body.compilerVersion, body.stdJsonInput, target);
    const verification = new Verification(compilation, chain, address, body.creationTransactionHash);
    await verification.verify();
    const runtimeMatch = words[verification.status.runtimeMatch] ?? null;
    const creationMatch = words[verification.status.creationMatch] ?? null;
    const match = [runtimeMatch, creationMatch].includes("exact_match")
      ? "exact_match"
      : (runtimeMatch ?? creationMatch);
    const contract = { match, runtimeMatch, creationMatch, chainId, address };
    contracts.set(address, contract);
    jobs.set(job, { isJobCompleted: true, verificationId: job, contract });
  } catch (error) {
    const refusal = { customCode: error.code ?? "internal_error", message: error.message };
    const contract = { match: null, runtimeMatch: null, creationMatch: null, chainId, address };
    jobs.set(job, { isJobCompleted: true, verificationId: job, error: refusal, contract });
  }
}

async function answer(request) {
  const [, , what, ...rest] = request.url.split("/");
  if (request.method === "POST" && what === "verify" && rest[0] === chainId) {
    if (contracts.get(rest[1])?.match === "exact_match") {
      return [409, { customCode: "already_verified", message: "This contract is already verified" }];
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const job = String(jobs.size + 1);
    jobs.set(job, { isJobCompleted: false, verificationId: job });
    verify(job, rest[1], JSON.parse(body));
    return [202, { verificationId: job }];
  }
  const found = what === "verify" ? jobs.get(rest[0]) : contracts.get(rest[1]);
  return found ? [200, found] : [404, { customCode: "not_found", message: "There is no such thing" }];
}

const server = createServer(async (request, response) => {
  const [status, document] = await answer(request);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(document));
});
server.keepAliveTimeout = 600_000; // compiling blocks this process: no connection is to be found too old after it
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();
