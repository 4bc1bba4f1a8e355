// A restart: SIGTERM tells the clients, they come back to the new server on the same port and directory, nothing durable is lost.

import assert from 'node:assert/strict';
import { Server, freePort, temporaryDirectory } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { assertError, request, requestToken, tokenFor, tokenRequest } from '../../lib/http.mjs';
import { channelName, connected, data, gather, next, range, reached, rest, test, within } from '../sdk.mjs';

async function place(t) {
  const where = { port: await freePort(), dir: temporaryDirectory() };
  const started = [];
  t.after(() => Promise.all(started.map((server) => server.kill())));
  return async () => {
    const server = await Server.start(where);
    started.push(server);
    return server;
  };
}

test('the same directory has the same app, key and durable history', async (t) => {
  const start = await place(t);
  const first = await start();
  const [kept, plain] = ['persisted:kept', 'plain'];
  for (const name of [kept, plain]) {
    for (const i of range(30)) await rest(first).channels.get(name).publish({ name: 'n', data: String(i), extras: { headers: { i } } });
  }
  const before = (await request(first, 'GET', `/channels/${encodeURIComponent(kept)}/messages?limit=100`)).body;
  const end = await first.stop();
  assert.deepEqual(end, { code: 0, signal: null });
  const second = await start();
  assert.equal(second.appId, first.appId);
  assert.equal(second.key, first.key);
  const after = (await request(second, 'GET', `/channels/${encodeURIComponent(kept)}/messages?limit=100`)).body;
  assert.deepEqual(after, before, 'every message, with its id, serial and time');
  assert.deepEqual(data(after), range(30).map(String).reverse());
});

test('what was acknowledged before kill -9 is there after it', async (t) => {
  const start = await place(t);
  const first = await start();
  const channel = rest(first).channels.get('persisted:killed');
  await Promise.all(range(50).map((i) => channel.publish({ id: `k${i}`, name: 'n', data: String(i) })));
  await first.kill();
  const second = await start();
  const items = (await rest(second).channels.get('persisted:killed').history({ limit: 1000 })).items;
  assert.deepEqual(items.map((m) => m.id).sort(), range(50).map((i) => `k${i}`).sort());
  await rest(second).channels.get('persisted:killed').publish({ id: 'k7', name: 'again' });
  const again = (await rest(second).channels.get('persisted:killed').history({ limit: 1000 })).items;
  assert.equal(again.filter((m) => m.id === 'k7').length, 1, 'an id is still known after the restart');
});

test('what was revoked before kill -9 is refused after it', async (t) => {
  const start = await place(t);
  const first = await start();
  const [keyName] = first.key.split(':');
  const { token } = await tokenFor(first, { clientId: 'ann' });
  const { token: other } = await tokenFor(first, { clientId: 'bob' });
  const revoked = await request(first, 'POST', `/keys/${keyName}/revokeTokens`, { body: { targets: ['clientId:ann'] } });
  assert.equal(revoked.status, 201);
  await first.kill();
  const second = await start();
  assertError(await request(second, 'GET', '/channels/x/messages', { token }), 401, 40141);
  assert.equal((await request(second, 'GET', '/channels/x/messages', { token: other })).status, 200);
  const wire = await Wire.open(second, { access_token: token });
  assert.equal((await wire.next(() => true, 'the refusal')).error?.code, 40141);
  wire.destroy();
});

test('a token request that was used before kill -9 is not good again; one that was not still is', async (t) => {
  const start = await place(t);
  const first = await start();
  // Signed ahead of the server's next start, so that its age alone says nothing.
  const [used, unused] = range(2).map(() => tokenRequest(first.key, { timestamp: Date.now() + 60_000 }));
  const early = tokenRequest(first.key);
  const path = `/keys/${used.keyName}/requestToken`;
  const ask = (server, body) => request(server, 'POST', path, { authorization: null, body });
  assert.equal((await ask(first, used)).status, 201);
  await first.kill();
  const second = await start();
  assertError(await ask(second, used), 401, 40105);
  assert.equal((await ask(second, unused)).status, 201);
  assert.equal((await ask(second, early)).status, 201, 'signed before the start, and never used');
  assertError(await ask(second, early), 401, 40105);
});

test('many come back while others publish already: ATTACHED first, then the missed, then the live, nothing twice', async (t) => {
  const start = await place(t);
  let server = await start();
  const names = range(3).map((i) => `persisted:cold-${i}`);
  const sent = names.map(() => 0);
  const publish = async (c, count) => {
    const wire = await Wire.connect(server);
    const from = sent[c];
    sent[c] += count;
    for (let i = from; i < from + count; i += 10) await Promise.all(range(10, i).map((n) => wire.publish(names[c], { id: `m${n}` })));
    wire.destroy();
  };
  const first = await Wire.connect(server);
  const begin = await Promise.all(names.map((name) => first.attach(name)));
  const listeners = range(8).map(() => names.map((_, c) => ({ serial: begin[c].channelSerial, seen: [] })));
  for (let round = 0; round < 6; round++) {
    await Promise.all(names.map((_, c) => publish(c, 50))); // nobody listens: this is what is missed
    await server.kill();
    server = await start();
    const publishing = names.map((_, c) => publish(c, 50));
    const listening = listeners.map(async (places) => {
      const wire = await Wire.connect(server);
      names.forEach((channel, c) => wire.send({ action: ACTION.ATTACH, channel, channelSerial: places[c].serial }));
      for (const [c, at] of places.entries()) {
        const word = await wire.next((m) => m.channel === names[c], 'the first word of the channel');
        assert.equal(word.action, ACTION.ATTACHED, `round ${round}: ${JSON.stringify(word)} before ATTACHED`);
        while (at.seen.length < (round + 1) * 100) {
          const frame = await wire.message(names[c]);
          at.serial = frame.channelSerial;
          at.seen.push(...frame.messages.map((m) => m.id));
        }
      }
      wire.destroy();
    });
    await Promise.all([...publishing, ...listening]);
  }
  for (const at of listeners.flat()) assert.deepEqual(at.seen, range(600).map((i) => `m${i}`));
});

test('SIGTERM tells the clients before it ends', async (t) => {
  const start = await place(t);
  const server = await start();
  const wire = await Wire.connect(server);
  await wire.attach('c');
  const told = wire.next((m) => m.action === ACTION.DISCONNECTED, 'DISCONNECTED', 12_000);
  const ended = server.stop();
  const message = await told;
  assert.ok(message.error, 'with a reason');
  assert.ok(message.error.code < 40140 || message.error.code > 40149, 'no token error: the credentials are still good');
  assert.equal((await ended).code, 0);
});

for (const binary of [false, true]) {
  test(`clients come back, go on, and durable channels have no gap (${binary ? 'msgpack' : 'json'})`, async (t) => {
    const start = await place(t);
    const first = await start();
    const name = channelName(t, 'persisted:');
    const options = { useBinaryProtocol: binary, disconnectedRetryTimeout: 150 };
    const subscriber = await connected(t, first, options);
    const publisher = await connected(t, first, options);
    const got = await gather(subscriber.channels.get(name));
    const sending = range(20).map((i) => publisher.channels.get(name).publish({ name: 'n', id: `a${i}`, data: String(i) }));
    await Promise.all(sending);
    await got.until(20);
    const downs = [subscriber, publisher].map((client) => next(client.connection, 'disconnected'));
    await first.stop();
    await Promise.all(downs);
    const queued = range(20, 20).map((i) => publisher.channels.get(name).publish({ name: 'n', id: `a${i}`, data: String(i) }));
    const attached = next(subscriber.channels.get(name), 'attached', 20_000);
    const second = await start();
    await Promise.all([subscriber, publisher].map((client) => reached(client.connection, 'connected', 20_000)));
    const { resumed } = await attached;
    await within(20_000, Promise.all(queued), 'what was published meanwhile');
    await rest(second).channels.get(name).publish('n', 'end');
    while (got.items.at(-1)?.data !== 'end') await got.until(got.items.length + 1);
    const seen = data(got.items);
    const expected = [...range(40).map(String), 'end'];
    if (resumed) assert.deepEqual(seen, expected, 'told that nothing is missing: nothing may be missing');
    else assert.deepEqual([...new Set(seen)], seen, 'nothing twice');
    const history = (await rest(second).channels.get(name).history({ limit: 100, direction: 'forwards' })).items;
    assert.deepEqual(data(history), expected);
  });
}

test('tokens outlive the server, revoked and used ones as well', async (t) => {
  const start = await place(t);
  const first = await start();
  const { token } = await tokenFor(first, { clientId: 'ann' });
  await first.stop();
  const second = await start();
  assert.equal((await request(second, 'GET', '/channels/x/messages', { token })).status, 200);
  assert.ok((await requestToken(second)).status < 300);
});

test('a second server on the same directory or port is refused with a word, and the first goes on', async (t) => {
  const start = await place(t);
  const first = await start();
  await assert.rejects(start(), /ended before it was ready/);
  await assert.rejects(Server.start({ dir: first.dir }), /ended before it was ready/);
  assert.equal((await request(first, 'GET', '/time')).status, 200);
});
