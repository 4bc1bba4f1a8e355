// A sync that fails (F4): it is never tried again, nothing is acknowledged after it, the server ends, and nothing that was
// acknowledged before is lost. strace makes the Nth sync of a thread fail, and lets the later ones succeed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { Witness, long, tried } from '../witness.mjs';

const places = (most) => Array.from({ length: most }, (_, i) => i + 1);
const whileStarting = long ? places(60) : [1, 2, 3, 5, 8, 13, 21, 34];
const whilePublishing = long ? places(1000) : [1, 2, 3, 4, 5, 8, 13, 40];

const missing = tried('strace', '-qq', '-e', 'trace=fsync', 'true') === null && 'strace is missing, or may not be used here';

/** A command that runs a server whose Nth sync fails, of these files only if any are named. */
function failing(nth, files = []) {
  const inject = ['-e', 'trace=fsync,fdatasync', '-e', `inject=fsync,fdatasync:error=EIO:when=${nth}`];
  // -D: the server is the child, so that signals reach it.
  return ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...files.flatMap((file) => ['-P', file]), ...inject];
}

/** Publishes until a publish is refused, and shows that this is the end. */
async function untilItFails(server, witness, most, what) {
  let failed = false;
  for (let i = 0; i < most && server.alive; i++) {
    const status = await witness.publish(server);
    assert.ok(status === 0 || status === 201 || status >= 500, `${what}: status ${status}`);
    if (status >= 500) assert.equal(witness.refusal.code, 50003);
    assert.ok(!failed || status !== 201, `${what}: acknowledged after a sync had failed`);
    failed ||= status !== 201;
  }
  if (!failed) return false;
  const late = new Promise((resolve) => setTimeout(resolve, 20_000).unref());
  const ended = await Promise.race([server.exited, late]);
  assert.ok(ended, `${what}: it goes on`);
  assert.ok(ended.code > 0, `${what}: it ends as if nothing had been: ${JSON.stringify(ended)}`);
  return true;
}

async function worksAgain(where, witness, what) {
  const server = await Server.start(where);
  await witness.complete(server);
  assert.equal(await witness.publish(server), 201, `${what}: it works again`);
  await server.kill();
}

test(`while it starts for the first time, at ${whileStarting.length} syncs`, { skip: missing }, async () => {
  let refused = 0;
  for (const nth of whileStarting) {
    const where = { dir: temporaryDirectory() };
    const witness = new Witness('persisted:eio');
    const weak = await Server.start({ ...where, under: failing(nth) }).catch((error) => error);
    if (weak instanceof Error) {
      assert.match(weak.message, /ended before it was ready[^]*fanfare: .{10,}/, `sync ${nth}: it says so and ends`);
      refused += 1;
    } else {
      await untilItFails(weak, witness, 10, `sync ${nth}`);
      await weak.kill();
    }
    await worksAgain(where, witness, `sync ${nth}`);
  }
  assert.ok(refused >= 5, `only ${refused} of ${whileStarting.length} met a start`);
});

test(`while it publishes, at ${whilePublishing.length} syncs of the journal`, { skip: missing }, async () => {
  let published = 0;
  const where = { dir: temporaryDirectory() };
  const witness = new Witness('persisted:eio');
  await worksAgain(where, witness, 'before');
  for (const nth of whilePublishing) {
    const log = path.join(where.dir, 'log', 'log');
    const journals = fs.readdirSync(log).filter((name) => name.endsWith('.jnl')).map((name) => path.join(log, name));
    assert.ok(journals.length > 0);
    const weak = await Server.start({ ...where, under: failing(nth, journals) }).catch((error) => error);
    if (!(weak instanceof Error)) {
      const before = witness.acked.length;
      assert.ok(await untilItFails(weak, witness, nth + 30, `sync ${nth}`), `sync ${nth}: no publish met it`);
      published += Number(witness.acked.length > before || nth === 1);
    }
    await worksAgain(where, witness, `sync ${nth}`);
  }
  assert.ok(published >= whilePublishing.length / 2, `only ${published} of ${whilePublishing.length} published`);
});
