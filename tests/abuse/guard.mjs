// A server under attack, with a well-behaved client beside the attacker: after every test that client must still be served.

import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import { request } from '../lib/http.mjs';
import { Server } from '../lib/server.mjs';
import { ACTION, Wire } from '../lib/wire.mjs';

/**
 * Starts a server for the file, and after each test proves that it still serves a client that did nothing wrong.
 * `prepare` runs once when the server is there.
 */
export function guarded(prepare = async () => {}) {
  const guard = { server: undefined, probe: undefined, beats: 0 };
  before(async () => {
    guard.server = await Server.start();
    guard.probe = await Wire.connect(guard.server);
    await guard.probe.attach('probe');
    await stillServed(guard);
    await prepare();
  });
  afterEach(() => stillServed(guard));
  after(async () => {
    guard.probe.close();
    const { code } = await guard.server.stop();
    assert.equal(code, 0, 'an orderly end');
  });
  return guard;
}

async function stillServed(guard) {
  const { server, probe } = guard;
  assert.ok(server.alive, `the server is gone\n${server.log}`);
  const name = `beat ${guard.beats++}`;
  const started = Date.now();
  const outcome = await probe.publish('probe', { name });
  assert.equal(outcome.action, ACTION.ACK, JSON.stringify(outcome));
  await probe.next((m) => m.action === ACTION.MESSAGE && m.messages[0].name === name, 'the probe\'s own message', 3000);
  assert.equal((await request(server, 'GET', '/time')).status, 200);
  assert.ok(Date.now() - started < 3000, 'in a reasonable time');
  assert.equal(/panicked at/.test(server.log), false, `a panic in the log\n${server.log}`);
}

/** Runs an attack and checks that the server's memory never rose by more than so many MiB meanwhile. */
export async function bounded(server, mebibytes, attack) {
  server.forgetPeak();
  const before = server.residentKiB();
  const result = await attack();
  const rise = (server.peakKiB() - before) / 1024;
  assert.ok(rise <= mebibytes, `memory rose by ${rise.toFixed(1)} MiB, at most ${mebibytes} are allowed`);
  return result;
}

/** Waits until a socket is closed; gives the server's close frame, or null for a bare end. */
export async function closedWithin(socket, ms) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`still open after ${ms} ms`)), ms)));
  try {
    return await Promise.race([socket.closed, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Sends one frame's payload that is wrong and expects a coded answer: a protocol ERROR or NACK with a 4xxxx or 8xxxx code,
 * or a WebSocket close with a protocol code. Silence and a bare reset are failures.
 */
export async function codedAnswer(wire, payload, { withinMs = 5000 } = {}) {
  const mark = wire.seen.length;
  if (wire.isBinary) wire.socket.binary(payload);
  else wire.socket.text(payload);
  const told = (m) => [ACTION.ERROR, ACTION.NACK, ACTION.DISCONNECTED].includes(m.action);
  const answer = await Promise.race([
    wire.next(told, 'a coded answer', withinMs).catch((error) => error),
    wire.closed.then(() => null),
  ]);
  if (answer instanceof Error && !/closed while/.test(answer.message)) throw answer;
  const message = answer && !(answer instanceof Error) ? answer : wire.seen.slice(mark).find(told);
  if (message) {
    assert.ok(message.error, `no error in ${JSON.stringify(message)}`);
    assert.ok(message.error.code >= 40000 && message.error.code < 50000 || message.error.code >= 80000, `code ${message.error.code}`);
    return { message, code: message.error.code };
  }
  const close = await wire.closed;
  assert.ok(close, 'closed without a word');
  assert.ok([1002, 1003, 1007, 1008, 1009].includes(close.code), `close code ${close.code}`);
  return { close, code: close.code };
}
