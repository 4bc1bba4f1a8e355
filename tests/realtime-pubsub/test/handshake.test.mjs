// Who is let in, and what the others are told: before the upgrade, with an HTTP status and JSON that says why.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { EVERYTHING, PUBLISH_ALL, Peer, assertRefused, handshake, jwt, test, unique } from '../pubsub.mjs';

const HS = 'a-shared-secret+that/looks=like=base64==';
const pair = (type, options) => crypto.generateKeyPairSync(type, options);
const rsa = pair('rsa', { modulusLength: 2048 });
const p256 = pair('ec', { namedCurve: 'P-256' });
const p384 = pair('ec', { namedCurve: 'P-384' });
const ed = pair('ed25519', {});
const pem = (keys, format = 'spki') => keys.publicKey.export({ type: format, format: 'pem' });

const apps = [
  { id: 'hs', key: HS, algorithms: ['HS256', 'HS384', 'HS512'] },
  { id: 'hs256', key: HS, algorithms: ['HS256'] },
  { id: 'rsa', key: pem(rsa), algorithms: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] },
  { id: 'pkcs1', key: pem(rsa, 'pkcs1'), algorithms: ['RS256'] },
  { id: 'p256', key: pem(p256), algorithms: ['ES256'] },
  { id: 'p384', key: pem(p384), algorithms: ['ES384'] },
  { id: 'ed', key: pem(ed), algorithms: ['EdDSA'] },
  { id: 'issuers', key: HS, algorithms: ['HS256'], issuer: ['https://a.example', 'https://b.example'] },
  { id: 'few', key: HS, algorithms: ['HS256'], more: 'connections_per_subject_max = 2' },
  { id: 'slow-subject', key: HS, algorithms: ['HS256'], more: 'handshakes_per_subject_burst = 3\nhandshakes_per_subject_per_second = 1' },
  { id: 'slow-app', key: HS, algorithms: ['HS256'], more: 'handshakes_burst = 3\nhandshakes_per_second = 1' },
  { id: 'tls', key: HS, algorithms: ['HS256'], app: 'tls_only = true' },
  { id: 'off', key: HS, algorithms: ['HS256'], app: 'disabled = true' },
  { id: 'silent', key: HS, algorithms: ['HS256'], more: 'inbound_ack = false\npresence = false\npayload_bytes_max = 100' },
];

const toml = apps.map(({ id, key, algorithms, issuer = [], more = '', app = '' }) => `
[[apps]]
id = "${id}"
${app}
[apps.realtime_pubsub]
${more}
[apps.realtime_pubsub.client_key]
key = '''${key}'''
algorithms = ${JSON.stringify(algorithms)}
issuer = ${JSON.stringify(issuer)}
`).join('');

let server;
before(async () => {
  const file = path.join(temporaryDirectory(), 'fanfare.toml');
  fs.writeFileSync(file, toml);
  server = await Server.start({ args: ['--config', file] });
});
after(() => server.stop());

const shake = (app, token) => handshake(server, `/apps/${app}?access_token=${encodeURIComponent(token)}`);
const sign = (claims, options, key = HS) => jwt(key, claims, options);

for (const [app, algorithm, key] of [
  ['hs', 'HS256', HS],
  ['hs', 'HS384', HS],
  ['hs', 'HS512', HS],
  ['rsa', 'RS256', rsa.privateKey],
  ['rsa', 'RS384', rsa.privateKey],
  ['rsa', 'RS512', rsa.privateKey],
  ['rsa', 'PS256', rsa.privateKey],
  ['rsa', 'PS384', rsa.privateKey],
  ['rsa', 'PS512', rsa.privateKey],
  ['pkcs1', 'RS256', rsa.privateKey],
  ['p256', 'ES256', p256.privateKey],
  ['p384', 'ES384', p384.privateKey],
  ['ed', 'EdDSA', ed.privateKey],
]) {
  test(`${algorithm} with the key of ${app} is accepted, and not when a byte is changed`, async () => {
    const token = jwt(key, { permissions: [] }, { algorithm });
    assert.equal((await shake(app, token)).status, 101);
    const [header, , signature] = token.split('.');
    const other = Buffer.from(JSON.stringify({ exp: 4e9, permissions: EVERYTHING })).toString('base64url');
    assertRefused(await shake(app, `${header}.${other}.${signature}`), 401, /signature/);
  });
}

const now = () => Math.floor(Date.now() / 1000);
const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
/** Signed, whatever stands in it. */
const raw = (header, payload) => {
  const signed = `${part(header)}.${part(payload)}`;
  return `${signed}.${crypto.createHmac('sha256', HS).update(signed).digest('base64url')}`;
};
const HEADER = { alg: 'HS256', typ: 'JWT' };
const exp = now() + 1000;

for (const [what, app, token, status, words] of [
  ['no token', 'hs', '', 401, /access_token/],
  ['text', 'hs', 'hello', 401, /JWT/],
  ['two parts', 'hs', 'a.b', 401, /JWT/],
  ['parts that are not base64', 'hs', '!.!.!', 401, /JWT/],
  ['base64 with padding', 'hs', `${sign({})}==`, 401, /JWT/],
  ['a header that is no JSON', 'hs', raw('x', { exp }), 401, /header/],
  ['a header without alg', 'hs', raw({ typ: 'JWT' }, { exp }), 401, /header/],
  ['a header with alg twice', 'hs', raw('{"alg":"HS256","alg":"none"}', { exp }), 401, /header/],
  ['critical extensions', 'hs', raw({ ...HEADER, crit: ['b64'] }, { exp }), 401, /critical/],
  ['alg none', 'hs', jwt('', { permissions: EVERYTHING }, { algorithm: 'none' }), 401, /algorithm/],
  ['alg None', 'hs', raw({ alg: 'None' }, { exp }), 401, /algorithm/],
  ['an algorithm that is not listed', 'hs256', sign({}, { algorithm: 'HS384' }), 401, /HS256/],
  ['the public key as a secret', 'rsa', jwt(pem(rsa), { permissions: EVERYTHING }), 401, /algorithm/],
  ['another family of keys', 'rsa', jwt(p256.privateKey, {}, { algorithm: 'ES256' }), 401, /algorithm/],
  ['another secret', 'hs', jwt('other', {}), 401, /signature/],
  ['the secret decoded from base64', 'hs', jwt(Buffer.from(HS, 'base64'), {}), 401, /signature/],
  ['another key', 'p256', jwt(pair('ec', { namedCurve: 'P-256' }).privateKey, {}, { algorithm: 'ES256' }), 401, /signature/],
  ['a signature in DER', 'p256', (() => {
    const signed = `${part({ alg: 'ES256' })}.${part({ exp })}`;
    return `${signed}.${crypto.sign('sha256', Buffer.from(signed), p256.privateKey).toString('base64url')}`;
  })(), 401, /signature/],
  ['no exp', 'hs', raw(HEADER, {}), 401, /exp/],
  ['an exp that is text', 'hs', raw(HEADER, { exp: `${exp}` }), 401, /exp/],
  ['an exp in milliseconds', 'hs', raw(HEADER, { exp: exp * 1000 }), 401, /exp/],
  ['an exp that is past', 'hs', sign({}, { ttl: -1 }), 401, /expired/],
  ['an nbf in an hour', 'hs', sign({ nbf: now() + 3600 }), 401, /nbf/],
  ['an nbf that is text', 'hs', sign({ nbf: 'now' }), 401, /nbf/],
  ['claims that are no object', 'hs', raw(HEADER, [1]), 401, /payload/],
  ['claims that are a list of their values', 'hs', raw(HEADER, ['me', EVERYTHING, null, exp, null, null]), 401, /payload/],
  ['a header that is a list of its values', 'hs', raw(['HS256', null, null], { exp }), 401, /header/],
  ['four parts', 'hs', `${sign({})}.x`, 401, /JWT/],
  ['an empty signature', 'hs', sign({}).replace(/[^.]*$/, ''), 401, /signature/],
  ['an exp that is negative', 'hs', raw(HEADER, { exp: -1 }), 401, /exp/],
  ['an exp that is null', 'hs', raw(HEADER, { exp: null }), 401, /exp/],
  ['an iss that is a list', 'issuers', sign({ iss: ['https://a.example'] }), 401, /iss/],
  ['claims that are no JSON', 'hs', raw(HEADER, '{'), 401, /payload/],
  ['a claim twice', 'hs', raw(HEADER, `{"exp":${exp},"permissions":[],"permissions":["*"]}`), 401, /payload/],
  ['permissions that are text', 'hs', sign({ permissions: PUBLISH_ALL }), 401, /permissions/],
  ['permissions that are numbers', 'hs', sign({ permissions: [1] }), 401, /permissions/],
  ['a scope that is an array', 'hs', sign({ scope: [PUBLISH_ALL] }), 401, /scope/],
  ['a sub that is a number', 'hs', sign({ sub: 5 }), 401, /sub/],
  ['a sub that is a pattern', 'hs', sign({ sub: '*' }), 401, /sub/],
  ['a sub with a line break', 'hs', sign({ sub: 'a\nb' }), 401, /sub/],
  ['a sub in the form of a connection\'s id', 'hs', sign({ sub: 'r0123456789abcde' }), 401, /sub/],
  ['the sub acks', 'hs', sign({ sub: 'acks' }), 401, /sub/],
  ['a sub that is nearly a connection\'s id', 'hs', sign({ sub: 'r0123456789abcdg' }), 101],
  ['a sub that is too long', 'hs', sign({ sub: 'x'.repeat(252) }), 401, /sub/],
  ['a token that is too long', 'hs', sign({ padding: 'x'.repeat(16_000) }), 401, /16384/],
  ['no issuer', 'issuers', sign({}), 401, /iss/],
  ['another issuer', 'issuers', sign({ iss: 'https://c.example' }), 401, /issuer/],
  ['a listed issuer', 'issuers', sign({ iss: 'https://b.example' }), 101],
  ['any audience', 'hs', sign({ aud: 'https://other.example' }), 101],
  ['an nbf that is a little ahead', 'hs', sign({ nbf: now() + 30 }), 101],
  ['nulls', 'hs', sign({ sub: null, permissions: null, scope: null, nbf: null, iss: null }), 101],
  ['scopes of others', 'hs', sign({ permissions: ['openid', 'realtime:nonsense', ''] }), 101],
  ['an unknown app', 'nobody', sign({}), 404, /app/],
  ['no app', '', sign({}), 404, /app/],
  ['a path below the app', 'hs/x', sign({}), 404, /app/],
  ['an app without this protocol\'s keys', '%68s', sign({}), 404, /app/],
  ['a suspended app', 'off', sign({}), 403, /suspended/],
  ['an app that requires TLS', 'tls', sign({}), 403, /TLS/],
]) {
  test(`a handshake with ${what} is answered with ${status}`, async () => {
    const answer = await shake(app, token);
    if (status === 101) assert.equal(answer.status, 101, JSON.stringify(answer.body));
    else {
      assertRefused(answer, status, words);
      assert.equal(answer.headers['content-type'], 'application/json');
    }
  });
}

test('a scope is as good as permissions, and permissions go before it', async () => {
  const opens = async (claims) => {
    const peer = await Peer.open(server, { app: 'hs', token: sign(claims) });
    peer.publish('x', 1);
    const ended = await Promise.race([peer.closed, peer.settled().then(() => 'open')]);
    peer.close();
    return ended === 'open';
  };
  assert.equal(await opens({ scope: `openid ${PUBLISH_ALL} profile` }), true);
  assert.equal(await opens({ scope: PUBLISH_ALL, permissions: [] }), false);
  assert.equal(await opens({ scope: 'openid' }), false);
});

test('a token counts at the handshake only', async () => {
  const peer = await Peer.open(server, { app: 'hs', token: sign({ permissions: EVERYTHING }, { ttl: 1 }) });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  peer.subscribe('secure/late');
  peer.publish('secure/late', 1, { id: 'x' });
  assert.equal((await peer.on('secure/late')).data.payload, 1);
  peer.close();
});

test('who has no subject is called by the connection\'s id', async () => {
  const peer = await Peer.open(server, { app: 'hs', token: sign({ permissions: EVERYTHING }) });
  peer.subscribe('x');
  peer.publish('x', 1);
  assert.deepEqual((await peer.on('x')).data.client, { connectionId: peer.id, subject: peer.id });
  peer.close();
});

test('connections of one subject are limited, and a seat that is left can be taken', async () => {
  const subject = unique('s');
  const token = sign({ sub: subject });
  const [first, second] = [await Peer.open(server, { app: 'few', token }), await Peer.open(server, { app: 'few', token })];
  const refused = await shake('few', token);
  assertRefused(refused, 429, /2 connections/);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  assert.equal((await shake('few', sign({ sub: unique('s') }))).status, 101);
  first.close();
  for (let tries = 0; ; tries++) {
    if ((await shake('few', token)).status === 101) break;
    assert.ok(tries < 50, 'the seat is never free');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  second.close();
});

test('a subject that dials without a pause is slowed down', async () => {
  const token = sign({ sub: unique('s') });
  const statuses = [];
  for (let i = 0; i < 80; i++) statuses.push((await shake('hs', token)).status);
  assert.ok(statuses.includes(429), 'sooner or later');
  assert.deepEqual(statuses.slice(0, 40), Array(40).fill(101));
});

test('how fast a subject and an app may dial is the operator\'s to say', async () => {
  for (const [app, subject, words] of [
    ['slow-subject', () => 'hasty', /this subject/],
    ['slow-app', () => unique('s'), /this app/],
  ]) {
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await shake(app, sign({ sub: subject() })));
    assert.deepEqual(answers.slice(0, 3).map(({ status }) => status), [101, 101, 101], app);
    assertRefused(answers.find(({ status }) => status !== 101), 429, words);
  }
});

test('acknowledgements and presence can be turned off, and payloads be smaller', async (t) => {
  const open = () => Peer.open(server, { app: 'silent', token: sign({ permissions: EVERYTHING }) });
  const peer = await open();
  t.after(() => peer.close());
  for (const topic of ['secure/inbound', 'x']) peer.subscribe(topic);
  peer.publish('x', 0, { id: 'a' });
  await peer.on('x');
  const other = await open();
  other.close();
  await other.closed;
  peer.say({ type: 'message', data: { messageType: 'last' } });
  await peer.on('secure/inbound', 'last');
  assert.deepEqual(peer.seen.filter((f) => ['ack', 'presence'].includes(f.messageType)), []);
  peer.publish('x', 'y'.repeat(99));
  assert.equal((await peer.closed).code, 1009);
});
