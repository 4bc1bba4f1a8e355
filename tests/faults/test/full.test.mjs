// A disk that fills up and is freed, again and again (F3): publishes are refused with a code, everything else works, it recovers
// by itself, and nothing that was acknowledged is lost. On a tmpfs of its own: mounting it needs root.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { request } from '../../lib/http.mjs';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { Wire } from '../../lib/wire.mjs';
import { Witness, long, pause, tried } from '../witness.mjs';

const cycles = long ? 200 : 15;
// The server keeps 512 MiB free; what is above that is there to be filled.
const SIZE_MIB = 512 + 192;
const HOG_MIB = 208;

test(`${cycles} times full and free again`, async (t) => {
  const mount = temporaryDirectory();
  if (tried('mount', '-t', 'tmpfs', '-o', `size=${SIZE_MIB}m`, 'tmpfs', mount) === null) {
    return t.skip('a tmpfs cannot be mounted here (that needs root)');
  }
  t.after(() => tried('umount', mount));
  const where = { dir: path.join(mount, 'data') };
  let server = await Server.start(where);
  const witness = new Witness('persisted:full');
  const wire = await Wire.connect(server, { clientId: 'ann' });
  await wire.attach('room');
  for (let cycle = 0; cycle < cycles; cycle++) {
    for (let i = 0; i < 5; i++) assert.equal(await witness.publish(server), 201);
    const hog = path.join(mount, 'hog');
    assert.notEqual(tried('fallocate', '-l', `${HOG_MIB}M`, hog), null);
    for (let i = 0; i < 3; i++) {
      assert.equal(await witness.publish(server), 503, `cycle ${cycle}`);
      assert.equal(witness.refusal.code, 50003);
    }
    await witness.complete(server); // reading works
    assert.equal((await request(server, 'GET', '/health')).status, 503);
    if (cycle % 5 === 0) {
      assert.equal((await wire.publish('room', { name: 'not stored' })).action, 1, 'what is not stored needs no disk');
      assert.equal((await wire.presence('room', { action: cycle % 2 === 0 ? 2 : 4 })).action, 1);
      assert.equal((await request(server, 'GET', '/time')).status, 200);
    }
    fs.rmSync(hog);
    const from = Date.now();
    while ((await witness.publish(server)) !== 201) {
      assert.ok(Date.now() - from < 10_000, 'it recovers by itself');
      await pause(50);
    }
    if (cycle % 5 === 4) {
      // Killed just after, as a machine in trouble is.
      await server.kill();
      server = await Server.start(where);
      wire.destroy();
      Object.assign(wire, await Wire.connect(server, { clientId: 'ann' }));
      await wire.attach('room');
    }
  }
  await witness.complete(server);
  wire.destroy();
  await server.stop();
});
