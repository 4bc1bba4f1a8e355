// Forged and bent tokens: none is accepted, by REST, at connecting, or in band (A1, A3, A5, A6, A7).

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, test } from 'node:test';
import { jwt, keyWith, provision, request, tokenFor, tokenRequest } from '../../lib/http.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { guarded } from '../guard.mjs';

const guard = guarded();
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);

/** Every door at which a token could be shown must stay shut. */
async function refusedEverywhere(app, token) {
  const rest = await request(app, 'GET', '/channels/x/messages', { token });
  assert.ok([400, 401, 403, 404, 431].includes(rest.status), `REST said ${rest.status}`); // 431: it did not even fit
  if (rest.status !== 431) assert.ok(rest.body.error.code >= 40000);
  const query = await request(app, 'GET', `/channels/x/messages?access_token=${encodeURIComponent(token)}`, { authorization: null });
  assert.ok([400, 401, 403, 404, 414, 431].includes(query.status), `the query said ${query.status}`);
  if (token.length > 6000) return;
  const wire = await Wire.open(app, { access_token: token });
  const first = await wire.next(() => true, 'the refusal');
  assert.equal(first.action, ACTION.ERROR, JSON.stringify(first));
  assert.ok(first.error.code >= 40000 && first.error.code < 40500, `code ${first.error.code}`);
  wire.destroy();
  const live = await Wire.connect(app);
  live.send({ action: ACTION.AUTH, auth: { accessToken: token } });
  const answer = await live.next((m) => [ACTION.CONNECTED, ACTION.ERROR, ACTION.DISCONNECTED].includes(m.action), 'an answer');
  assert.notEqual(answer.action, ACTION.CONNECTED, 'accepted in band');
  live.destroy();
}

test('the good one is accepted, or nothing below means anything', async () => {
  const { server } = guard;
  assert.equal((await request(server, 'GET', '/channels/x/messages', { token: jwt(server.key) })).status, 200);
});

describe('JWT', () => {
  const [kid, secret] = [() => guard.server.key.split(':')[0], () => guard.server.key.split(':')[1]];
  const sign = (text, hash = 'sha256', key = secret()) => crypto.createHmac(hash, key).update(text).digest('base64url');
  const made = (head, body, signature) => {
    const text = `${typeof head === 'string' ? head : b64(head)}.${typeof body === 'string' ? body : b64(body)}`;
    return `${text}.${signature ?? sign(text)}`;
  };
  const head = (more = {}) => ({ typ: 'JWT', alg: 'HS256', kid: kid(), ...more });
  const body = (more = {}) => ({ iat: now(), exp: now() + 3600, ...more });

  const forged = {
    'alg none without a signature': () => made(head({ alg: 'none' }), body(), ''),
    'alg none with a good signature': () => made(head({ alg: 'none' }), body()),
    'alg NONE': () => made(head({ alg: 'NoNe' }), body(), ''),
    'no alg': () => made(head({ alg: undefined }), body()),
    'alg HS512, rightly signed': () => ((t) => `${t}.${sign(t, 'sha512')}`)(`${b64(head({ alg: 'HS512' }))}.${b64(body())}`),
    'alg HS384, rightly signed': () => ((t) => `${t}.${sign(t, 'sha384')}`)(`${b64(head({ alg: 'HS384' }))}.${b64(body())}`),
    'alg RS256': () => made(head({ alg: 'RS256' }), body()),
    'alg ES256 with zeros': () => made(head({ alg: 'ES256' }), body(), Buffer.alloc(64).toString('base64url')),
    'alg as a list': () => made(head({ alg: ['HS256', 'none'] }), body()),
    'a wrong signature': () => made(head(), body(), sign('other')),
    'a signature cut short': () => made(head(), body()).slice(0, -6),
    'an empty signature': () => made(head(), body(), ''),
    'signed with an empty key': () => ((t) => `${t}.${sign(t, 'sha256', '')}`)(`${b64(head())}.${b64(body())}`),
    'signed with the key\'s name': () => ((t) => `${t}.${sign(t, 'sha256', kid())}`)(`${b64(head())}.${b64(body())}`),
    'no kid': () => made(head({ kid: undefined }), body()),
    'an empty kid': () => made(head({ kid: '' }), body()),
    'a kid that climbs': () => made(head({ kid: `../../${kid()}` }), body()),
    'a kid with a NUL': () => made(head({ kid: `${kid()}\u0000` }), body()),
    'a kid with the secret': () => made(head({ kid: guard.server.key }), body()),
    'a kid that is a list': () => made(head({ kid: [kid()] }), body()),
    'a kid of SQL': () => made(head({ kid: "x' OR '1'='1" }), body()),
    'a kid of another key\'s name': () => made(head({ kid: `${guard.server.appId}.other` }), body()),
    'a key of its own in the header': () => made(head({ kid: undefined, jwk: { kty: 'oct', k: b64('mine') } }), body()),
    'expired': () => made(head(), body({ iat: now() - 7200, exp: now() - 3600 })),
    'without an end': () => made(head(), { iat: now() }),
    'an end of text': () => made(head(), body({ exp: String(now() + 3600) })),
    'an end before its beginning': () => made(head(), body({ iat: now() + 100, exp: now() - 100 })),
    'an end in a thousand years': () => made(head(), body({ exp: now() + 31_536_000_000 })),
    'not yet valid': () => made(head(), body({ nbf: now() + 3600 })),
    'from the future': () => made(head(), body({ iat: now() + 7200, exp: now() + 10_800 })),
    'a capability that is no JSON': () => made(head(), body({ 'x-ably-capability': '{' })),
    'a capability that is a number': () => made(head(), body({ 'x-ably-capability': 5 })),
    'a clientId that is a number': () => made(head(), body({ 'x-ably-clientId': 5 })),
    'two parts': () => `${b64(head())}.${b64(body())}`,
    'four parts': () => `${made(head(), body())}.x`,
    'dots': () => '..',
    'a header that is no JSON': () => made(b64('{'), body()),
    'a body that is a list': () => made(head(), b64('[]')),
    'standard base64 with padding': () => made(`${Buffer.from(JSON.stringify(head())).toString('base64')}=`, body()),
    'a header of 5 KB': () => made(head({ x: 'x'.repeat(4000) }), body(), sign('x')),
    'a body of 60 KB': () => made(head(), body({ x: 'x'.repeat(60_000) }), sign('x')),
    'deep nesting': () => made(head(), b64(`{"a":${'['.repeat(3000)}${']'.repeat(3000)}}`)),
  };
  for (const [what, make] of Object.entries(forged)) test(what, () => refusedEverywhere(guard.server, make()));

  test('a claim twice: the signature covers both, the rights are never more than the key\'s', async () => {
    const app = await keyWith(guard.server, { mine: ['history'] });
    const [name, key] = app.key.split(':');
    const text = `${b64({ typ: 'JWT', alg: 'HS256', kid: name })}.${b64(`{"exp":${now() + 60},"iat":${now()},"x-ably-capability":"{\\"mine\\":[\\"history\\"]}","x-ably-capability":"{\\"*\\":[\\"*\\"]}"}`)}`;
    const token = `${text}.${sign(text, 'sha256', key)}`;
    const answer = await request(app, 'GET', '/channels/yours/messages', { token });
    assert.equal(answer.status, 401);
  });

  test('one app\'s key signs nothing for another app', async () => {
    const other = await provision(guard.server);
    const [name] = guard.server.key.split(':');
    await refusedEverywhere(guard.server, jwt(other.key, { header: { kid: name } }));
  });
});

describe('opaque tokens', () => {
  test('with any character changed are none', async () => {
    const { server } = guard;
    const { token } = await tokenFor(server, { clientId: 'ann' });
    const positions = [...new Set(Array.from({ length: 12 }, (_, i) => Math.floor((i * (token.length - 1)) / 11)))];
    for (const at of positions) {
      const other = token[at] === 'A' ? 'B' : 'A';
      const answer = await request(server, 'GET', '/channels/x/messages', { token: token.slice(0, at) + other + token.slice(at + 1) });
      assert.notEqual(answer.status, 200, `character ${at}`);
    }
  });

  for (const token of ['', ' ', 'x', '.', 'a.b', 'null', 'undefined', '{}', '\u0000', 'é', '%00', '../..', 'x'.repeat(5000)]) {
    test(`${JSON.stringify(token.slice(0, 20))} is none`, async () => {
      if (token === '' || token.trim() === '') {
        assert.equal((await request(guard.server, 'GET', '/channels/x/messages', { authorization: `Bearer ${token}` })).status, 401);
      } else await refusedEverywhere(guard.server, token);
    });
  }

  test('of one app open nothing of another', async () => {
    const other = await provision(guard.server);
    const { token } = await tokenFor(other);
    const path = `/keys/${guard.server.key.split(':')[0]}/revokeTokens`;
    assert.ok((await request(guard.server, 'POST', path, { token, body: { targets: ['clientId:x'] } })).status >= 400);
  });
});

describe('token requests', () => {
  test('replayed a hundred times at once serve once', async () => {
    const { server } = guard;
    const wish = tokenRequest(server.key);
    const path = `/keys/${wish.keyName}/requestToken`;
    const answers = await Promise.all(Array.from({ length: 100 }, () => request(server, 'POST', path, { authorization: null, body: wish })));
    const granted = answers.filter((answer) => answer.status < 300).length;
    assert.equal(granted, 1);
    for (const answer of answers.filter((a) => a.status >= 300)) assert.equal(answer.body.error.code, 40105);
  });

  test('without nonce, timestamp or mac are refused', async () => {
    const { server } = guard;
    for (const missing of ['nonce', 'timestamp', 'mac']) {
      const wish = tokenRequest(server.key);
      const path = `/keys/${wish.keyName}/requestToken`;
      delete wish[missing];
      const answer = await request(server, 'POST', path, { authorization: null, body: wish });
      assert.ok([400, 401].includes(answer.status), `${missing}: ${answer.status}`);
    }
    const short = tokenRequest(server.key, { nonce: 'short' });
    const answer = await request(server, 'POST', `/keys/${short.keyName}/requestToken`, { authorization: null, body: short });
    assert.ok(answer.status < 500);
  });

  test('that shift text between the signed lines are refused', async () => {
    const { server } = guard;
    const wish = tokenRequest(server.key, { clientId: 'ann\nadmin' });
    const moved = { ...wish, clientId: 'ann', nonce: wish.nonce, timestamp: `admin\n${wish.timestamp}` };
    const answer = await request(server, 'POST', `/keys/${wish.keyName}/requestToken`, { authorization: null, body: moved });
    assert.ok([400, 401].includes(answer.status));
  });
});
