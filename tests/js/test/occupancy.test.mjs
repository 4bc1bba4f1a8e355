// Occupancy and metachannels: who is on a channel, told as it changes; and the life of channels and connections.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { Wire } from '../../lib/wire.mjs';
import { keyWith, provision } from '../../lib/http.mjs';
import { both, channelName, connected, gather, refused, test, within } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

/** Waits until an occupancy event says what is expected. */
async function settled(channel, expected, act = async () => {}) {
  let last;
  const found = new Promise((resolve) => {
    const listener = (message) => {
      last = message.data.metrics ?? message.data;
      if (Object.entries(expected).every(([name, value]) => last[name] === value)) {
        channel.unsubscribe('[meta]occupancy', listener);
        resolve(last);
      }
    };
    channel.subscribe('[meta]occupancy', listener);
  });
  await act();
  return within(10_000, found, `occupancy ${JSON.stringify(expected)}`).catch((error) => {
    throw new Error(`${error.message}; last ${JSON.stringify(last)}`);
  });
}

describe('the occupancy parameter', () => {
  both('tells numbers on attaching and at each change', async (t, binary) => {
    const name = channelName(t);
    const watcher = await connected(t, server, { useBinaryProtocol: binary });
    const channel = watcher.channels.get(name, { params: { occupancy: 'metrics' } });
    await settled(channel, { connections: 1, subscribers: 1, presenceMembers: 0 }, () => channel.attach());
    assert.equal(channel.params.occupancy, 'metrics');
    const other = await connected(t, server);
    const there = other.channels.get(name);
    await settled(channel, { connections: 2, subscribers: 2, publishers: 2 }, () => there.attach());
    await settled(channel, { presenceMembers: 2, presenceConnections: 2 }, async () => {
      await there.presence.enterClient('a');
      await there.presence.enterClient('b');
    });
    await settled(channel, { connections: 1, presenceMembers: 0 }, () => there.detach());
  });

  test('may name one number', async (t) => {
    const name = channelName(t);
    const watcher = await connected(t, server);
    const channel = watcher.channels.get(name, { params: { occupancy: 'metrics.subscribers' } });
    const got = await gather(channel, '[meta]occupancy');
    const [event] = await got.until(1);
    assert.deepEqual(Object.keys(event.data.metrics), ['subscribers']);
  });

  test('is no part of the history, nor heard by those who did not ask', async (t) => {
    const name = channelName(t, 'persisted:');
    const watcher = await connected(t, server);
    const channel = watcher.channels.get(name, { params: { occupancy: 'metrics' } });
    await settled(channel, { connections: 1 }, () => channel.attach());
    const other = await connected(t, server);
    const got = await gather(other.channels.get(name));
    const third = await connected(t, server);
    await settled(channel, { connections: 3 }, () => third.channels.get(name).attach());
    await other.channels.get(name).publish('x', null);
    await got.until(1);
    assert.deepEqual(got.items.map((m) => m.name), ['x']);
    assert.deepEqual((await watcher.channels.get(name).history()).items.map((m) => m.name), ['x']);
  });
});

test('an occupancy event says how far the client has come, as every message does', async (t) => {
  const name = channelName(t);
  const wire = await Wire.connect(server);
  t.after(() => wire.destroy());
  const occupied = (count) =>
    wire.next((m) => m.messages?.[0].name === '[meta]occupancy' && JSON.parse(m.messages[0].data).metrics.connections === count, `occupancy ${count}`);
  const { channelSerial } = await wire.attach(name, { params: { occupancy: 'metrics' } });
  assert.equal((await occupied(1)).channelSerial, channelSerial);
  await wire.publish(name, { name: 'x' });
  const message = await wire.next((m) => m.messages?.[0].name === 'x', 'the message');
  const other = await connected(t, server);
  await other.channels.get(name).attach();
  assert.equal((await occupied(2)).channelSerial, message.channelSerial);
});

describe('metachannels', () => {
  const everything = { '[*]*': ['*'], '*': ['*'] };

  test('cannot be published to', async (t) => {
    const app = await keyWith(server, everything);
    const client = await connected(t, app);
    const error = await refused(client.channels.get('[meta]channel.lifecycle').publish('x', null), [40160, 40010, 40100, 40165, 40000]);
    assert.ok(error.statusCode >= 400 && error.statusCode < 500);
  });
});
