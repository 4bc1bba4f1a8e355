// REST without an SDK: one request, its status, headers and decoded body; and what the sandbox offers to tests.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { decode, encode } from './msgpack.mjs';

export const JSON_TYPE = 'application/json';
export const MSGPACK_TYPE = 'application/x-msgpack';

export const basic = (key) => `Basic ${Buffer.from(key).toString('base64')}`;
export const bearer = (token) => `Bearer ${Buffer.from(token).toString('base64')}`;

/**
 * @param {{url: string, key?: string}} server where, and whose key unless `key`, `token` or `authorization` says otherwise
 * @param {string} method
 * @param {string} path with its query
 */
export async function request(server, method, path, options = {}) {
  const { binary = false, version = 6, key = server.key, token, body, raw, headers = {} } = options;
  const type = binary ? MSGPACK_TYPE : JSON_TYPE;
  const all = { accept: type, 'x-ably-version': String(version) };
  if ('authorization' in options) {
    if (options.authorization) all.authorization = options.authorization;
  } else if (token) all.authorization = bearer(token);
  else if (key) all.authorization = basic(key);
  let payload = raw;
  if (body !== undefined) payload = binary ? encode(body) : JSON.stringify(body);
  if (payload !== undefined) all['content-type'] = type;
  const response = await fetch(server.url + path, {
    method,
    headers: { ...all, ...headers },
    body: payload,
    redirect: 'manual',
    signal: AbortSignal.timeout(options.timeoutMs ?? 15_000),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, bytes, body: parse(bytes, response.headers) };
}

function parse(bytes, headers) {
  if (bytes.length === 0) return undefined;
  const type = headers.get('content-type') ?? '';
  if (type.startsWith(JSON_TYPE)) return JSON.parse(bytes.toString());
  if (type.startsWith(MSGPACK_TYPE)) return decode(bytes);
  return bytes.toString();
}

/** Checks that an answer is Ably's error shape, with these status and code, and says so in headers too. */
export function assertError(answer, status, code) {
  assert.equal(answer.status, status, `status; body ${JSON.stringify(answer.body)}`);
  const error = answer.body?.error;
  assert.ok(error, `no error in ${JSON.stringify(answer.body)}`);
  if (code !== undefined) assert.equal(error.code, code, `code; body ${JSON.stringify(answer.body)}`);
  assert.equal(error.statusCode, status, 'statusCode in the body');
  assert.equal(typeof error.message, 'string');
  assert.ok(error.message.length > 0, 'a message for people');
  assert.equal(answer.headers.get('x-ably-errorcode'), String(error.code), 'X-Ably-Errorcode');
  assert.ok(answer.headers.get('x-ably-errormessage'), 'X-Ably-Errormessage');
}

/**
 * Makes an app of its own through the development server's provisioning.
 * @returns {Promise<{url, port, appId, key, keys: {keyName, keySecret, keyStr, capability}[]}>} usable as a `server`
 */
export async function provision(server, spec = {}) {
  const wish = { keys: [{}], namespaces: [{ id: 'persisted', persisted: true }], ...spec };
  const answer = await request(server, 'POST', '/apps', { authorization: null, body: wish });
  assert.equal(answer.status, 201, `POST /apps: ${JSON.stringify(answer.body)}`);
  const { appId, keys } = answer.body;
  assert.equal(keys.length, wish.keys.length);
  return { url: server.url, host: server.host, port: server.port, appId, keys, key: keys[0].keyStr, provisioned: answer.body };
}

/** A key of a new app with this capability (an object). */
export async function keyWith(server, capability, more = {}) {
  const app = await provision(server, { keys: [{ capability: JSON.stringify(capability), ...more }, {}] });
  return { ...app, admin: app.keys[1].keyStr };
}

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A JWT signed with a key of the app; every part can be replaced to make a bad one. */
export function jwt(key, { claims = {}, header = {}, secret, signature, ttl = 3600, now = Date.now() } = {}) {
  const [kid, keySecret] = key.split(':');
  const seconds = Math.floor(now / 1000);
  const head = { typ: 'JWT', alg: 'HS256', kid, ...header };
  const body = { iat: seconds, exp: seconds + ttl, ...claims };
  const signed = `${base64url(head)}.${base64url(body)}`;
  const mac = signature ?? crypto.createHmac('sha256', secret ?? keySecret).update(signed).digest('base64url');
  return `${signed}.${mac}`;
}

/** A TokenRequest signed by hand; `change` alters it after signing. */
export function tokenRequest(key, params = {}, change = {}) {
  const [keyName, secret] = key.split(':');
  const wish = { keyName, timestamp: Date.now(), nonce: crypto.randomBytes(12).toString('hex'), ...params };
  const lines = [wish.keyName, wish.ttl, wish.capability, wish.clientId, wish.timestamp, wish.nonce];
  const text = lines.map((value) => `${value ?? ''}\n`).join('');
  return { ...wish, mac: crypto.createHmac('sha256', secret).update(text).digest('base64'), ...change };
}

/** Asks for a token with a signed request, no other credential. */
export async function requestToken(app, params = {}, { key = app.key, change, binary = false } = {}) {
  const wish = tokenRequest(key, params, change);
  return request(app, 'POST', `/keys/${wish.keyName}/requestToken`, { authorization: null, body: wish, binary });
}

/** The same, and it must succeed. */
export async function tokenFor(app, params = {}, options = {}) {
  const answer = await requestToken(app, params, options);
  assert.ok([200, 201].includes(answer.status), `requestToken: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** The relations of a Link header: {next: '?…', first: '?…'} with the raw target. */
export function links(headers) {
  const found = {};
  for (const [, target, rel] of (headers.get('link') ?? '').matchAll(/<([^>]*)>;\s*rel="?(\w+)"?/g)) found[rel] = target;
  return found;
}
