// Tokens: asked for with a signed request or a key, made as JWTs, and every way in which they are refused.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { assertError, basic, jwt, keyWith, provision, request, requestToken, tokenFor, tokenRequest } from '../../lib/http.mjs';
import { both, connected, reached, realtime, refused, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

describe('a token request', () => {
  both('gives a token with its whole description', async (t, binary) => {
    const [clock] = (await request(server, 'GET', '/time')).body;
    const details = await tokenFor(server, { clientId: 'Ann Ünï' }, { binary });
    assert.equal(typeof details.token, 'string');
    assert.equal(details.keyName, server.key.split(':')[0]);
    assert.equal(details.clientId, 'Ann Ünï');
    assert.ok(details.issued >= clock);
    assert.equal(details.expires - details.issued, 3_600_000);
    assert.equal(typeof details.capability, 'string');
    const client = await connected(t, server, { token: details.token, useBinaryProtocol: binary });
    assert.equal(client.auth.clientId, 'Ann Ünï');
  });

  both('is signed by the SDK and redeemed by one who has no key', async (t, binary) => {
    const keeper = rest(server);
    const client = await connected(t, server, {
      useBinaryProtocol: binary,
      authCallback: (params, done) => keeper.auth.createTokenRequest(params).then((wish) => done(null, wish), done),
    });
    assert.equal(client.auth.clientId, undefined, 'anonymous');
    await client.channels.get('signed').publish('x', null);
  });

  test('keeps the ttl to the millisecond, up to a day', async () => {
    const app = await provision(server); // a key whose tokens are not revocable: those end after an hour
    for (const ttl of [123, 100_000, 86_400_000]) {
      const details = await tokenFor(app, { ttl });
      assert.equal(details.expires - details.issued, ttl);
    }
    const text = await tokenFor(app, { ttl: '5000', timestamp: String(Date.now()) });
    assert.equal(text.expires - text.issued, 5000, 'numbers may come as text');
  });

  test('may come unsigned with the key itself, or as a form', async () => {
    const keyName = server.key.split(':')[0];
    const path = `/keys/${keyName}/requestToken`;
    const bare = await request(server, 'POST', path, { body: { keyName, timestamp: Date.now(), nonce: `${Math.random()}-0123456789` } });
    assert.ok([200, 201].includes(bare.status), JSON.stringify(bare.body));
    const wish = tokenRequest(server.key);
    const form = await request(server, 'POST', path, {
      authorization: null,
      raw: new URLSearchParams(wish).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    assert.ok([200, 201].includes(form.status), JSON.stringify(form.body));
    const unsigned = await request(server, 'POST', path, { authorization: null, body: { keyName, timestamp: Date.now(), nonce: 'x'.repeat(16) } });
    assert.equal(unsigned.status, 401);
  });

  const wrong = {
    'a wrong signature': [{}, { mac: 'MTIzNDU=' }, 401, 40101],
    'a mac that is no base64': [{}, { mac: '12345' }, 401, 40101],
    'another capability than was signed': [{ capability: '{"a":["subscribe"]}' }, { capability: '{"*":["*"]}' }, 401, 40101],
    'another clientId than was signed': [{ clientId: 'ann' }, { clientId: 'admin' }, 401, 40101],
    'a longer life than was signed': [{ ttl: 1000 }, { ttl: 3_600_000 }, 401, 40101],
    'a time long past': [{ timestamp: Date.now() - 30 * 60_000 }, {}, 401, 40104],
    'a time to come': [{ timestamp: Date.now() + 30 * 60_000 }, {}, 401, 40104],
    'a life of a year': [{ ttl: 365 * 86_400_000 }, {}, 400, undefined],
    'a negative life': [{ ttl: -1 }, {}, 400, undefined],
    'a life that is no number': [{ ttl: 'notanumber' }, {}, 400, undefined],
    'an unknown operation': [{ capability: '{"c":["publish_"]}' }, {}, 400, 40000],
    'everything and something': [{ capability: '{"c":["*","publish"]}' }, {}, 400, 40000],
    'no operation': [{ capability: '{"c":[]}' }, {}, 400, 40000],
    'a capability that is no JSON': [{ capability: '{"c":' }, {}, 400, 40000],
    'an empty clientId': [{ clientId: '' }, {}, 400, 40012],
  };
  for (const [what, [params, change, status, code]] of Object.entries(wrong)) {
    test(`is refused with ${what}`, async () => {
      assertError(await requestToken(server, params, { change }), status, code);
    });
  }

  test('serves once: the nonce is remembered', async () => {
    const wish = tokenRequest(server.key);
    const path = `/keys/${wish.keyName}/requestToken`;
    assert.ok((await request(server, 'POST', path, { authorization: null, body: wish })).status < 300);
    for (let i = 0; i < 3; i++) {
      assertError(await request(server, 'POST', path, { authorization: null, body: wish }), 401, 40105);
    }
  });

  test('with the same nonce at another time is another request', async () => {
    const nonce = `literal-${Math.random()}`;
    for (const offset of [0, 1000, -2000]) {
      const answer = await requestToken(server, { nonce, timestamp: Date.now() + offset });
      assert.ok(answer.status < 300, JSON.stringify(answer.body));
    }
  });

  test('for one key does not serve another', async () => {
    const app = await provision(server, { keys: [{}, { capability: '{"a":["subscribe"]}' }] });
    const wish = tokenRequest(app.keys[1].keyStr);
    const crossed = await request(app, 'POST', `/keys/${app.keys[0].keyName}/requestToken`, { authorization: null, body: wish });
    assert.ok([400, 401].includes(crossed.status), `status ${crossed.status}`);
    const withOther = await request(app, 'POST', `/keys/${app.keys[0].keyName}/requestToken`, {
      authorization: basic(app.keys[1].keyStr),
      body: { keyName: app.keys[0].keyName, timestamp: Date.now(), nonce: 'n'.repeat(16) },
    });
    assert.equal(withOther.status, 401);
    const unknown = tokenRequest(`${app.appId}.nokey:secret`);
    const nobody = await request(app, 'POST', `/keys/${unknown.keyName}/requestToken`, { authorization: null, body: unknown });
    assert.ok([401, 404].includes(nobody.status));
  });
});

describe('the capability of a token', () => {
  const key = { channel2: ['publish', 'subscribe'], channel6: ['*'], 'wide:*': ['subscribe'], other: ['publish'] };
  let app;
  before(async () => (app = await keyWith(server, key)));

  const cases = [
    ['as the key where none is asked', undefined, key],
    ['cut by operation', { channel2: ['presence', 'subscribe'] }, { channel2: ['subscribe'] }],
    ['cut by resource', { channel2: ['subscribe'], channelx: ['subscribe'] }, { channel2: ['subscribe'] }],
    ['wild operations narrowed, in order', { channel2: ['*'] }, { channel2: ['publish', 'subscribe'] }],
    ['kept under wild operations', { channel6: ['publish', 'subscribe'] }, { channel6: ['publish', 'subscribe'] }],
    ['kept under a wild resource', { 'wide:a': ['subscribe'], 'wide:b:*': ['subscribe'] }, { 'wide:a': ['subscribe'], 'wide:b:*': ['subscribe'] }],
  ];
  for (const [what, asked, granted] of cases) {
    test(`is ${what}`, async () => {
      const details = await tokenFor(app, asked ? { capability: JSON.stringify(asked) } : {});
      assert.deepEqual(JSON.parse(details.capability), granted);
    });
  }

  test('is never wider than the key, however wide the wish', async () => {
    const answer = await requestToken(app, { capability: '{"*":["*"]}' });
    if (answer.status >= 300) assertError(answer, 401, 40160);
    else {
      for (const [resource, ops] of Object.entries(JSON.parse(answer.body.capability))) {
        assert.ok(resource in key, `${resource} is none of the key's`);
        if (!key[resource].includes('*')) assert.ok(ops.every((op) => key[resource].includes(op)), `${resource}: ${ops}`);
      }
    }
  });

  for (const [what, asked] of Object.entries({
    'no operation in common': { channel2: ['presence'] },
    'no resource in common': { nowhere: ['publish'] },
  })) {
    test(`cannot be empty: ${what}`, async () => {
      assertError(await requestToken(app, { capability: JSON.stringify(asked) }), 401, 40160);
    });
  }
});

describe('a JWT', () => {
  both('connects, identifies and permits as it says', async (t, binary) => {
    const token = jwt(server.key, { claims: { 'x-ably-clientId': 'jo', 'x-ably-capability': '{"mine":["subscribe","publish"]}' } });
    const client = await connected(t, server, { token, useBinaryProtocol: binary });
    assert.equal(client.auth.clientId, 'jo');
    await client.channels.get('mine').publish('x', null);
    await refused(client.channels.get('yours').publish('x', null), 40160, 401);
    assert.equal((await request(server, 'GET', '/channels/mine/messages', { token })).status, 401, 'history is not among it');
  });

  test('has the key\'s capability where it says none, and never more', async () => {
    const app = await keyWith(server, { here: ['publish', 'history'] });
    const plain = jwt(app.key);
    assert.equal((await request(app, 'POST', '/channels/here/messages', { token: plain, body: {} })).status, 201);
    const greedy = jwt(app.key, { claims: { 'x-ably-capability': '{"*":["*"]}' } });
    assertError(await request(app, 'POST', '/channels/there/messages', { token: greedy, body: {} }), 401, 40160);
    assert.equal((await request(app, 'POST', '/channels/here/messages', { token: greedy, body: {} })).status, 201);
  });

  test('may carry an Ably token inside', async () => {
    const { token: inner } = await tokenFor(server, { clientId: 'inner' });
    const short = jwt(server.key, { claims: { 'x-ably-token': inner }, ttl: 60 });
    const answer = await request(server, 'POST', '/channels/nested/messages', { token: short, body: {} });
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    const [item] = (await request(server, 'GET', '/channels/nested/messages')).body;
    assert.equal(item.clientId, 'inner');
  });

  test('of an app that is not here is 404/40400', async () => {
    const token = jwt('invalid.invalid:invalidinvalid');
    assertError(await request(server, 'GET', '/channels/x/messages', { token }), 404, 40400);
  });
});

describe('clientId', () => {
  test('that is not the token\'s makes the connection fail with 40102', async (t) => {
    const details = await tokenFor(server, { clientId: 'ann' });
    const wire = await Wire.open(server, { access_token: details.token, clientId: 'bob' });
    const error = await wire.next(() => true, 'the refusal');
    assert.equal(error.action, ACTION.ERROR);
    assert.equal(error.error.code, 40102);
    await wire.closed;
    const anonymous = await tokenFor(server);
    const client = realtime(t, server, { token: anonymous.token, clientId: 'bob' });
    assert.equal((await reached(client.connection, 'failed')).reason.code, 40102);
  });

  test('of a wildcard token is chosen by the client', async (t) => {
    const { token } = await tokenFor(server, { clientId: '*' });
    assert.equal((await connected(t, server, { token, clientId: 'chosen' })).auth.clientId, 'chosen');
    const any = await connected(t, server, { token });
    assert.equal(any.auth.clientId, '*');
    await any.channels.get('any').publish({ name: 'x', clientId: 'whoever' });
  });

  both('on a message must be the token\'s', async (t, binary) => {
    for (const [own, claimed, code] of [['ann', 'bob', 40012], [undefined, 'bob', 40012], ['*', '*', 40012]]) {
      const { token } = await tokenFor(server, own ? { clientId: own } : {});
      const wire = await Wire.connect(server, { access_token: token }, { binary });
      t.after(() => wire.destroy());
      assert.equal((await wire.publish('who', { clientId: claimed })).error?.code, code, `${own} as ${claimed}`);
      assertError(await request(server, 'POST', '/channels/who/messages', { token, binary, body: { clientId: claimed } }), 400, code);
    }
    assert.deepEqual((await request(server, 'GET', '/channels/who/messages')).body, []);
  });

  test('of a token is stamped on what REST publishes', async () => {
    const { token } = await tokenFor(server, { clientId: 'ann' });
    await request(server, 'POST', '/channels/stamped/messages', { token, body: {} });
    assert.equal((await request(server, 'GET', '/channels/stamped/messages')).body[0].clientId, 'ann');
  });
});
