// HTTP as SDKs and browsers read it: exact content types, error headers, CORS, JSONP, envelopes, unknown paths.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { JSON_TYPE, MSGPACK_TYPE, assertError, basic, request } from '../../lib/http.mjs';
import { decode } from '../../lib/msgpack.mjs';
import { test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

describe('content types', () => {
  const paths = { 'a success': ['/channels/x/messages', 200], 'an error': ['/channels/:bad/messages', 400], 'no such path': ['/not-found', 404] };
  for (const [what, [path, status]] of Object.entries(paths)) {
    test(`are exact for ${what}`, async () => {
      for (const [binary, type] of [[false, JSON_TYPE], [true, MSGPACK_TYPE]]) {
        const answer = await request(server, 'GET', path, { binary });
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get('content-type'), type, 'no charset, no other type');
      }
    });
  }

  test('?format= decides where Accept does not', async () => {
    const accept = { accept: '*/*' };
    const packed = await request(server, 'GET', '/time?format=msgpack', { headers: accept });
    assert.equal(packed.headers.get('content-type'), MSGPACK_TYPE);
    assert.equal(decode(packed.bytes).length, 1);
    const plain = await request(server, 'GET', '/time', { headers: accept });
    assert.equal(plain.headers.get('content-type'), JSON_TYPE);
  });

  test('the request\'s own type is believed, not the answer\'s', async () => {
    const body = JSON.stringify({ name: 'x' });
    const headers = { 'content-type': 'application/json; charset=utf-8', accept: MSGPACK_TYPE };
    const answer = await request(server, 'POST', '/channels/types/messages', { raw: body, headers });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.get('content-type'), MSGPACK_TYPE);
    assert.equal(decode(answer.bytes).channel, 'types');
  });
});

describe('errors', () => {
  test('carry code, status, message and where to read on', async () => {
    const answer = await request(server, 'GET', '/channels/:bad/messages');
    assertError(answer, 400, 40010);
    assert.match(answer.body.error.href ?? '', /40010$/);
  });

  test('without credentials are 401', async () => {
    const answer = await request(server, 'GET', '/channels/x/messages', { authorization: null });
    assertError(answer, 401);
  });

  test('of wrong credentials say so and no more', async () => {
    const [name] = server.key.split(':');
    for (const key of [`${name}:wrong`, `${server.appId}.nokey:x`, 'noapp.nokey:x', 'nonsense', ':', '']) {
      const answer = await request(server, 'GET', '/channels/x/messages', { authorization: basic(key) });
      assert.ok([401, 404].includes(answer.status), `${key}: ${answer.status}`);
      assert.ok(answer.body.error.code >= 40000);
      assert.equal(JSON.stringify(answer.body).includes(server.key.split(':')[1]), false);
    }
    for (const authorization of ['Basic', 'Basic %%%', 'Bearer', 'Bearer ', 'Digest x', 'Basic ' + 'A'.repeat(7000)]) {
      const answer = await request(server, 'GET', '/channels/x/messages', { authorization });
      assertError(answer, 401);
    }
  });

  test('GET on requestToken is 404/40400, whoever asks', async () => {
    for (const path of ['/keys/ablyjs.test/requestToken', `/keys/${server.key.split(':')[0]}/requestToken`]) {
      assertError(await request(server, 'GET', path), 404, 40400);
    }
  });
});

describe('browsers', () => {
  const origin = 'https://app.example.com';

  test('may ask first (preflight)', async () => {
    const answer = await fetch(`${server.url}/channels/x/messages`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,x-ably-version,ably-agent,x-ably-clientid',
      },
    });
    assert.ok([200, 204].includes(answer.status), `status ${answer.status}`);
    assert.ok(['*', origin].includes(answer.headers.get('access-control-allow-origin')));
    assert.match(answer.headers.get('access-control-allow-methods') ?? '', /POST/);
    const allowed = (answer.headers.get('access-control-allow-headers') ?? '').toLowerCase();
    for (const name of ['authorization', 'content-type', 'x-ably-version', 'ably-agent', 'x-ably-clientid']) {
      assert.ok(allowed === '*' || allowed.includes(name), `${name} in "${allowed}"`);
    }
    assert.notEqual(answer.headers.get('access-control-allow-credentials'), 'true', 'no cookies are involved');
  });

  for (const [what, path, status] of [['a success', '/time', 200], ['an error', '/channels/:bad/messages', 400]]) {
    test(`may read ${what} and the headers that SDKs need`, async () => {
      const answer = await request(server, 'GET', path, { headers: { origin } });
      assert.equal(answer.status, status);
      assert.ok(['*', origin].includes(answer.headers.get('access-control-allow-origin')));
      const exposed = (answer.headers.get('access-control-expose-headers') ?? '').toLowerCase();
      for (const name of ['link', 'x-ably-errorcode', 'x-ably-errormessage']) assert.ok(exposed.includes(name), name);
    });
  }

  test('of old times get JSONP', async () => {
    const url = `${server.url}/time?callback=reply_1`;
    const answer = await fetch(url);
    assert.match(answer.headers.get('content-type'), /javascript/);
    let got;
    new Function('reply_1', await answer.text())((value) => (got = value));
    const list = got.response ?? got;
    assert.ok(Math.abs(list[0] - Date.now()) < 60_000);
    const bad = await fetch(`${server.url}/channels/x/messages?callback=reply_1`);
    assert.equal(bad.status, 200, 'a script that fails would tell nothing');
    new Function('reply_1', await bad.text())((value) => (got = value));
    assert.ok(JSON.stringify(got).includes('40'), 'the error is inside');
  });

  test('JSONP takes only names as callbacks', async () => {
    const answer = await fetch(`${server.url}/time?callback=${encodeURIComponent('alert(1);//')}`);
    const text = await answer.text();
    assert.equal(text.startsWith('alert(1)'), false, text);
  });

  test('that see no headers get an envelope', async () => {
    const fine = await request(server, 'GET', '/channels/x/messages?envelope=json');
    assert.equal(fine.status, 200);
    assert.equal(fine.body.statusCode, 200);
    assert.deepEqual(fine.body.response, []);
    const bad = await request(server, 'GET', '/channels/:bad/messages?envelope=json');
    assert.equal(bad.status, 200);
    assert.equal(bad.body.statusCode, 400);
    assert.equal(bad.body.response.error.code, 40010);
  });
});

describe('the rest of HTTP', () => {
  test('unknown paths and methods are coded errors', async () => {
    for (const path of ['/not-found', '/channels/x/nothing', '/keys', '/channels/x/messages/../../../etc/passwd']) {
      const answer = await request(server, 'GET', path);
      assert.ok([404, 405].includes(answer.status), `${path}: ${answer.status}`);
      assert.ok(answer.body?.error?.code >= 40000, path);
    }
    const method = await request(server, 'DELETE', '/time');
    assert.ok([404, 405].includes(method.status));
  });

  test('HEAD is GET without the body', async () => {
    const answer = await request(server, 'HEAD', '/time');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), JSON_TYPE);
    assert.equal(answer.bytes.length, 0);
  });

  test('the key may stand in the query', async () => {
    const path = `/channels/x/messages?key=${encodeURIComponent(server.key)}`;
    assert.equal((await request(server, 'GET', path, { authorization: null })).status, 200);
  });

  test('X-Ably-ClientId says who publishes', async () => {
    const headers = { 'x-ably-clientid': Buffer.from('ann').toString('base64') };
    await request(server, 'POST', '/channels/identity/messages', { headers, body: { name: 'x' } });
    const [item] = (await request(server, 'GET', '/channels/identity/messages')).body;
    assert.equal(item.clientId, 'ann');
    const other = await request(server, 'POST', '/channels/identity/messages', { headers, body: { clientId: 'bob' } });
    assertError(other, 400, 40012);
  });

  test('/health answers', async () => {
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
  });
});
