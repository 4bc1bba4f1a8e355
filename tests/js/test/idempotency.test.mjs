// Ids that publishers give: the same id twice on a channel is one message, whichever way it comes.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { assertError, request } from '../../lib/http.mjs';
import { both, channelName, connected, gather, range, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const ids = (messages) => messages.map((message) => message.id);

both('realtime: three times the same id is one delivery, three equal results', async (t, binary) => {
  const name = channelName(t);
  const client = await connected(t, server, { useBinaryProtocol: binary });
  const got = await gather(client.channels.get(name));
  const channel = client.channels.get(name);
  const results = await Promise.all(range(3).map((i) => channel.publish({ name: `try${i}`, id: 'same' })));
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(results[2], results[0]);
  const seen = await got.fence(client);
  assert.deepEqual(seen.map((m) => [m.id, m.name]), [['same', 'try0']]);
});

both('REST: repeats at the same time and later are one message', async (t, binary) => {
  const name = channelName(t, 'persisted:');
  const channel = rest(server, { useBinaryProtocol: binary }).channels.get(name);
  const message = { name: 'n', id: 'mine:0' };
  await Promise.all(range(5).map(() => channel.publish(message)));
  await channel.publish(message);
  assert.deepEqual(ids((await channel.history()).items), ['mine:0']);
});

test('REST after realtime, and another connection after that', async (t) => {
  const name = channelName(t);
  const [one, two] = await Promise.all([1, 2].map(() => connected(t, server)));
  const got = await gather(two.channels.get(name));
  await one.channels.get(name).publish({ name: 'a', id: 'shared' });
  await rest(server).channels.get(name).publish({ name: 'b', id: 'shared' });
  await two.channels.get(name).publish({ name: 'c', id: 'shared' });
  assert.deepEqual((await got.fence(one)).map((m) => m.name), ['a']);
});

both('an array is known by its base id', async (t, binary) => {
  const name = channelName(t);
  const client = await connected(t, server, { useBinaryProtocol: binary });
  const got = await gather(client.channels.get(name));
  const batch = range(3).map((i) => ({ name: `m${i}`, id: `base:${i}` }));
  const first = await client.channels.get(name).publish(batch);
  const second = await client.channels.get(name).publish(batch);
  assert.deepEqual(second.serials, first.serials);
  assert.deepEqual(ids(await got.fence(client)), ['base:0', 'base:1', 'base:2']);
});

test('the same id on another channel is another message', async (t) => {
  const [a, b] = [channelName(t), channelName(t)];
  const client = await connected(t, server);
  const gotA = await gather(client.channels.get(a));
  const gotB = await gather(client.channels.get(b));
  await client.channels.get(a).publish({ id: 'x', name: 'n' });
  await client.channels.get(b).publish({ id: 'x', name: 'n' });
  await gotA.until(1);
  await gotB.until(1);
});

test('the same id in another app is another message', async (t) => {
  const { provision } = await import('../../lib/http.mjs');
  const other = await provision(server);
  const name = channelName(t);
  for (const app of [server, other]) {
    const client = await connected(t, app);
    const got = await gather(client.channels.get(name));
    await client.channels.get(name).publish({ id: 'x', name: app.appId });
    assert.equal((await got.until(1))[0].name, app.appId);
  }
});

both('without an id, REST gives one, and says which', async (t, binary) => {
  const name = channelName(t);
  const path = `/channels/${encodeURIComponent(name)}/messages`;
  const one = await request(server, 'POST', path, { binary, body: { name: 'x' } });
  const two = await request(server, 'POST', path, { binary, body: [{ name: 'y' }, { name: 'z' }] });
  assert.equal(one.body.channel, name);
  assert.notEqual(one.body.messageId, two.body.messageId);
  assert.equal(two.body.serials.length, 2);
  const page = await request(server, 'GET', `${path}?direction=forwards`, { binary });
  assert.equal(new Set(ids(page.body)).size, 3);
  assert.ok(page.body[0].id.startsWith(one.body.messageId), `${page.body[0].id} and ${one.body.messageId}`);
});

for (const [what, list] of Object.entries({
  'one with and one without': [{ id: 'a:0' }, {}],
  'two bases': [{ id: 'a:0' }, { id: 'b:1' }],
  'no index': [{ id: 'a' }, { id: 'b' }],
  'a wrong index': [{ id: 'a:0' }, { id: 'a:7' }],
})) {
  test(`several messages with ids that do not fit: ${what}`, async () => {
    assertError(await request(server, 'POST', '/channels/mixed/messages', { body: list }), 400, 40031);
    const page = await request(server, 'GET', '/channels/mixed/messages');
    assert.deepEqual(page.body, [], 'nothing of it was published');
  });
}
