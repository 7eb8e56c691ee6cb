// A file goes from the browser straight to the API, never through the pages' own server.
import { apiOrigin, sentence } from "./http.js";

const bytes = (count) => `${count.toLocaleString("en")} bytes`;

/** Why the server would not take this file, or "". A limit of 0 is one that is not known: the server itself refuses. */
export function tooLarge(file, maxBytes) {
  if (!maxBytes || file.size <= maxBytes) return "";
  return (
    `${file.name} has ${bytes(file.size)}, and this server takes files of up to ${bytes(maxBytes)}. Split it and ` +
    "publish each part as a datanet of its own, or have MAX_UPLOAD_BYTES raised on the server."
  );
}

/** The API's draft of a file. Throws a sentence; of a file over the limit nothing is sent. */
export async function sendDraft({ datanetId, file, column, maxBytes, onProgress }) {
  const problem = tooLarge(file, maxBytes);
  if (problem) throw new Error(problem);
  const form = new FormData();
  form.append("file", file);
  if (column) form.append("contributor_column", column);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    request.open("POST", `${apiOrigin()}/api/datanets/${datanetId}/drafts`);
    request.withCredentials = true;
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 400) resolve(JSON.parse(request.responseText));
      else reject(new Error(sentence(request.status, request.responseText)));
    };
    // A server that refuses a large body early closes the connection before the reply is read.
    request.onerror = () => reject(new Error("The upload was cut off. The file may be too large, or the server busy."));
    request.send(form);
  });
}
