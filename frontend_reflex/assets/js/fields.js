// What a form's fields hold, and what a contract or the API is given for it.
import { Plain } from "./chain.js";
import { api } from "./http.js";

export const BITS = { train: 1, retrieve: 2, evaluate: 4, export: 8 };
const NO_DIGEST = `0x${"00".repeat(32)}`;
const NO_PRICE = { amount: 0, currency: "0x000000" };
const bytes = (text) => new TextEncoder().encode(text).length;
const maskOf = (names) => names.reduce((mask, name) => mask | BITS[name], 0);

/** The purposes that a field lets one choose from. */
export const offered = (field) => (field.options?.length ? field.options : Object.keys(BITS));

/** What a field holds before anyone typed. */
export function initial(field) {
  if (field.kind === "purposes") return (field.value ?? offered(field)).filter((name) => offered(field).includes(name));
  if (field.kind === "date") return field.value ? new Date(field.value * 1000).toLocaleDateString("sv") : "";
  if (field.kind === "price") return field.value ?? ["", "EUR"];
  return field.value ?? "";
}

/** [amount, currency] in hundredths and as the contract's three bytes. Throws Plain. */
function price(field, [typed, code]) {
  const amount = typed.trim().replace(",", ".");
  if (!amount) return NO_PRICE;
  if (!/^\d{1,12}(\.\d{1,2})?$/.test(amount)) throw new Plain(`${field.label}: ${typed} is no amount, such as 12.50.`);
  const hundredths = Math.round(Number(amount) * 100);
  if (!hundredths) return NO_PRICE;
  const currency = code.trim().toUpperCase();
  if (!/^[A-Z]{3}$/.test(currency)) throw new Plain(`${field.label}: a currency has three letters, such as EUR.`);
  const digits = [...currency].map((letter) => letter.charCodeAt(0).toString(16));
  return { amount: hundredths, currency: `0x${digits.join("")}` };
}

/** The field's value once it is in order: purposes as their names, a date as Unix seconds. Throws Plain. */
export function checked(field, value) {
  const text = typeof value === "string" ? value.trim() : value;
  if (field.kind === "purposes") {
    if (!field.optional && value.length === 0) throw new Plain(`${field.label}: choose at least one purpose.`);
    return value;
  }
  if (field.kind === "price") return price(field, value);
  if (field.kind === "date") {
    if (!text) return 0;
    const end = Math.floor(new Date(`${text}T23:59:59`).getTime() / 1000);
    if (!(end > Date.now() / 1000)) throw new Plain(`${field.label}: choose a day that is not over yet.`);
    return end;
  }
  if (!text && !field.optional) throw new Plain(`${field.label}: this is needed.`);
  if (field.kind === "address" && !/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new Plain(`${field.label}: a wallet address is 0x and 40 hexadecimal digits.`);
  }
  if (field.max_bytes && bytes(text) > field.max_bytes) {
    throw new Plain(`${field.label}: at most ${field.max_bytes} bytes; this has ${bytes(text)}.`);
  }
  return text;
}

/** A licence's text must be where it can be read before terms name it. */
async function pinned(text) {
  if (!text) return { digest: NO_DIGEST, cid: "" };
  const { licence_digest: digest, licence_cid: cid } = await api("POST", "/licences", { text });
  return { digest, cid };
}

/** {name: value} of all fields; nothing is pinned before each of them is in order. Throws Plain, or what the API says. */
export async function gathered(fields, valueOf) {
  const given = Object.fromEntries(fields.map((field) => [field.name, checked(field, valueOf(field))]));
  for (const { name, kind } of fields) if (kind === "licence") given[name] = await pinned(given[name]);
  return given;
}

/** "$name" or "$name.part" is what a field gave, an object a struct of such; anything else is meant literally. */
export function filled(arg, given) {
  if (arg && typeof arg === "object" && !Array.isArray(arg)) {
    return Object.fromEntries(Object.entries(arg).map(([name, part]) => [name, filled(part, given)]));
  }
  if (typeof arg !== "string" || !arg.startsWith("$")) return arg;
  return arg
    .slice(1)
    .split(".")
    .reduce((value, part) => value[part], given);
}

/** The same, with purposes as the contract's bits. */
export function encoded(arg, given) {
  const value = filled(arg, given);
  if (Array.isArray(value)) return maskOf(value);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, encoded(part, given)]));
  }
  return value;
}
