// Attaching: modes and parameters as asked, permitted and granted; names that are none; detaching and asking again.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, FLAG, Wire } from '../../lib/wire.mjs';
import { assertError, keyWith, request } from '../../lib/http.mjs';
import { both, channelName, connected, gather, next, reached, refused, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const defaults = ['presence', 'publish', 'subscribe', 'presence_subscribe', 'annotation_publish'];

describe('modes', () => {
  both('are the defaults where none are asked for', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(channelName(t));
    const change = await channel.attach();
    assert.deepEqual(channel.modes, defaults);
    assert.deepEqual(channel.params, {});
    assert.equal(change.resumed, false);
    assert.ok(!change.hasBacklog);
  });

  both('are those asked for by flags', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(channelName(t), { modes: ['publish', 'presence_subscribe'] });
    await channel.attach();
    assert.deepEqual(channel.modes, ['publish', 'presence_subscribe']);
    assert.ok(!('modes' in channel.params));
  });

  both('are those asked for by params, which win and are told', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(channelName(t), { modes: ['publish'], params: { modes: 'presence,subscribe' } });
    await channel.attach();
    assert.deepEqual(channel.modes, ['presence', 'subscribe']);
    assert.deepEqual(channel.params, { modes: 'presence,subscribe' });
  });

  test('are no more than the key permits', async (t) => {
    const app = await keyWith(server, { 'here:*': ['subscribe'], both: ['subscribe', 'publish'] });
    const client = await connected(t, app);
    const one = client.channels.get('here:a');
    await one.attach();
    assert.deepEqual(one.modes, ['subscribe', 'presence_subscribe']);
    const two = client.channels.get('both', { modes: ['publish', 'presence'] });
    await two.attach();
    assert.deepEqual(two.modes, ['publish']);
  });

  test('that come to nothing refuse the attachment with 40160', async (t) => {
    const app = await keyWith(server, { here: ['subscribe'] });
    const client = await connected(t, app);
    await refused(client.channels.get('here', { modes: ['publish'] }).attach(), 40160, 401);
    await refused(client.channels.get('elsewhere').attach(), 40160, 401);
    assert.equal(client.connection.state, 'connected');
    await client.channels.get('here', { modes: ['subscribe'] }).attach().catch(() => {});
  });

  both('decide what passes: no publish mode is 40165, no subscribe mode is silence', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const listener = client.channels.get(name, { modes: ['subscribe'] });
    const heard = await gather(listener);
    await refused(listener.publish('x', null), 40165, 401);
    await refused(listener.presence.enterClient('me'), 40165, 401);

    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    await wire.attach(name, { flags: FLAG.PUBLISH });
    assert.equal((await wire.publish(name, { name: 'from a publisher' })).action, ACTION.ACK);
    await heard.until(1);
    await wire.roundTrip();
    assert.deepEqual(wire.seen.filter((m) => m.action === ACTION.MESSAGE), [], 'not subscribed, nothing heard');
  });
});

describe('params', () => {
  both('unknown ones are dropped, known ones told as text', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(channelName(t), { params: { nonexistent: 'foo', rewind: '1', delta: 'vcdiff' } });
    await channel.attach();
    assert.deepEqual(channel.params, { rewind: '1', delta: 'vcdiff' });
  });

  both('setOptions asks again on an attached channel', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    const got = await gather(channel);
    await channel.setOptions({ modes: ['subscribe'] });
    assert.deepEqual(channel.modes, ['subscribe']);
    await refused(channel.publish('x', null), [40160, 40165]);
    await channel.setOptions({ modes: ['publish', 'subscribe'], params: { rewind: '1' } });
    assert.deepEqual(channel.modes, ['publish', 'subscribe']);
    await channel.publish('now', null);
    assert.deepEqual((await got.until(1)).map((m) => m.name), ['now']);
  });

  test('asking again loses no message (what was under way may come twice)', async (t) => {
    const name = channelName(t);
    const client = await connected(t, server);
    const publisher = await connected(t, server);
    const channel = client.channels.get(name);
    const got = await gather(channel);
    const sent = [];
    for (let i = 0; i < 200; i++) {
      sent.push(publisher.channels.get(name).publish('n', String(i)));
      if (i % 50 === 25) await channel.setOptions({ params: { rewind: String(i % 3 + 1) } });
    }
    await Promise.all(sent);
    const seen = (await got.fence(publisher)).map((m) => Number(m.data));
    // The SDK offers its last serial and goes on listening, so a replay from there can repeat; it must not skip or reorder.
    assert.deepEqual([...new Set(seen)], sent.map((_, i) => i));
  });

  test('may stand in the name, and the name is told as it was asked', async (t) => {
    const name = channelName(t);
    const client = await connected(t, server);
    await client.channels.get(name).publish('before', null);
    const qualified = client.channels.get(`[?rewind=1]${name}`);
    const got = await gather(qualified);
    assert.equal((await got.until(1))[0].name, 'before');
    await client.channels.get(name).publish('after', null);
    assert.equal((await got.until(2))[1].name, 'after');
  });
});

describe('names', () => {
  const bad = ['', ':hell', '::', ',comma', ' space', '[', '[unknown]x', 'line\nbreak'];
  for (const binary of [false, true]) {
    test(`that are none are refused for that channel alone (${binary ? 'msgpack' : 'json'})`, async (t) => {
      const wire = await Wire.connect(server, {}, { binary });
      t.after(() => wire.destroy());
      for (const name of bad) {
        wire.send({ action: ACTION.ATTACH, channel: name });
        const error = await wire.next((m) => m.action === ACTION.ERROR, `the refusal of ${JSON.stringify(name)}`);
        assert.equal(error.channel, name, 'the channel is named, even an empty one');
        assert.equal(error.error.code, 40010, JSON.stringify(name));
        assert.equal(error.error.statusCode, 400);
        assert.equal((await wire.publish(name, { name: 'x' })).error?.code, 40010);
      }
      await wire.attach('good');
    });
  }

  test('that are none are refused by REST', async () => {
    for (const name of bad.filter(Boolean)) {
      const path = `/channels/${encodeURIComponent(name)}/messages`;
      assertError(await request(server, 'POST', path, { body: { name: 'x' } }), 400, 40010);
      assertError(await request(server, 'GET', path), 400, 40010);
    }
  });

  test('differ by case, and may hold anything else', async (t) => {
    const odd = ['Case', 'case', 'with/slash', 'with space', 'ünï😅', 'per%25cent', 'q?x=1&y#z', 'a'.repeat(500)].map((n) => `${n}-${process.pid}`);
    const client = await connected(t, server);
    const all = await Promise.all(odd.map((name) => gather(client.channels.get(name))));
    for (const name of odd) {
      const path = `/channels/${encodeURIComponent(name)}/messages`;
      const answer = await request(server, 'POST', path, { body: { data: name } });
      assert.equal(answer.status, 201, name);
      assert.equal(answer.body.channel, name);
    }
    for (const [i, got] of all.entries()) {
      assert.deepEqual((await got.fence(client)).map((m) => m.data), [odd[i]]);
    }
  });
});

describe('detaching', () => {
  both('ends the messages; attaching again starts them anew', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    const got = await gather(channel);
    await channel.detach();
    assert.equal(channel.state, 'detached');
    await channel.publish('unheard', null);
    const change = await channel.attach();
    assert.equal(change.resumed, false);
    await channel.publish('heard', null);
    assert.deepEqual((await got.until(1)).map((m) => m.name), ['heard']);
  });

  test('is answered even where nothing is attached', async (t) => {
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    wire.send({ action: ACTION.DETACH, channel: 'never' });
    await wire.expect(ACTION.DETACHED, 'never');
  });

  test('many channels on one connection keep apart', async (t) => {
    const client = await connected(t, server);
    const base = channelName(t);
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => gather(client.channels.get(`${base}-${i}`))));
    await Promise.all(all.map((_, i) => client.channels.get(`${base}-${i}`).publish('n', String(i))));
    for (const [i, got] of all.entries()) assert.deepEqual((await got.until(1)).map((m) => m.data), [String(i)]);
  });
});

test('ATTACHED names a channelSerial, also on an empty channel', async (t) => {
  const wire = await Wire.connect(server);
  t.after(() => wire.destroy());
  const attached = await wire.attach(channelName(t));
  assert.equal(typeof attached.channelSerial, 'string');
  assert.ok(attached.channelSerial.length > 0);
});

test('a failed channel can be attached again once the server agrees', async (t) => {
  const app = await keyWith(server, { right: ['*'] });
  const client = await connected(t, app);
  const channel = client.channels.get('wrong');
  const failed = next(channel, 'failed');
  await refused(channel.attach(), 40160);
  assert.equal((await failed).reason.code, 40160);
  await reached(client.connection, 'connected');
  await client.channels.get('right').attach();
});
