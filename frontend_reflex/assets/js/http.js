// Calls from the page straight to Byline's API, which carry the session cookie: what the wallet or a file is part of.

/** Pages and API share one origin, in one process or behind one proxy: the session cookie needs it. */
export const apiOrigin = () => window.location.origin;

/** The API's `detail` sentence, or one that names the status. */
export function sentence(status, text) {
  try {
    const { detail } = JSON.parse(text);
    if (detail) return detail;
  } catch {
    // not the API's own error document: a proxy or the network spoke
  }
  if (status === 413) return "The file is larger than this server accepts. Split it and upload the parts.";
  if (!status) return "Byline's API cannot be reached. Check your connection and try again.";
  return `The server answered ${status} without saying why. Try again.`;
}

/** The API's reply. Throws an Error that says what the API says, with its `status`; 0 when it cannot be reached. */
export async function api(method, path, body) {
  const init = { method, credentials: "include" };
  if (body !== undefined) {
    init.headers = { "content-type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(`${apiOrigin()}/api${path}`, init);
  } catch {
    throw Object.assign(new Error(sentence(0, "")), { status: 0 });
  }
  const text = await reply.text();
  if (!reply.ok) throw Object.assign(new Error(sentence(reply.status, text)), { status: reply.status });
  return text ? JSON.parse(text) : null;
}
