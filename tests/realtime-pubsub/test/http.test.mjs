// The HTTP API: what each permission allows, every wrong request and its answer, browsers, telemetry.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { PUBLISH_ALL, Peer, adminToken, assertRefused, call, clientToken, jwt, test, unique } from '../pubsub.mjs';

const ADMIN = ['connections', 'subscribers', 'application'].map((what) => `realtime:admin:manage:${what}`);
const pubsub = (id) => `[[apps]]
id = "${id}"
[apps.realtime_pubsub.client_key]
key = "${id}-client"
algorithms = ["HS256"]
[apps.realtime_pubsub.admin_key]
key = "${id}-admin"
algorithms = ["HS256"]
`;
const toml = `${pubsub('other')}${pubsub('counted')}[[apps]]
id = "no-admin"
[apps.realtime_pubsub.client_key]
key = "k"
algorithms = ["HS256"]
`;

let server;
let app;
before(async () => {
  const file = path.join(temporaryDirectory(), 'fanfare.toml');
  fs.writeFileSync(file, toml);
  server = await Server.start({ args: ['--config', file] });
  app = server.appId;
});
after(() => server.stop());

const publish = (options) => call(server, 'POST', `/api/topics/${app}/publish`, options);
const unsubscribe = (options) => call(server, 'POST', `/api/topics/${app}/unsubscribe`, options);
const good = { topic: 'x', message: 1 };
const telemetry = (what, options = {}) =>
  call(server, 'GET', `/telemetry/${what}`, { headers: { 'x-app-id': app }, ...options });

test('permissions x calls', async () => {
  const calls = [
    ['publish', (token) => publish({ token, body: good }), 202],
    ['unsubscribe', (token) => unsubscribe({ token, body: { topicPatterns: ['a'] } }), 200],
    ['terminate one', (token) => call(server, 'DELETE', `/api/connections/${app}/none`, { token }), 404],
    ['terminate all', (token) => call(server, 'DELETE', `/api/connections/${app}`, { token }), 200],
    ['aggregates', (token) => telemetry(`aggregates/${app}/1`, { token }), 200],
    ['countries', (token) => telemetry(`heatmap/connections/countries/${app}/1`, { token }), 200],
    ['top topics', (token) => telemetry(`top-topics/${app}/1?limit=100`, { token }), 200],
  ];
  const rows = [
    [PUBLISH_ALL, ['publish']],
    ['realtime:publisher:write:topic:x', ['publish']],
    ['realtime:publisher:write:topic:y', []],
    ['realtime:subscriber:read:topic:*', []],
    [ADMIN[0], ['terminate one', 'terminate all']],
    [ADMIN[1], ['unsubscribe']],
    [ADMIN[2], ['aggregates', 'countries', 'top topics']],
    ['realtime:admin:manage:*', []],
  ];
  for (const [permission, allowed] of rows) {
    for (const [name, make, status] of calls) {
      const answer = await make(adminToken(server, [permission]));
      if (allowed.includes(name)) assert.equal(answer.status, status, `${name} with ${permission}`);
      else assertRefused(answer, 403, /realtime:/);
    }
  }
});

test('who is asked for', async () => {
  const body = good;
  assertRefused(await publish({ body }), 401, /Bearer/);
  assertRefused(await publish({ body, headers: { authorization: 'Basic eDp5' } }), 401, /Bearer/);
  assertRefused(await publish({ body, headers: { authorization: 'Bearer' } }), 401, /Bearer/);
  assertRefused(await publish({ body, token: 'x' }), 401, /JWT/);
  assertRefused(await publish({ body, token: clientToken(server) }), 401, /signature/);
  assertRefused(await publish({ body, token: jwt(server.adminKey, { permissions: [PUBLISH_ALL] }, { ttl: -5 }) }), 401, /expired/);
  assert.equal((await publish({ body, headers: { authorization: `bearer ${server.adminToken}` } })).status, 202);
  assert.equal((await publish({ body })).headers.get('www-authenticate'), 'Bearer');
});

test('an admin token is good for its own app only', async () => {
  const token = jwt('other-admin', { permissions: [PUBLISH_ALL, ...ADMIN] });
  const at = (id) => call(server, 'POST', `/api/topics/${id}/publish`, { token, body: good });
  assert.equal((await at('other')).status, 202);
  assertRefused(await at(app), 401, /signature/);
  assertRefused(await at('nobody'), 404, /app/);
  assertRefused(await at('no-admin'), 403, /admin key/);
  assertRefused(await call(server, 'DELETE', `/api/connections/${app}`, { token }), 401, /signature/);
});

test('every wrong body of a publish says what would be right', async () => {
  const token = adminToken(server, [PUBLISH_ALL]);
  for (const [raw, status, words] of [
    ['', 400, /"topic"/],
    ['hello', 400, /"topic"/],
    ['[]', 400, /"topic"/],
    ['["x",1,false,"t"]', 400, /"topic"/],
    ['null', 400, /"topic"/],
    ['{"topic":"x"}', 400, /"message"/],
    ['{"message":1}', 400, /"topic"/],
    ['{"topic":5,"message":1}', 400, /"topic"/],
    ['{"topic":"x","message":1,"compress":"yes"}', 400, /"compress"/],
    ['{"topic":"x","message":1,"messageType":5}', 400, /"messageType"/],
    ['{"topic":"x","topic":"y","message":1}', 400, /"topic"/],
    ['{"topic":"","message":1}', 400, /empty/],
    ['{"topic":"a*","message":1}', 400, /\*/],
    ['{"topic":"a\\u0000","message":1}', 400, /control/],
    [JSON.stringify({ topic: 'x'.repeat(257), message: 1 }), 400, /256/],
    ['{"topic":"main","message":1,"messageType":"welcome"}', 403, /server/],
    ['{"topic":"secure/inbound","message":1,"messageType":"presence"}', 403, /server/],
    ['{"topic":"priv/acks","message":1}', 403, /server/],
    [JSON.stringify({ topic: 'x', message: 'y'.repeat(65_600) }), 413, /65536/],
    [JSON.stringify({ topic: 'x', message: 1, messageType: 'y'.repeat(1025) }), 413, /1024/],
    [JSON.stringify({ topic: 'x', message: 'y'.repeat(1_100_000) }), 413, /1048576/],
  ]) {
    assertRefused(await publish({ token, raw }), status, words);
  }
});

test('every wrong body of an unsubscribe says what would be right', async () => {
  const token = adminToken(server, ADMIN);
  for (const body of [{}, [], { topicPatterns: 'a' }, { topicPatterns: [1] }, { topicPatterns: [] }, { topicPatterns: ['a'], subject: 5 }, { topicPatterns: Array(51).fill('a') }, { topicPatterns: [''] }, { topicPatterns: ['a', 'x'.repeat(257)] }, [['a'], null]]) {
    assertRefused(await unsubscribe({ token, body }), 400, /topicPatterns/);
  }
  assert.deepEqual((await unsubscribe({ token, body: { topicPatterns: Array(50).fill('a') } })).body, { unsubscribed: 0 });
});

test('unsubscribing: by pattern, of everyone or of one; private topics stay', async (t) => {
  const token = adminToken(server, ADMIN);
  const room = unique('room');
  const open = (sub) => Peer.open(server, { token: clientToken(server, ['realtime:publisher:write:topic:*', 'realtime:subscriber:read:topic:*'], { sub }) });
  const [a, b] = [await open('a'), await open('b')];
  t.after(() => [a, b].forEach((peer) => peer.close()));
  for (const peer of [a, b]) {
    for (const name of [`${room}/1`, `${room}/2`, `secure/${room}`]) peer.subscribe(name);
    await peer.settled();
  }
  const count = async (body) => (await unsubscribe({ token, body })).body.unsubscribed;
  assert.equal(await count({ topicPatterns: ['nothing'] }), 0);
  assert.equal(await count({ topicPatterns: [`${room}/*`], subject: 'a' }), 2);
  assert.equal(await count({ topicPatterns: [`${room}/*`] }), 2);
  assert.equal(await count({ topicPatterns: ['priv/*'] }), 0);
  assert.equal(await count({ topicPatterns: ['*'], subject: 'a' }), 2, 'the secure one, and main');
  a.publish(`priv/${b.id}`, 'still');
  assert.equal((await b.on(`priv/${b.id}`)).data.payload, 'still');
});

test('paths and methods that there are not', async () => {
  const token = server.adminToken;
  assertRefused(await call(server, 'GET', `/api/topics/${app}/publish`, { token }), 405, /POST/);
  assert.equal((await call(server, 'GET', `/api/topics/${app}/publish`, { token })).headers.get('allow'), 'POST');
  assertRefused(await call(server, 'POST', `/api/connections/${app}`, { token }), 405, /DELETE/);
  assertRefused(await call(server, 'PUT', `/telemetry/aggregates/${app}/1`, { token }), 405, /GET/);
  for (const nowhere of ['/api/x', `/api/topics/${app}`, '/telemetry/x', `/api/topics/${app}/publish/`]) {
    assertRefused(await call(server, 'POST', nowhere, { token }), 404, /path/);
  }
});

test('browsers may call, from anywhere', async () => {
  const preflight = await call(server, 'OPTIONS', `/api/topics/${app}/publish`, {
    headers: { origin: 'https://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.match(preflight.headers.get('access-control-allow-methods'), /POST/);
  assert.match(preflight.headers.get('access-control-allow-headers'), /Authorization.*Content-Type/);
  for (const answer of [await publish({ token: server.adminToken, body: good }), await publish({ body: good })]) {
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  }
});

test('telemetry counts what happened', async (t) => {
  const token = jwt('counted-admin', { permissions: [PUBLISH_ALL, ADMIN[2]] });
  const ask = (what) => call(server, 'GET', `/telemetry/${what}`, { token, headers: { 'x-app-id': 'counted' } });
  const peer = await Peer.open(server, { app: 'counted', token: jwt('counted-client', { permissions: [PUBLISH_ALL] }) });
  t.after(() => peer.close());
  const topic = unique('busy');
  peer.subscribe(topic);
  for (let i = 0; i < 5; i++) peer.publish(topic, i);
  peer.publish(`priv/${peer.id}`, 'whisper');
  await peer.on(`priv/${peer.id}`);
  await peer.next((f) => f.topic === topic && f.data.payload === 4);
  await peer.settled();
  await call(server, 'POST', '/api/topics/counted/publish', { token, body: { topic, message: 1 } });
  await peer.next((f) => f.topic === topic && f.data === 1);

  const all = (await ask('aggregates/counted/1')).body;
  assert.equal(all.appId, 'counted');
  assert.ok(all.from < all.to);
  assert.equal(all.connections.opened, 1);
  assert.equal(all.connections.now, 1);
  assert.equal(all.messages.publishedHttp, 1);
  assert.equal(all.messages.inbound, 1);
  assert.ok(all.messages.publishedWs >= 6);
  assert.ok(all.messages.delivered >= 7);
  assert.ok(all.bytes.in > 0 && all.bytes.out > 0);
  assert.equal(all.buckets.at(-1).messages.publishedHttp, 1);
  const { topics } = (await ask('top-topics/counted/1')).body;
  assert.deepEqual(topics.map((row) => row.topic).sort(), [topic, 'priv/*', 'secure/inbound'].sort());
  assert.equal(topics[0].topic, topic);
  assert.deepEqual([topics[0].messages, topics[0].subscribersPeak], [6, 1]);
  assert.equal((await ask('top-topics/counted/1?limit=1')).body.topics.length, 1);
  assert.deepEqual((await ask('heatmap/connections/countries/counted/1')).body.countries, [{ country: 'ZZ', connections: 1 }]);
});

test('telemetry says from which networks requests published, and no address', async (t) => {
  const dir = temporaryDirectory();
  const proxied = await Server.start({ dir, args: ['--trusted-proxy', '127.0.0.1', '--log-level', 'trace'] });
  t.after(() => proxied.stop());
  const token = proxied.adminToken;
  const from = async (address, message) => {
    const how = { token, body: { topic: 'x', message }, headers: { 'x-forwarded-for': address } };
    return (await call(proxied, 'POST', `/api/topics/${proxied.appId}/publish`, how)).status;
  };
  assert.deepEqual([await from('203.0.113.77', '1'), await from('203.0.113.99', '22'), await from('2001:db8:1:2::77', '')], [202, 202, 202]);
  assert.equal(await from('198.51.100.77', 'y'.repeat(65_600)), 413, 'what is refused was not published');
  const { body } = await call(proxied, 'GET', `/telemetry/aggregates/${proxied.appId}/1`, { token, headers: { 'x-app-id': proxied.appId } });
  assert.deepEqual(body.publishers, [
    { network: '203.0.113.0', messages: 2, bytes: 7 },
    { network: '2001:db8:1::', messages: 1, bytes: 2 },
  ]);
  await proxied.kill();
  const written = fs.readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => fs.readFileSync(path.join(entry.parentPath ?? entry.path, entry.name)));
  for (const address of ['203.0.113.77', '203.0.113.99', '2001:db8:1:2::77']) {
    assert.ok([Buffer.from(proxied.log), ...written].every((bytes) => !bytes.includes(address)), `${address} is written nowhere`);
  }
});

test('telemetry: wrong questions', async () => {
  const token = adminToken(server, [ADMIN[2]]);
  for (const days of ['0', '31', '-1', 'x', '1.5', '']) assertRefused(await telemetry(`aggregates/${app}/${days}`, { token }), 400, /days/);
  for (const limit of ['0', '101', 'x', '']) assertRefused(await telemetry(`top-topics/${app}/1?limit=${limit}`, { token }), 400, /limit/);
  assertRefused(await telemetry(`aggregates/${app}/1`, { token, headers: {} }), 400, /X-App-Id/);
  assertRefused(await telemetry(`aggregates/${app}/1`, { token, headers: { 'x-app-id': 'other' } }), 400, /X-App-Id/);
});
