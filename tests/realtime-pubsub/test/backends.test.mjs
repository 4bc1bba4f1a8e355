// What leaves the server: clients' messages to webhooks and queues, and questions for the keys of issuers.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { EVERYTHING, PUBLISH_ALL, Peer, assertRefused, call, handshake, jwt, test, within } from '../pubsub.mjs';

/** An HTTP server of the test's own: what it was asked, and what it answers. */
async function double(t, answer) {
  const asked = [];
  let wake = () => {};
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const seen = { method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() };
      asked.push(seen);
      const { status = 200, body = '' } = answer(seen, asked.length) ?? {};
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
      wake();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const enough = async (count) => {
    while (asked.length < count) await new Promise((resolve) => (wake = resolve));
    return asked;
  };
  return {
    asked,
    server,
    url: `http://127.0.0.1:${server.address().port}`,
    until: (count, ms = 10_000) => within(ms, enough(count), `${count} requests, there were ${asked.length}`),
  };
}

async function start(t, toml) {
  const file = path.join(temporaryDirectory(), 'fanfare.toml');
  fs.writeFileSync(file, toml);
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  return server;
}

const app = (more, keys = 'key = "c"\nalgorithms = ["HS256"]') => `
[egress]
allow = ["127.0.0.1"]
[[apps]]
id = "shop"
[apps.realtime_pubsub.client_key]
${keys}
[apps.realtime_pubsub.admin_key]
key = "a"
algorithms = ["HS256"]
${more}
`;

const open = (server, claims = {}) =>
  Peer.open(server, { app: 'shop', token: jwt('c', { permissions: EVERYTHING, sub: 'user-1', ...claims }) });

test('a webhook is sent what clients send: signed, in order, again when it failed, presence only where asked for', async (t) => {
  const plain = await double(t, (_, count) => ({ status: count === 2 ? 500 : 200 }));
  const curious = await double(t, () => ({}));
  const server = await start(t, app(`
[[apps.realtime_pubsub.webhooks]]
url = "${plain.url}/hook?x=1"
secret = "s1"
[[apps.realtime_pubsub.webhooks]]
url = "${curious.url}/"
secret = "s2"
presence = true
`));
  const peer = await open(server);
  for (let n = 0; n < 4; n++) peer.say({ type: 'message', data: { messageType: 'order', payload: { n }, id: `id${n}` } });
  await peer.next((f) => f.data?.data === 'id3', 'the acknowledgement, before any back end answers');
  peer.publish('elsewhere', 'no back end hears this', { id: 'p' });
  await peer.next((f) => f.data?.data === 'p');

  const asked = await plain.until(5);
  assert.equal(asked[1].body, asked[2].body, 'what failed is sent again, before the next');
  const bodies = [0, 2, 3, 4].map((at) => JSON.parse(asked[at].body).msg);
  assert.deepEqual(bodies.map((msg) => msg.payload.n), [0, 1, 2, 3]);
  assert.deepEqual(bodies[0].client, { connectionId: peer.id, subject: 'user-1', permissions: EVERYTHING });
  assert.deepEqual([bodies[0].id, bodies[0].messageType, bodies[0].appId], ['id0', 'order', 'shop']);
  assert.ok(Math.abs(bodies[0].timestamp - Date.now()) < 60_000);
  for (const { headers, body, url, method } of asked) {
    assert.deepEqual([method, url], ['POST', '/hook?x=1']);
    const [, time, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['x-realtime-signature']);
    assert.equal(mac, crypto.createHmac('sha256', 's1').update(`${time}.${body}`).digest('hex'));
  }
  peer.close();
  const heard = (await curious.until(6)).map(({ body }) => JSON.parse(body).msg);
  assert.deepEqual(heard.map((msg) => msg.messageType), ['presence', 'order', 'order', 'order', 'order', 'presence']);
  assert.deepEqual([heard[0].payload, heard[5].payload], [{ code: 0, status: 'connected' }, { code: -1, status: 'disconnected' }]);
  assert.equal(plain.asked.length, 5);
});

test('a queue that speaks SQS is sent the same, and its reader answers over HTTP', async (t) => {
  const sqs = await double(t, () => ({ body: '{"MessageId":"m"}' }));
  const server = await start(t, app(`
[[apps.realtime_pubsub.queues]]
queue_url = "${sqs.url}/000000000000/inbound"
endpoint = "${sqs.url}"
region = "eu-central-1"
access_key_id = "AKID"
secret_access_key = "SECRET"
`));
  const peer = await open(server, { permissions: [] });
  t.after(() => peer.close());
  peer.say({ type: 'message', data: { compress: true, payload: { time: 5 }, id: 'q1' } });
  const [request] = await sqs.until(1);
  assert.equal(request.headers['x-amz-target'], 'AmazonSQS.SendMessage');
  assert.match(request.headers.authorization, /^AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/eu-central-1\/sqs\/aws4_request/);
  const sent = JSON.parse(request.body);
  assert.equal(sent.QueueUrl, `${sqs.url}/000000000000/inbound`);
  const { client, payload, id } = JSON.parse(sent.MessageBody).msg;
  assert.deepEqual([client.subject, payload, id], ['user-1', { time: 5 }, 'q1']);
  const token = jwt('a', { permissions: [PUBLISH_ALL] });
  const body = { topic: `priv/${client.subject}`, message: { type: 'response', ack: id, status: 'OK' } };
  assert.equal((await call(server, 'POST', '/api/topics/shop/publish', { token, body })).status, 202);
  assert.deepEqual((await peer.on('priv/user-1')).data, { type: 'response', ack: 'q1', status: 'OK' });
});

test('a back end that does not answer slows nobody down', async (t) => {
  const dead = await double(t, () => ({ status: 500 }));
  const server = await start(t, app(`
[[apps.realtime_pubsub.webhooks]]
url = "${dead.url}/"
secret = "s"
`));
  const peer = await open(server);
  t.after(() => peer.close());
  const started = Date.now();
  // More than the queue holds.
  for (let n = 0; n < 3000; n++) peer.say({ type: 'message', data: { payload: n } });
  await peer.settled();
  assert.ok(Date.now() - started < 5000, 'acknowledged at once');
  assert.ok(server.alive);
});

test('the keys of an issuer are fetched when they are needed, kept, and asked for again with a pause', async (t) => {
  const keys = ['k1', 'k2'].map((kid) => ({ kid, ...crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }) }));
  const public_ = ({ kid, publicKey }) => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' });
  let published = [public_(keys[0])];
  const issuer = await double(t, () => ({ body: JSON.stringify({ keys: published }) }));
  const server = await start(t, app('', `jwks_uri = "${issuer.url}/jwks.json"\nalgorithms = ["RS256"]`));
  const token = ({ kid, privateKey }, header = {}) => jwt(privateKey, { permissions: [] }, { algorithm: 'RS256', header: { kid, ...header } });
  const shake = (value) => handshake(server, `/apps/shop?access_token=${value}`);

  assert.equal(issuer.asked.length, 0);
  const many = await Promise.all(Array.from({ length: 20 }, () => shake(token(keys[0]))));
  assert.deepEqual(new Set(many.map(({ status }) => status)), new Set([101]), 'all wait for the one answer');
  assert.equal(issuer.asked.length, 1);
  published = keys.map(public_);
  for (let i = 0; i < 3; i++) assertRefused(await shake(token(keys[1])), 401, /kid/);
  assert.equal(issuer.asked.length, 1, 'not again so soon');
  assertRefused(await shake(token({ ...keys[1], kid: 'k1' })), 401, /signature/);
  assertRefused(await shake(jwt('x', {}, { header: { kid: 'k1' } })), 401, /algorithm/);
  issuer.server.closeAllConnections();
  await new Promise((resolve) => issuer.server.close(resolve));
  assert.equal((await shake(token(keys[0]))).status, 101, 'known keys are good while the issuer is down');
});

test('an issuer that is down is not waited for, and is named in the answer', async (t) => {
  const issuer = await double(t, () => ({ status: 503 }));
  const server = await start(t, app('', `jwks_uri = "${issuer.url}/"\nalgorithms = ["RS256"]`));
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const token = jwt(privateKey, {}, { algorithm: 'RS256', header: { kid: 'k' } });
  for (let i = 0; i < 2; i++) assertRefused(await handshake(server, `/apps/shop?access_token=${token}`), 401, /issuer/);
  assert.equal(issuer.asked.length, 1);
});

test('private addresses are refused at the start, unless the operator allows them', async (t) => {
  const toml = app('[[apps.realtime_pubsub.webhooks]]\nurl = "http://127.0.0.1:8080/?key=canary"\nsecret = "s"').replace('127.0.0.1"', '192.0.2.1"');
  await assert.rejects(start(t, toml), (error) => {
    assert.match(error.message, /webhook of the app shop.*private/s);
    assert.doesNotMatch(error.message, /canary/, 'the URL may have a secret in it');
    return true;
  });
});
