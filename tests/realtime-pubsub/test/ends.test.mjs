// How connections end when the server wants it: a drain, a subscriber that is too slow, a configuration that is gone.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { EVERYTHING, Peer, jwt, test, unique, within } from '../pubsub.mjs';

test('a server that is told to end says 1012, so that every client comes back', async () => {
  const server = await Server.start();
  const peers = await Promise.all(Array.from({ length: 20 }, () => Peer.open(server)));
  const stopped = server.stop();
  for (const peer of peers) {
    assert.deepEqual(await within(10_000, peer.closed, 'the end'), { code: 1012, reason: 'The server restarts, please reconnect!' });
  }
  assert.equal((await stopped).code, 0);
});

test('a subscriber that does not keep up is told so, with 1013', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const topic = unique('flood');
  const [slow, publisher] = await Promise.all([Peer.open(server), Peer.open(server)]);
  slow.subscribe(topic);
  await slow.settled();
  slow.socket.tcp.pause();
  const payload = 'x'.repeat(60_000);
  // More than the system's buffers and the server's queue hold.
  for (let i = 0; i < 400; i++) {
    publisher.publish(topic, payload);
    if (i % 20 === 19) await publisher.settled();
  }
  slow.socket.tcp.resume();
  const close = await within(15_000, slow.closed, 'the end');
  assert.equal(close?.code, 1013);
  assert.match(close.reason, /too slow/);
  const heard = slow.seen.filter((f) => f.topic === topic).length;
  assert.ok(heard > 0 && heard < 400, `${heard} of 400 arrived`);
  await publisher.settled();
  publisher.close();
});

test('an app that is suspended loses its connections, and new ones are refused', async (t) => {
  const dir = temporaryDirectory();
  const file = path.join(dir, 'fanfare.toml');
  const write = (disabled) =>
    fs.writeFileSync(file, `[[apps]]\nid = "shop"\ndisabled = ${disabled}\n[apps.realtime_pubsub.client_key]\nkey = "k"\nalgorithms = ["HS256"]\n`);
  write(false);
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  const token = jwt('k', { permissions: EVERYTHING });
  const peer = await Peer.open(server, { token, app: 'shop' });
  write(true);
  server.child.kill('SIGHUP');
  assert.deepEqual(await within(5000, peer.closed, 'the end'), { code: 1008, reason: 'The app is not available any more!' });
  await assert.rejects(Peer.open(server, { token, app: 'shop' }), /403/);
});
