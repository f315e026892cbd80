// Node's ws as a client of the engine: client.js URL deflate|plain. Silent when all is as it should be.
"use strict";

const WebSocket = require(process.env.WS_MODULE);
const assert = require("node:assert");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");

const [url, mode] = process.argv.slice(2);
const options = { perMessageDeflate: mode === "deflate" };

async function echo(ws, message) {
  const answer = once(ws, "message");
  ws.send(message);
  const [data, isBinary] = await answer;
  assert.strictEqual(isBinary, typeof message !== "string");
  assert.ok(isBinary ? data.equals(message) : data.toString() === message, `echo of ${message.length}`);
}

async function talk() {
  const ws = new WebSocket(`${url}/talk`, ["superchat", "chat"], options);
  await once(ws, "open");
  assert.strictEqual(ws.protocol, "chat");
  assert.strictEqual(ws.extensions, mode === "deflate" ? "permessage-deflate" : "");
  for (const size of [0, 1, 125, 126, 511, 512, 4096, 65535, 65536, 300000]) {
    const noise = Buffer.from(Array.from({ length: size }, (_, at) => (at * at * 31 + (at >> 3)) & 255));
    await echo(ws, "grüße 🐎 ".repeat(size / 8));
    await echo(ws, noise);
    await echo(ws, Buffer.alloc(size, 7));
  }
  // As large as is taken, whole and in fragments; compressed, it only grows.
  const largest = randomBytes(1 << 20);
  await echo(ws, largest);
  const again = once(ws, "message");
  for (let at = 0; at < 1 << 20; at += 2048) {
    ws.send(largest.subarray(at, at + 2048), { fin: at + 2048 === 1 << 20 });
  }
  assert.ok((await again)[0].equals(largest), "echo of the largest");
  // In fragments, with a ping in their midst.
  const [pong, whole] = [once(ws, "pong"), once(ws, "message")];
  ws.send("in ", { fin: false });
  ws.ping("between");
  ws.send("pieces ".repeat(1000), { fin: true });
  assert.strictEqual((await pong)[0].toString(), "between");
  assert.strictEqual((await whole)[0].toString(), "in " + "pieces ".repeat(1000));
  // Many on the way at once.
  const all = new Promise((resolve, reject) => {
    let next = 0;
    ws.on("message", (data) => {
      if (data.toString() !== `${next} ${"x".repeat(next)}`) reject(new Error(`order: ${next}`));
      if (++next === 500) resolve();
    });
  });
  for (let n = 0; n < 500; n++) ws.send(`${n} ${"x".repeat(n)}`);
  await all;
  ws.removeAllListeners("message");
  const closed = once(ws, "close");
  ws.send("close 4001 that is all");
  const [code, reason] = await closed;
  assert.deepStrictEqual([code, reason.toString()], [4001, "that is all"]);
}

async function leave() {
  const ws = new WebSocket(`${url}/talk`, ["chat"], options);
  await once(ws, "open");
  await echo(ws, "hello");
  const closed = once(ws, "close");
  ws.close(3001, "done");
  assert.strictEqual((await closed)[0], 3001);
}

async function beRefused() {
  const ws = new WebSocket(`${url}/no`, options);
  const [, response] = await once(ws, "unexpected-response");
  assert.strictEqual(response.statusCode, 403);
  const body = (await response.toArray()).join("");
  assert.strictEqual(body, "not you");
}

talk()
  .then(leave)
  .then(beRefused)
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
