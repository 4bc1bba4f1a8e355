// At level `none`, the default of an app with this protocol alone, a payload is found nowhere on disk and in no log:
// a marker goes through every door, and then everything that the server wrote is searched, also after a crash.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { deflate, frame, OP } from '../../lib/socket.mjs';
import { request } from '../../lib/http.mjs';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { EVERYTHING, Peer, call, handshake, jwt, test, within } from '../pubsub.mjs';

const MARKER = 'zyx-marker-5a7d';
/** What base64 makes of the marker, wherever in the text it stands. */
const base64 = [0, 1, 2].map((before) => Buffer.from(' '.repeat(before) + MARKER).toString('base64').slice(4, 18));
const FORMS = [MARKER, Buffer.from(MARKER).toString('hex'), ...base64];
const ADMIN = ['connections', 'subscribers', 'application'].map((what) => `realtime:admin:manage:${what}`);

const backends = (url) => `
[[apps.realtime_pubsub.webhooks]]
url = "${url}/hook"
secret = "s"
presence = true
[[apps.realtime_pubsub.queues]]
queue_url = "${url}/000000000000/inbound"
endpoint = "${url}"
region = "eu-central-1"
access_key_id = "AKID"
secret_access_key = "SECRET"
presence = true
`;

const keys = `
[apps.realtime_pubsub.client_key]
key = "c"
algorithms = ["HS256"]
[apps.realtime_pubsub.admin_key]
key = "a"
algorithms = ["HS256"]
`;

// Two back ends take what they are sent, two refuse it, and two refuse every connection: what waits for those waits in
// memory. The second app is Ably's, too, and keeps nothing because it says so.
const toml = ({ good, bad }, durability) => `
[egress]
allow = ["127.0.0.1"]
[[apps]]
id = "quiet"
${durability ? `[apps.default_rule]\ndurability = "${durability}"` : ''}
${keys}
${[good, bad, 'http://127.0.0.1:9'].map(backends).join('')}
[[apps]]
id = "both"
[apps.default_rule]
durability = "none"
[[apps.keys]]
id = "k"
secret = "ably-secret"
${keys}
`;

/** A back end that answers with what it was sent, as echoing error pages do. */
async function echo(t, status) {
  const heard = [];
  const server = http.createServer((asked, response) => {
    const chunks = [];
    asked.on('data', (chunk) => chunks.push(chunk));
    asked.on('end', () => {
      heard.push(`${asked.url} ${Buffer.concat(chunks)}`);
      response.writeHead(status, { 'content-type': 'application/json', 'x-echo': MARKER }).end(Buffer.concat(chunks));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { heard, url: `http://127.0.0.1:${server.address().port}` };
}

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

const token = (sub, more = []) => jwt('c', { permissions: [...EVERYTHING, ...more], sub });
const open = (server, app, sub) =>
  Peer.open(server, { app, compress: true, token: token(sub, [`realtime:publisher:write:topic:${MARKER}`]) });

/** Published and sent in every way, on every kind of topic, and over HTTP. */
async function publishing(server, app, one, two) {
  const admin = jwt('a', { permissions: [...EVERYTHING, ...ADMIN], sub: MARKER });
  const topics = [MARKER, `secure/${MARKER}`, 'secure/inbound', 'main'];
  for (const topic of topics) two.subscribe(topic);
  await two.settled();
  for (const topic of [...topics, `priv/${two.id}`, `priv/sub-${MARKER}`]) {
    for (const compress of [false, true]) {
      one.publish(topic, { [MARKER]: MARKER.repeat(100) }, { messageType: MARKER, id: MARKER, compress });
      const body = { topic, message: MARKER.repeat(100), messageType: MARKER, compress };
      assert.equal((await call(server, 'POST', `/api/topics/${app}/publish`, { token: admin, body })).status, 202);
    }
  }
  const said = JSON.stringify({ type: 'message', data: { messageType: MARKER, payload: MARKER, id: MARKER } });
  one.say(said);
  one.socket.binary(Buffer.from(said));
  one.socket.write(frame(OP.text, deflate(said), { rsv: 4 }));
  for (let n = 0; n < 3; n++) await two.next((f) => f.topic === 'secure/inbound' && f.data.payload === MARKER);
  two.publish(`priv/${one.id}`, { data: MARKER, status: MARKER, id: MARKER }, { messageType: 'response' });
  await one.next((f) => f.topic === `priv/${one.id}` && f.data.payload?.data === MARKER, 'the reply');
  await one.settled();
  return admin;
}

/** Refused, with the marker in what is refused. */
async function refusals(server, app, admin, one) {
  const publish = (how) => call(server, 'POST', `/api/topics/${app}/publish`, how);
  const statuses = [
    await publish({ token: admin, raw: `{"topic":"${MARKER}"` }),
    await publish({ token: MARKER, body: { topic: MARKER, message: MARKER } }),
    await publish({ token: jwt('a', { permissions: [MARKER] }), body: { topic: MARKER, message: MARKER } }),
    await publish({ token: admin, body: { topic: 'x', message: MARKER.repeat(6000) } }),
    await call(server, 'GET', `/api/${MARKER}`, { token: admin }),
    await call(server, 'POST', `/api/topics/${app}/unsubscribe`, { token: admin, body: { topicPatterns: [MARKER], subject: MARKER } }),
    await call(server, 'DELETE', `/api/connections/${app}/${MARKER}`, { token: admin }),
    await call(server, 'GET', `/telemetry/aggregates/${app}/${MARKER}`, { token: admin, headers: { 'x-app-id': app } }),
    await handshake(server, `/apps/${MARKER}?access_token=${MARKER}`),
    await handshake(server, `/apps/${app}?access_token=${jwt('wrong', { sub: MARKER })}`),
  ];
  assert.deepEqual(statuses.map(({ status }) => status), [400, 401, 403, 413, 404, 200, 404, 400, 404, 401]);
  const more = ['deaf', 'mute', 'large'].map((sub) => open(server, app, `${sub}-${MARKER}`));
  const [deaf, mute, large] = await Promise.all(more);
  deaf.subscribe(`priv/${MARKER}`);
  mute.publish('priv/acks', MARKER);
  large.publish(MARKER, MARKER.repeat(6000));
  one.say(`{"type":"${MARKER}"}`);
  const ends = await within(5000, Promise.all([deaf, mute, large, one].map((peer) => peer.closed)), 'the ends');
  assert.deepEqual(ends.map(({ code }) => code), [1008, 1008, 1009, 1003]);
}

/** Through Ably's doors of an app that has both protocols. */
async function fromAbly(server, peer) {
  const key = 'both.k:ably-secret';
  const wire = await Wire.connect(server, { key, clientId: MARKER });
  await wire.attach(MARKER);
  peer.subscribe(MARKER);
  await peer.settled();
  await wire.publish(MARKER, { name: MARKER, data: MARKER, extras: { headers: { [MARKER]: MARKER } } });
  await wire.presence(MARKER, { action: PRESENCE.enter, data: MARKER });
  const rest = await request(server, 'POST', `/channels/${MARKER}/messages`, { key, body: { name: MARKER, data: MARKER } });
  assert.equal(rest.status, 201);
  await peer.next((f) => f.topic === MARKER && f.data?.payload === MARKER);
  peer.publish(MARKER, MARKER);
  await wire.next((m) => m.action === ACTION.MESSAGE && m.messages.some(({ data }) => data === MARKER));
  return wire;
}

async function throughEveryDoor(server) {
  const [one, two] = [await open(server, 'quiet', `sub-${MARKER}`), await open(server, 'quiet', 'two')];
  const admin = await publishing(server, 'quiet', one, two);
  await refusals(server, 'quiet', admin, one);
  const [three, four] = [await open(server, 'both', `sub-${MARKER}`), await open(server, 'both', 'four')];
  await publishing(server, 'both', three, four);
  const wire = await fromAbly(server, four);
  return [two, three, four, wire];
}

for (const [level, format] of [['debug', 'text'], ['trace', 'text'], ['trace', 'json']]) {
  test(`nothing is kept, with logs at ${level} in ${format}, and after a crash`, async (t) => {
    const dir = temporaryDirectory();
    const config = path.join(temporaryDirectory(), 'fanfare.toml');
    const [good, bad] = [await echo(t, 200), await echo(t, 500)];
    fs.writeFileSync(config, toml({ good: good.url, bad: bad.url }));
    const args = ['--config', config, '--log-level', level, '--log-format', format];
    const server = await Server.start({ dir, args });
    const logs = [];
    server.child.stderr.on('data', (chunk) => logs.push(chunk));
    const open = await throughEveryDoor(server);
    // Long enough for whatever writes late.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (const { heard } of [good, bad]) {
      for (const door of ['/hook', '/ ']) {
        const sent = heard.filter((body) => body.startsWith(door) && body.includes(MARKER));
        assert.ok(sent.length > 0, `the back ends were sent the marker at ${door}`);
      }
    }
    assert.ok(logs.length > 0, 'there is a log');
    assert.deepEqual(found(dir, Buffer.concat(logs)), []);
    await server.kill();
    assert.deepEqual(found(dir, Buffer.concat(logs)), [], 'after a crash');
    open.forEach((peer) => peer.close());
    const again = await Server.start({ dir, args });
    t.after(() => again.stop());
    assert.deepEqual(found(dir, again.log), [], 'and after the next start');
  });
}

test('the search would find it: at level persist it is on the disk', async (t) => {
  const dir = temporaryDirectory();
  const config = path.join(temporaryDirectory(), 'fanfare.toml');
  const [good, bad] = [await echo(t, 200), await echo(t, 500)];
  fs.writeFileSync(config, toml({ good: good.url, bad: bad.url }, 'persist'));
  const server = await Server.start({ dir, args: ['--config', config] });
  t.after(() => server.kill());
  const open = await throughEveryDoor(server);
  open.forEach((peer) => peer.close());
  await server.kill();
  assert.notDeepEqual(found(dir, ''), []);
});
