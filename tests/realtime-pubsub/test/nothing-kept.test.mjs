// At level `none`, the default of an app with this protocol alone, a payload is found nowhere on disk and in no log:
// a marker goes through every door, and then everything that the server wrote is searched, also after a crash.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { EVERYTHING, Peer, call, jwt, test, within } from '../pubsub.mjs';

const MARKER = 'zyx-marker-5a7d';
const FORMS = [MARKER, Buffer.from(MARKER).toString('base64').slice(0, 18), Buffer.from(MARKER).toString('hex')];
const ADMIN = ['connections', 'subscribers', 'application'].map((what) => `realtime:admin:manage:${what}`);

// The back end refuses every connection: what waits for it waits in memory.
const toml = (durability) => `
[egress]
allow = ["127.0.0.1"]
[[apps]]
id = "quiet"
${durability ? `[apps.default_rule]\ndurability = "${durability}"` : ''}
[apps.realtime_pubsub.client_key]
key = "c"
algorithms = ["HS256"]
[apps.realtime_pubsub.admin_key]
key = "a"
algorithms = ["HS256"]
[[apps.realtime_pubsub.webhooks]]
url = "http://127.0.0.1:9/"
secret = "s"
presence = true
`;

function* files(dir) {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const name = path.join(dir, entry.name);
    if (entry.isDirectory()) yield* files(name);
    else yield name;
  }
}

/** Where the marker is found, in any form in which it might have been written. */
function found(dir, log) {
  const places = [...files(dir)].map((name) => [name, fs.readFileSync(name)]);
  places.push(['the log', Buffer.from(log)]);
  return places.filter(([, bytes]) => FORMS.some((form) => bytes.includes(form))).map(([name]) => name);
}

async function throughEveryDoor(server) {
  const open = (sub) => Peer.open(server, { app: 'quiet', token: jwt('c', { permissions: EVERYTHING, sub }) });
  const admin = jwt('a', { permissions: [...EVERYTHING, ...ADMIN] });
  const [one, two] = [await open(`sub-${MARKER}`), await open('two')];
  const topics = [MARKER, `secure/${MARKER}`, 'secure/inbound', 'main'];
  for (const topic of topics) two.subscribe(topic);
  await two.settled();
  for (const topic of [...topics, `priv/${two.id}`, `priv/sub-${MARKER}`]) {
    for (const compress of [false, true]) {
      one.publish(topic, { [MARKER]: MARKER }, { messageType: MARKER, id: MARKER, compress });
      const body = { topic, message: MARKER.repeat(100), messageType: MARKER, compress };
      assert.equal((await call(server, 'POST', '/api/topics/quiet/publish', { token: admin, body })).status, 202);
    }
  }
  one.say({ type: 'message', data: { messageType: MARKER, payload: MARKER, id: MARKER } });
  await two.next((f) => f.topic === 'secure/inbound' && f.data.payload === MARKER);
  await one.settled();
  // Refusals, too, with the marker in what is refused.
  await call(server, 'POST', '/api/topics/quiet/publish', { token: admin, raw: `{"topic":"${MARKER}"` });
  await call(server, 'POST', '/api/topics/quiet/publish', { token: MARKER, body: { topic: MARKER, message: MARKER } });
  await call(server, 'GET', `/api/${MARKER}`, { token: admin });
  await call(server, 'POST', '/api/topics/quiet/unsubscribe', { token: admin, body: { topicPatterns: [MARKER], subject: MARKER } });
  await call(server, 'DELETE', `/api/connections/quiet/${MARKER}`, { token: admin });
  one.say(`{"type":"${MARKER}"}`);
  assert.equal((await within(5000, one.closed, 'the end')).code, 1003);
  return two;
}

for (const level of ['debug', 'trace']) {
  test(`nothing is kept, with logs at ${level}, and after a crash`, async (t) => {
    const dir = temporaryDirectory();
    const config = path.join(temporaryDirectory(), 'fanfare.toml');
    fs.writeFileSync(config, toml());
    const args = ['--config', config, '--log-level', level];
    const server = await Server.start({ dir, args });
    const logs = [];
    server.child.stderr.on('data', (chunk) => logs.push(chunk));
    const peer = await throughEveryDoor(server);
    // Long enough for whatever writes late.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual(found(dir, logs.join('')), []);
    await server.kill();
    assert.deepEqual(found(dir, logs.join('')), [], 'after a crash');
    peer.close();
    const again = await Server.start({ dir, args });
    t.after(() => again.stop());
    assert.deepEqual(found(dir, again.log), [], 'and after the next start');
  });
}

test('the search would find it: at level persist it is on the disk', async (t) => {
  const dir = temporaryDirectory();
  const config = path.join(temporaryDirectory(), 'fanfare.toml');
  fs.writeFileSync(config, toml('persist'));
  const server = await Server.start({ dir, args: ['--config', config] });
  t.after(() => server.kill());
  const peer = await throughEveryDoor(server);
  peer.close();
  await server.kill();
  assert.notDeepEqual(found(dir, ''), []);
});
