import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import "./browser.js";

const { sendDraft, tooLarge } = await import("../../frontend_reflex/assets/js/draft.js");

const SENTENCE =
  "rows.jsonl has 1,001 bytes, and this server takes files of up to 1,000 bytes. Split it and publish each part as a " +
  "datanet of its own, or have MAX_UPLOAD_BYTES raised on the server.";

/** Sends nothing anywhere; answers as the API would. */
class Request {
  static sent = [];
  upload = {};
  open(method, url) {
    this.asked = `${method} ${url}`;
  }
  send(form) {
    Request.sent.push([this.asked, form]);
    Object.assign(this, Request.reply);
    this.onload();
  }
}

function draftOf(size) {
  const file = new File([new Uint8Array(size)], "rows.jsonl");
  return sendDraft({ datanetId: 3, file, column: "author", maxBytes: 1000, onProgress: () => {} });
}

beforeEach(() => {
  globalThis.XMLHttpRequest = Request;
  Request.sent = [];
  Request.reply = { status: 201, responseText: '{"draft_id": "d-1"}' };
});

test("a file over the limit is refused before a byte is sent", async () => {
  await assert.rejects(draftOf(1001), { message: SENTENCE });
  assert.deepEqual(Request.sent, []);
});

test("a file at the limit is sent with the column that names the contributors", async () => {
  assert.deepEqual(await draftOf(1000), { draft_id: "d-1" });
  const [[asked, form]] = Request.sent;
  assert.equal(asked, "POST http://byline.test:8000/api/datanets/3/drafts");
  assert.deepEqual([form.get("file").size, form.get("contributor_column")], [1000, "author"]);
});

test("a limit that is not known is left to the server, whose sentence is shown", async () => {
  assert.equal(tooLarge({ name: "rows.jsonl", size: 10 ** 12 }, 0), "");
  Request.reply = { status: 413, responseText: '{"detail": "the file is over the limit of 1,000 bytes"}' };
  await assert.rejects(draftOf(1), { message: "the file is over the limit of 1,000 bytes" });
});
