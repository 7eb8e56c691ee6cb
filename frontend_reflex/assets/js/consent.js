// A yes or no that its owner signs and Byline's server puts on chain.
import { Plain, signTyped, transact } from "./chain.js";
import { api } from "./http.js";

const LOOK_MS = 700;
const PATIENCE_MS = 30_000;

/** What was signed: {consent, message, signature}. `request`: {kind, grantee, purposes, expires_at}. */
export async function signConsent({ network, wallet, datanetId, request }) {
  const { consent, typed_data: document } = await api("POST", `/datanets/${datanetId}/consents/draft`, request);
  const signature = await signTyped({ network, wallet, document });
  return { consent, message: document.message, signature };
}

/** The reference to ask after. Throws what the API says; its `status` is 409 when what was signed is void already. */
export async function relay(datanetId, { consent, signature }) {
  const { reference } = await api("POST", `/datanets/${datanetId}/consents`, { consent, signature });
  return reference;
}

/**
 * Ask until it is in a block, or `signal` aborts: {hash, block}, or null when aborted. `onStep` hears {name, late, why}:
 * queued or signed, whether it takes longer than it should, and what it waits for. Throws Plain when the chain refused.
 */
export async function settled(reference, { signal, onStep, lookMs = LOOK_MS, patienceMs = PATIENCE_MS }) {
  const started = Date.now();
  let name = "queued";
  while (!signal.aborted) {
    let why = "";
    try {
      const sent = await api("GET", `/consents/${reference}`);
      if (sent.block_number !== null && ["mined", "final"].includes(sent.status)) {
        return { hash: sent.tx_hash, block: sent.block_number };
      }
      if (sent.status === "failed") {
        throw new Plain(
          `The chain refused it: ${sent.problem || "no reason given"}. Something changed after you signed. ` +
            "Look at the request and the terms again, then sign again.",
        );
      }
      name = sent.status;
      why = sent.problem || "";
    } catch (error) {
      if (error instanceof Plain) throw error;
      why = error.message; // the server may be back at the next look
    }
    onStep({ name, why, late: Boolean(why) || Date.now() - started > patienceMs });
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return null;
}

/** The signer's own transaction with exactly what was signed: for when the server cannot send it. */
export function sendYourself({ network, wallet, contract, signed, onSent }) {
  const functionName = signed.consent.kind === "grant" ? "grantBySignature" : "revokeBySignature";
  return transact({
    network,
    wallet,
    contract,
    functionName,
    args: [signed.message, wallet, signed.signature],
    onSent,
  });
}
