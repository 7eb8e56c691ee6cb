// Calls from the page straight to Byline's API: sign-in, sign-out and uploads, which carry the session cookie.

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
    throw new Error(sentence(0, ""));
  }
  const text = await reply.text();
  if (!reply.ok) throw new Error(sentence(reply.status, text));
  return text ? JSON.parse(text) : null;
}
