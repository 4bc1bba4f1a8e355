// A clock that jumps an hour and a day, forth and back (F7): serials go on rising, connections stay, nothing is erased early.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { Witness, long, pause } from '../witness.mjs';

const LIBRARY = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib/faketime', '/usr/local/lib/faketime']
  .flatMap((dir) => [`${dir}/faketime/libfaketimeMT.so.1`, `${dir}/libfaketimeMT.so.1`])
  .find((file) => fs.existsSync(file));
const jumps = ['+0', '+1h', '-1h', '+1d', '-1d', '+0', '-2d', '+2d', '+0'];

test('jumps of hours and days', async (t) => {
  if (!LIBRARY) return t.skip('libfaketime is missing (Debian: libfaketime)');
  const dir = temporaryDirectory();
  const file = path.join(dir, 'time');
  const set = (to) => fs.writeFileSync(file, `${to}\n`);
  set('+0');
  const env = { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1' };
  const server = await Server.start({ dir: path.join(dir, 'data'), env });
  t.after(() => server.stop());
  const clock = async () => (await (await fetch(`${server.url}/time`)).json())[0];
  const wire = await Wire.connect(server);
  const channel = 'persisted:clock';
  await wire.attach(channel);
  const witness = new Witness(channel);
  let last = '';
  for (let round = 0; round < (long ? 20 : 2); round++) {
    for (const jump of jumps) {
      set(jump);
      await pause(100);
      const days = { h: 3_600_000, d: 86_400_000 };
      const offset = jump === '+0' ? 0 : Number(jump.slice(0, -1)) * days[jump.at(-1)];
      assert.ok(Math.abs((await clock()) - Date.now() - offset) < 60_000, `the server's clock did jump ${jump}`);
      for (let i = 0; i < 5; i++) {
        assert.equal(await witness.publish(server), 201, `after ${jump}`);
        const heard = await wire.message(channel);
        assert.ok(heard.channelSerial > last, `${heard.channelSerial} after ${last}, at ${jump}`);
        last = heard.channelSerial;
      }
      await wire.roundTrip();
      assert.equal((await wire.publish('plain', { name: jump })).action, ACTION.ACK, 'a connection of before lives');
      const fresh = await Wire.connect(server);
      fresh.destroy();
    }
  }
  // Old records are dropped once a minute: in the long run that has happened at every offset.
  await witness.complete(server);
  assert.equal(/panicked/.test(server.log), false, server.log);
  wire.destroy();
});
