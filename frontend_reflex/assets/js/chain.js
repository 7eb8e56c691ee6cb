// Everything the pages know about wallets and the chain. Only this file imports viem and mipd.
import {
  BaseError,
  ContractFunctionRevertedError,
  UserRejectedRequestError,
  createPublicClient,
  createWalletClient,
  custom,
  defineChain,
  getAddress,
  http,
  parseAbi,
} from "viem";
import { createStore } from "mipd";
import { REFUSALS, SIGNATURES } from "./abi.js";
import { api, apiOrigin } from "./http.js";

const REMEMBERED = "byline.wallet";
// Public knowledge: the mnemonic every development chain funds. Offered on Byline's own chain only.
const TEST_MNEMONIC = "test test test test test test test test test test test junk";
const TEST_ADDRESSES = [
  "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
  "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
  "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
  "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
  "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
  "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
  "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
  "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
  "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
  "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
];

export const testWallets = TEST_ADDRESSES.map((address, index) => ({
  id: `test:${index}`,
  name: `Account ${index + 1}`,
  address,
  index,
}));

const ABI = parseAbi(SIGNATURES);

/** A problem already put in words for a person; shown as it is. */
export class Plain extends Error {}

let store;
export const walletStore = () => (store ??= createStore());

/** Wallets announced by EIP-6963, and window.ethereum when it announced nothing. */
export function browserWallets() {
  const found = walletStore()
    .getProviders()
    .map(({ info, provider }) => ({ id: info.rdns, name: info.name, icon: info.icon, provider }));
  const legacy = window.ethereum;
  if (legacy && !found.some((wallet) => wallet.provider === legacy)) {
    found.push({ id: "injected", name: "Browser wallet", icon: "", provider: legacy });
  }
  return found;
}

function chainOf(network) {
  // Of a chain that is not Byline's own the page knows no RPC URL: the wallet brings one.
  const urls = network.rpc_path ? [apiOrigin() + network.rpc_path] : [];
  return defineChain({
    id: network.chain_id,
    name: network.embedded ? "Byline's own chain" : `Chain ${network.chain_id}`,
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: urls } },
  });
}

/** {account, signer, reader} for a wallet id; asks a browser wallet to connect. */
async function connect(id, network) {
  const chain = chainOf(network);
  if (id.startsWith("test:")) {
    if (!network.test_wallets) throw new Plain("The test wallet works on Byline's own chain only. Sign in again.");
    const { mnemonicToAccount } = await import("viem/accounts");
    const account = mnemonicToAccount(TEST_MNEMONIC, { addressIndex: Number(id.slice(5)) });
    const transport = http(chain.rpcUrls.default.http[0]);
    return {
      account,
      signer: createWalletClient({ account, chain, transport }),
      reader: createPublicClient({ chain, transport, pollingInterval: 300 }),
      local: true,
    };
  }
  const wallet = browserWallets().find((candidate) => candidate.id === id);
  if (!wallet) throw new Plain("The wallet you signed in with is not in this browser any more. Sign in again.");
  const transport = custom(wallet.provider);
  const signer = createWalletClient({ chain, transport });
  const [address] = await signer.requestAddresses();
  return {
    account: getAddress(address),
    signer,
    reader: createPublicClient({ chain, transport, pollingInterval: 300 }),
  };
}

const addressOf = (account) => getAddress(typeof account === "string" ? account : account.address);

/** Prove to the API that this browser holds the wallet; sets the session cookie. */
export async function signIn(id, network) {
  const { account, signer } = await connect(id, network);
  const challenge = await api("POST", "/sessions/challenges", { address: addressOf(account) });
  const signature = await signer.signMessage({ account, message: challenge.message });
  await api("POST", "/sessions", { message: challenge.message, signature });
  localStorage.setItem(REMEMBERED, id);
}

/** Bring a browser wallet to the chain, adding it where the wallet does not know it (EIP-3326, EIP-3085). */
async function onChain(signer, chain) {
  const there = async () => (await signer.getChainId()) === chain.id;
  if (await there()) return;
  const [url] = chain.rpcUrls.default.http;
  try {
    await signer.switchChain({ id: chain.id }).catch(async (error) => {
      // An unknown chain is code 4902, which some wallets wrap in others: only the person's own no is final.
      if (rejected(error) || !url) throw error;
      await signer.addChain({ chain });
      await signer.switchChain({ id: chain.id });
    });
    if (await there()) return; // some wallets say yes and stay where they are
  } catch (error) {
    if (rejected(error)) throw error;
  }
  const how = url ? `Add it in the wallet by hand, with the RPC URL ${url}` : "Add it in the wallet if it is not there";
  throw new Plain(`Your wallet is on another network than chain ${chain.id}. ${how}, switch to it and try again.`);
}

/** The wallet of the session, on the right chain; anything else is refused in words. */
async function signedIn(network, wallet) {
  const id = localStorage.getItem(REMEMBERED);
  if (!wallet || !id) throw new Plain("Sign in with your wallet first.");
  const connected = await connect(id, network);
  const address = addressOf(connected.account);
  if (address.toLowerCase() !== wallet.toLowerCase()) {
    throw new Plain(
      `Your wallet has account ${address} selected, but you are signed in as ${wallet}. ` +
        "Select that account in the wallet, or sign out and in again.",
    );
  }
  if (!connected.local) await onChain(connected.signer, connected.signer.chain);
  return connected;
}

/** An argument as viem wants it; a struct comes as an object of its fields. */
function coerced({ type, components }, value) {
  if (type === "tuple")
    return Object.fromEntries(components.map((part) => [part.name, coerced(part, value[part.name])]));
  const bits = /^uint(\d+)$/.exec(type);
  if (bits) return Number(bits[1]) <= 48 ? Number(value) : BigInt(value);
  if (type === "address") return getAddress(value);
  if (type === "bool") return value === true || value === "true"; // a choice's values are text
  return value;
}

/** Send one transaction to a Byline contract and wait for its block. Returns {hash, block}. */
export async function transact({ network, wallet, contract, functionName, args, onSent }) {
  const item = ABI.find((entry) => entry.type === "function" && entry.name === functionName);
  const { account, signer, reader } = await signedIn(network, wallet);
  const request = {
    account,
    address: contract,
    abi: ABI,
    functionName,
    args: item.inputs.map((input, index) => coerced(input, args[index])),
  };
  await reader.simulateContract(request); // a refusal shows before the wallet asks for money
  const hash = await signer.writeContract(request);
  onSent?.(hash);
  const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 180_000 });
  if (receipt.status !== "success")
    throw new Plain(`The chain refused the transaction in block ${receipt.blockNumber}.`);
  return { hash, block: Number(receipt.blockNumber) };
}

/** Numbers of a typed message arrive as JSON numbers or decimal text; viem wants integers. */
function typedValue(types, type, value) {
  if (type.endsWith("[]")) return value.map((one) => typedValue(types, type.slice(0, -2), one));
  if (types[type]) {
    return Object.fromEntries(types[type].map(({ name, type: of }) => [name, typedValue(types, of, value[name])]));
  }
  return /^u?int/.test(type) ? BigInt(value) : value;
}

/** EIP-712 signature of a document {domain, types, primaryType, message} by the session's wallet. */
export async function signTyped({ network, wallet, document }) {
  const { account, signer } = await signedIn(network, wallet);
  const { EIP712Domain: _, ...types } = document.types;
  const { domain, primaryType } = document;
  const message = typedValue(types, primaryType, document.message);
  const chained = domain.chainId === undefined ? domain : { ...domain, chainId: Number(domain.chainId) };
  return signer.signTypedData({ account, domain: chained, types, primaryType, message });
}

function rejected(error) {
  const inner = error instanceof BaseError ? error.walk((e) => e instanceof UserRejectedRequestError) : null;
  return Boolean(inner) || error?.code === 4001;
}

/** One sentence for a person, whatever was thrown. */
export function explain(error) {
  if (error instanceof Plain) return error.message;
  if (rejected(error)) return "You declined in your wallet. Nothing was sent.";
  if (error instanceof BaseError) {
    const revert = error.walk((e) => e instanceof ContractFunctionRevertedError);
    if (revert) {
      const name = revert.data?.errorName;
      const words = name && REFUSALS[name]?.(revert.data.args ?? []);
      return words || `The contract refused: ${name || revert.reason || revert.signature || "no reason given"}.`;
    }
    return error.shortMessage;
  }
  return String(error?.message || error);
}
