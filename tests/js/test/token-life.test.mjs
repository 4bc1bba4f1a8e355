// A token's life on a live connection: the prompt before it ends, renewal in band, what its end does, and changes of rights.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, FLAG, Wire } from '../../lib/wire.mjs';
import { assertError, jwt, request, requestToken, tokenFor } from '../../lib/http.mjs';
import { both, channelName, connected, gather, next, reached, realtime, refused, test, within } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

/** An authCallback that asks for tokens with these parameters, and counts. */
function keeper(params = {}) {
  const callback = (asked, done) => {
    callback.calls += 1;
    const wish = typeof params === 'function' ? params(callback.calls) : params;
    requestToken(server, wish).then((answer) => done(null, answer.body), done);
  };
  callback.calls = 0;
  return callback;
}

describe('expiry', () => {
  both('ends the connection with 40142 at the moment, and a new token continues it', async (t, binary) => {
    const authCallback = keeper((call) => (call === 1 ? { ttl: 2000 } : {}));
    const client = await connected(t, server, { authCallback, useBinaryProtocol: binary });
    const { id } = client.connection;
    const { expires } = client.auth.tokenDetails;
    const change = await next(client.connection, 'disconnected');
    const late = Date.now() - expires;
    assert.equal(change.reason.code, 40142);
    assert.equal(change.reason.statusCode, 401);
    assert.ok(late > -200 && late < 1000, `${late} ms after the end`);
    await reached(client.connection, 'connected');
    assert.equal(client.connection.id, id, 'resumed with the new token');
    assert.equal(authCallback.calls, 2);
  });

  test('of a token that cannot be renewed is the end', async (t) => {
    const { token } = await tokenFor(server, { ttl: 1500 });
    const client = await connected(t, server, { token });
    const disconnected = next(client.connection, 'disconnected');
    const failed = next(client.connection, 'failed');
    assert.equal((await disconnected).reason.code, 40142);
    assert.equal((await failed).reason.code, 40171);
  });

  test('nothing is accepted after it', async (t) => {
    const { token, expires } = await tokenFor(server, { ttl: 2000 });
    const wire = await Wire.connect(server, { access_token: token });
    t.after(() => wire.destroy());
    let accepted = 0;
    let lastAck = 0;
    let open = true;
    wire.closed.then(() => (open = false));
    while (open && Date.now() < expires + 3000) {
      const answer = await wire.publish('until', { name: 'x' }).catch(() => null);
      if (answer?.action === ACTION.ACK) {
        accepted += 1;
        lastAck = Date.now();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(open, false, 'the server ended the connection');
    assert.ok(accepted > 0);
    assert.ok(lastAck <= expires + 1000, `the last acceptance came ${lastAck - expires} ms after the end`);
    const last = wire.seen.findLast((m) => m.action === ACTION.DISCONNECTED || m.action === ACTION.ERROR);
    assert.equal(last?.error?.code, 40142);
    assertError(await request(server, 'GET', '/channels/until/messages', { token }), 401, 40142);
  });

  test('before the connection is a token error, which the SDK answers with one new token', async (t) => {
    const { token } = await tokenFor(server, { ttl: 1 });
    const wire = await Wire.open(server, { access_token: token });
    const error = await wire.next(() => true, 'the refusal');
    assert.equal(error.error.code, 40142);
    assert.equal(error.error.statusCode, 401);
    await wire.closed;
    const stale = jwt(server.key, { claims: { exp: Math.floor(Date.now() / 1000) - 60 } });
    let calls = 0;
    const client = await connected(t, server, {
      authCallback: (params, done) => done(null, (calls += 1) === 1 ? stale : jwt(server.key)),
    });
    assert.equal(calls, 2);
    assert.equal(client.connection.state, 'connected');
  });
});

describe('the prompt', () => {
  both('comes 30 s before the end; the connection goes on with the new token', async (t, binary) => {
    const authCallback = keeper((call) => (call === 1 ? { ttl: 33_000 } : {}));
    const client = realtime(t, server, { authCallback, useBinaryProtocol: binary });
    await reached(client.connection, 'connected');
    const states = [];
    client.connection.on((change) => states.push(change.current));
    const got = await gather(client.channels.get(channelName(t)));
    const { id } = client.connection;
    const first = client.auth.tokenDetails;
    const started = Date.now();
    await next(client.connection, 'update', 12_000);
    const left = first.expires - Date.now();
    assert.ok(left < 31_500 && left > 25_000, `${left} ms before the end (${Date.now() - started} ms waited)`);
    assert.notEqual(client.auth.tokenDetails.token, first.token);
    assert.equal(client.connection.id, id);
    assert.deepEqual([...new Set(states)], ['connected'], 'never interrupted');
    await client.channels.get(channelName(t)).publish('x', null);
    assert.deepEqual(await got.fence(client), []);
  });

  test('is an AUTH without a token in it; short lives get none', async (t) => {
    const { token } = await tokenFor(server, { ttl: 3000 });
    const short = await Wire.connect(server, { access_token: token });
    await short.closed;
    assert.equal(short.seen.some((m) => m.action === ACTION.AUTH), false, 'nothing to win with 3 s left');
    const longer = await tokenFor(server, { ttl: 31_000 });
    const wire = await Wire.connect(server, { access_token: longer.token });
    t.after(() => wire.destroy());
    // Due 30 s before the end, and not within 5 s of the token's coming.
    const prompt = await wire.expect(ACTION.AUTH, undefined, 15_000);
    assert.ok(!prompt.auth?.accessToken);
  });
});

describe('re-authentication', () => {
  const authorize = (client, token) => within(8000, client.auth.authorize(null, { token }), 'authorize');

  both('with more rights opens what was shut', async (t, binary) => {
    const few = await tokenFor(server, { clientId: 'ann', capability: '{"wrong":["*"]}' });
    const client = await connected(t, server, { token: few.token, useBinaryProtocol: binary });
    await refused(client.channels.get('right').attach(), 40160);
    const more = await tokenFor(server, { clientId: 'ann', capability: '{"wrong":["*"],"right":["*"]}' });
    await authorize(client, more.token);
    await client.channels.get('right').attach();
  });

  both('with publish added widens the attachment as it stands', async (t, binary) => {
    const name = channelName(t);
    const few = await tokenFor(server, { capability: JSON.stringify({ [name]: ['subscribe'] }) });
    const client = await connected(t, server, { token: few.token, useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    await channel.attach();
    await refused(channel.publish('x', null), 40160, 401);
    const more = await tokenFor(server, { capability: JSON.stringify({ [name]: ['subscribe', 'publish'] }) });
    await authorize(client, more.token);
    assert.equal(channel.state, 'attached');
    await channel.publish('x', null);
  });

  both('with fewer rights shuts what was open', async (t, binary) => {
    const name = channelName(t);
    const full = await tokenFor(server, { clientId: 'ann', capability: JSON.stringify({ [name]: ['*'], other: ['*'] }) });
    const client = await connected(t, server, { token: full.token, useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    const got = await gather(channel);
    const failed = next(channel, 'failed');
    const less = await tokenFor(server, { clientId: 'ann', capability: '{"other":["*"]}' });
    await authorize(client, less.token);
    assert.equal((await failed).reason.code, 40160);
    assert.equal(client.connection.state, 'connected');
    await request(server, 'POST', `/channels/${encodeURIComponent(name)}/messages`, { body: { name: 'secret' } });
    await client.channels.get('other').attach();
    assert.deepEqual(got.items, [], 'nothing is heard any more');
  });

  both('without publish keeps the attachment and refuses the publish', async (t, binary) => {
    const name = channelName(t);
    const full = await tokenFor(server, { capability: JSON.stringify({ [name]: ['subscribe', 'publish'] }) });
    const client = await connected(t, server, { token: full.token, useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    await channel.attach();
    await channel.publish('x', null);
    const less = await tokenFor(server, { capability: JSON.stringify({ [name]: ['subscribe'] }) });
    await authorize(client, less.token);
    await channel.attach();
    assert.equal(channel.state, 'attached');
    await refused(channel.publish('x', null), 40160, 401);
  });

  test('cannot change the clientId: 40102 and the end', async (t) => {
    const ann = await tokenFor(server, { clientId: 'ann' });
    const wire = await Wire.connect(server, { access_token: ann.token });
    t.after(() => wire.destroy());
    await wire.attach('c');
    const bob = await tokenFor(server, { clientId: 'bob' });
    wire.send({ action: ACTION.AUTH, auth: { accessToken: bob.token } });
    const answer = await wire.next((m) => m.action === ACTION.ERROR && m.channel === undefined, 'the refusal');
    assert.equal(answer.error.code, 40102);
    await wire.closed;
  });

  for (const [what, token] of Object.entries({ nonsense: 'nonsense', empty: '', 'a wrong signature': null })) {
    test(`with a bad token is refused (${what})`, async (t) => {
      const wire = await Wire.connect(server);
      t.after(() => wire.destroy());
      wire.send({ action: ACTION.AUTH, auth: { accessToken: token ?? jwt(server.key, { secret: 'wrong' }) } });
      const answer = await wire.next((m) => [ACTION.ERROR, ACTION.DISCONNECTED].includes(m.action), 'the refusal');
      assert.ok(answer.error.code >= 40000 && answer.error.code < 40200, `code ${answer.error.code}`);
    });
  }

  test('many at once: each is answered, the last one counts', async (t) => {
    const client = await connected(t, server, { authCallback: keeper({ capability: '{"wrong":["*"]}' }) });
    const tokens = await Promise.all(['a', 'b', 'c', 'right'].map((c) => tokenFor(server, { capability: JSON.stringify({ [c]: ['*'] }) })));
    await Promise.all(tokens.map(({ token }) => authorize(client, token)));
    await client.channels.get('right').attach();
    await refused(client.channels.get('a').attach(), 40160);
  });

  test('leaves the attachments as they are', async (t) => {
    const name = channelName(t);
    const { token } = await tokenFor(server);
    const wire = await Wire.connect(server, { access_token: token });
    t.after(() => wire.destroy());
    await wire.attach(name, { flags: FLAG.SUBSCRIBE | FLAG.PUBLISH });
    wire.send({ action: ACTION.AUTH, auth: { accessToken: (await tokenFor(server)).token } });
    const again = await wire.expect(ACTION.CONNECTED);
    assert.equal(again.connectionId, wire.id);
    await wire.publish(name, { name: 'x' });
    assert.equal((await wire.message(name)).messages[0].name, 'x');
    assert.equal(wire.seen.filter((m) => m.action === ACTION.ATTACHED).length, 1);
  });
});
