// Bits that flip in the data directory (F6): the server either does not start and says what is wrong, or serves, and then never a
// wrong byte. It deletes nothing by itself.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { Witness, long, tried } from '../witness.mjs';

const flips = long ? 500 : 25;

/** Every file under a directory that has bytes which mean something. */
function files(dir) {
  const all = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile() && entry.name !== 'LOCK').map((entry) => path.join(entry.parentPath, entry.name));
}

/** The length without the zeros that a journal has at its end. */
function meaning(file) {
  const bytes = fs.readFileSync(file);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

test(`${flips} random flips`, async (t) => {
  const where = { dir: temporaryDirectory() };
  const witness = new Witness('persisted:flips');
  // Several lives, so that there are tables beside the journal.
  for (let life = 0; life < 3; life++) {
    const server = await Server.start(where);
    for (let i = 0; i < 60; i++) assert.equal(await witness.publish(server), 201);
    await server.stop();
  }
  const outcomes = { refused: 0, whole: 0, partly: 0, historyRefused: 0 };
  const reasons = new Set();
  for (let flip = 0; flip < flips; flip++) {
    const dir = path.join(temporaryDirectory(), 'data');
    assert.notEqual(tried('cp', '-a', '--sparse=always', where.dir, dir), null);
    const candidates = files(dir).map((file) => [file, meaning(file)]).filter(([, length]) => length > 0);
    const [file, length] = candidates[crypto.randomInt(candidates.length)];
    const at = crypto.randomInt(length);
    const fd = fs.openSync(file, 'r+');
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, at);
    byte[0] ^= 1 << crypto.randomInt(8);
    fs.writeSync(fd, byte, 0, 1, at);
    fs.closeSync(fd);
    const what = `${path.relative(dir, file)} byte ${at}`;
    const server = await Server.start({ dir }).catch((error) => error);
    if (server instanceof Error) {
      assert.match(server.message, /ended before it was ready/, what);
      assert.match(server.message, /fanfare: .{10,}/, `${what}: it says why: ${server.message}`);
      outcomes.refused += 1;
      reasons.add(/fanfare: .*/.exec(server.message)[0].replaceAll(dir, 'DATA').replace(/\d+/g, 'N'));
    } else {
      // The app itself stands in the directory: another key is another app, with no history.
      const messages = await witness.history(server).catch((error) => error);
      if (messages instanceof Error) {
        assert.ok(messages.answer, messages.message);
        assert.ok([401, 404, 500, 503].includes(messages.answer.status), `${what}: status ${messages.answer.status}`);
        outcomes.historyRefused += 1;
      } else {
        witness.truthful(messages);
        outcomes[messages.length === witness.acked.length ? 'whole' : 'partly'] += 1;
        if (messages.length < witness.acked.length) {
          const missing = witness.acked.length - messages.length;
          // The end of a log is torn by any crash; what is in the middle is not.
          assert.deepEqual(messages.map(({ id }) => id), witness.acked.slice(0, messages.length), `${what}: ${missing} are missing from the middle`);
        }
      }
      await server.kill();
    }
    fs.rmSync(path.dirname(dir), { recursive: true, force: true });
  }
  t.diagnostic(JSON.stringify(outcomes));
  for (const reason of reasons) t.diagnostic(reason);
});
