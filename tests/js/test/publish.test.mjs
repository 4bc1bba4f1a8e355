// Publishing over realtime: order for everyone, echo, transient publishing, acknowledgements with serials, limits.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { assertError, request } from '../../lib/http.mjs';
import { both, channelName, connected, data, gather, range, refused, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

describe('order', () => {
  both('two publishers, three subscribers: one order for all, each publisher in its own', async (t, binary) => {
    const name = channelName(t);
    const clients = await Promise.all(range(5).map((i) => connected(t, server, { useBinaryProtocol: (i % 2 === 0) === binary })));
    const gathered = await Promise.all(clients.slice(0, 3).map((c) => gather(c.channels.get(name))));
    const publishers = clients.slice(3).map((c) => c.channels.get(name));
    const acks = publishers.flatMap((channel, p) => range(100).map((i) => channel.publish(`p${p}`, i + '')));
    await Promise.all(acks);
    const seen = [];
    for (const each of gathered) {
      await each.until(200);
      seen.push(each.items.map((m) => `${m.name}/${m.data}`));
    }
    assert.deepEqual(seen[1], seen[0], 'the second subscriber saw another order');
    assert.deepEqual(seen[2], seen[0], 'the third subscriber saw another order');
    for (const p of ['p0', 'p1']) {
      assert.deepEqual(gathered[0].items.filter((m) => m.name === p).map((m) => m.data), range(100).map(String));
    }
  });

  both('1,000 messages at full speed arrive once each, in order, and every one is acknowledged', async (t, binary) => {
    const name = channelName(t);
    const [from, to] = await Promise.all([1, 2].map(() => connected(t, server, { useBinaryProtocol: binary })));
    const got = await gather(to.channels.get(name));
    const results = await Promise.all(range(1000).map((i) => from.channels.get(name).publish('n', String(i))));
    await got.until(1000);
    assert.deepEqual(data(await got.fence(from)), range(1000).map(String));
    const serials = results.map((result) => result.serials[0]);
    assert.ok(serials.every((serial) => typeof serial === 'string'), 'a serial for each');
    assert.equal(new Set(serials).size, 1000);
    assert.deepEqual([...serials].sort(), serials, 'serials sort as the messages were published');
  });

  both('an array stays together, with ids base:0, base:1, …', async (t, binary) => {
    const name = channelName(t);
    const [from, to] = await Promise.all([1, 2].map(() => connected(t, server, { useBinaryProtocol: binary })));
    const got = await gather(to.channels.get(name));
    const { serials } = await from.channels.get(name).publish(range(5).map((i) => ({ name: `n${i}`, data: `${i}` })));
    assert.equal(serials.length, 5, 'one serial for each message of the array');
    const items = await got.until(5);
    assert.deepEqual(items.map((m) => m.name), range(5).map((i) => `n${i}`));
    const base = items[0].id.replace(/:0$/, '');
    assert.deepEqual(items.map((m) => m.id), range(5).map((i) => `${base}:${i}`));
  });
});

describe('echo', () => {
  both('echoMessages: false hides only one\'s own', async (t, binary) => {
    const name = channelName(t);
    const quiet = await connected(t, server, { echoMessages: false, useBinaryProtocol: binary });
    const other = await connected(t, server, { useBinaryProtocol: binary });
    const own = await gather(quiet.channels.get(name));
    const others = await gather(other.channels.get(name));
    await quiet.channels.get(name).publish('mine', 'x');
    await other.channels.get(name).publish('theirs', 'y');
    await others.until(2);
    assert.deepEqual((await own.fence(other)).map((m) => m.name), ['theirs']);
    assert.deepEqual(others.items.slice(0, 2).map((m) => m.name), ['mine', 'theirs']);
  });

  test('the channel parameter echo=false does it for one channel', async (t) => {
    const name = channelName(t);
    const client = await connected(t, server);
    const other = await connected(t, server);
    const channel = client.channels.get(name, { params: { echo: 'false' } });
    const quiet = await gather(channel);
    const loud = await gather(client.channels.get(`${name}-loud`));
    assert.equal(channel.params.echo, 'false');
    await channel.publish('mine', null);
    await client.channels.get(`${name}-loud`).publish('mine', null);
    await loud.until(1);
    assert.deepEqual(await quiet.fence(other), []);
  });
});

both('a transient publish needs no attachment', async (t, binary) => {
  const name = channelName(t);
  const from = await connected(t, server, { useBinaryProtocol: binary });
  const to = await connected(t, server, { useBinaryProtocol: !binary });
  const got = await gather(to.channels.get(name));
  const channel = from.channels.get(name);
  await channel.publish('t', 'transient');
  assert.equal(channel.state, 'initialized');
  const [message] = await got.until(1);
  assert.equal(message.data, 'transient');
  assert.equal(message.connectionId, from.connection.id);
});

describe('a delivered message', () => {
  both('names its publisher, time and id', async (t, binary) => {
    const name = channelName(t);
    const from = await connected(t, server, { clientId: 'ann', useBinaryProtocol: binary });
    const got = await gather(from.channels.get(name));
    await from.channels.get(name).publish('first', 'x');
    await from.channels.get(name).publish({ name: 'second', data: 'y', clientId: 'ann' });
    const [first, second] = await got.until(2);
    assert.match(first.id, new RegExp(`^${from.connection.id}:\\d+:0$`));
    assert.equal(first.connectionId, from.connection.id);
    assert.equal(first.clientId, 'ann', 'stamped where it was implicit');
    assert.equal(second.clientId, 'ann');
    assert.ok(Math.abs(first.timestamp - Date.now()) < 60_000);
  });

  both('has absent fields absent and empty ones empty', async (t, binary) => {
    const name = channelName(t);
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    await wire.attach(name);
    await wire.publish(name, [{}, { name: 'only' }, { data: '' }, { name: null, data: null }]);
    const { messages } = await wire.message(name);
    const shape = messages.map((m) => ['name', 'data', 'encoding', 'extras', 'clientId'].filter((k) => k in m));
    assert.deepEqual(shape, [[], ['name'], ['data'], []]);
    assert.equal(messages[2].data, '');
  });
});

describe('acknowledgements', () => {
  both('are in order, count frames, and carry a serial for each message', async (t, binary) => {
    const name = channelName(t);
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    for (let i = 0; i < 20; i++) {
      wire.send({ action: ACTION.MESSAGE, channel: name, msgSerial: i, messages: range(i % 3 + 1).map((n) => ({ name: `${i}-${n}` })) });
    }
    await wire.outcome(19);
    const acks = wire.seen.filter((m) => m.action === ACTION.ACK);
    let expected = 0;
    for (const ack of acks) {
      assert.equal(ack.msgSerial, expected, 'no gap, no step back (and 0 is written out)');
      assert.ok(ack.count >= 1);
      assert.equal(ack.res.length, ack.count, 'one result for each frame');
      ack.res.forEach((result, i) => assert.equal(result.serials.length, (expected + i) % 3 + 1));
      expected += ack.count;
    }
    assert.equal(expected, 20);
  });

  both('a refusal counts too', async (t, binary) => {
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    const nack = await wire.publish(':bad', { name: 'x' });
    assert.equal(nack.action, ACTION.NACK);
    assert.equal(nack.msgSerial, 0);
    assert.equal(nack.count, 1);
    assert.equal(nack.error.code, 40010);
    assert.equal(nack.error.statusCode, 400);
    assert.equal((await wire.publish('good', { name: 'x' })).action, ACTION.ACK);
  });

  test('_forceNack makes one on demand, over realtime and REST', async (t) => {
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    const nack = await wire.publish('forced', { name: 'x' }, { params: { _forceNack: 'true' } });
    assert.equal(nack.error?.code, 40099);
    await refused(rest(server).channels.get('forced').publish({ name: 'x' }, { _forceNack: 'true' }), 40099, 400);
  });
});

describe('limits', () => {
  both('a message over 64 KiB is refused, the next is not', async (t, binary) => {
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    const nack = await wire.publish('large', { data: 'x'.repeat(65_537) });
    assert.equal(nack.action, ACTION.NACK);
    assert.equal(nack.error.code, 40009);
    assert.equal((await wire.publish('large', { data: 'x'.repeat(60_000) })).action, ACTION.ACK);
    const answer = await request(server, 'POST', '/channels/large/messages', { binary, body: { data: 'x'.repeat(65_537) } });
    assertError(answer, 400, 40009);
  });

  for (const value of [5, true, 1.5]) {
    test(`data ${value} is no payload`, async (t) => {
      const wire = await Wire.connect(server);
      t.after(() => wire.destroy());
      const nack = await wire.publish('types', { data: value });
      assert.equal(nack.error?.code, 40013);
      assertError(await request(server, 'POST', '/channels/types/messages', { body: { data: value } }), 400, 40013);
    });
  }
});

describe('ephemeral messages', () => {
  both('are delivered and not remembered', async (t, binary) => {
    const name = channelName(t, 'persisted:');
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const got = await gather(client.channels.get(name));
    await client.channels.get(name).publish({ name: 'passing', extras: { ephemeral: true } });
    await rest(server).channels.get(name).publish({ name: 'passing too' }, { ephemeral: 'true' });
    await client.channels.get(name).publish({ name: 'kept' });
    await got.until(3);
    const history = await client.channels.get(name).history();
    assert.deepEqual(history.items.map((m) => m.name), ['kept']);
    const late = await connected(t, server);
    const rewound = await gather(late.channels.get(name, { params: { rewind: '10' } }));
    assert.deepEqual((await rewound.fence(client)).map((m) => m.name), ['kept']);
  });
});
