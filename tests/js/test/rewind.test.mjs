// Joining late: rewind, and history up to the point of attachment; no gap and no repetition at the seam.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { assertError, request } from '../../lib/http.mjs';
import { Server } from '../../lib/server.mjs';
import { FLAG, Wire } from '../../lib/wire.mjs';
import { allPages, both, channelName, connected, data, gather, range, refused, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

async function published(name, count) {
  await rest(server).channels.get(name).publish(range(count).map((i) => ({ name: 'n', data: String(i) })));
}

describe('rewind', () => {
  for (const prefix of ['', 'persisted:']) {
    both(`by count on ${prefix || 'a plain channel'}`, async (t, binary) => {
      const name = channelName(t, prefix);
      await published(name, 10);
      const client = await connected(t, server, { useBinaryProtocol: binary });
      const channel = client.channels.get(name, { params: { rewind: '3' } });
      const got = await gather(channel);
      assert.ok(got.change.hasBacklog, 'told that something follows');
      assert.equal(got.change.resumed, false);
      await channel.publish('live', null);
      await got.until(4);
      assert.deepEqual(got.items.map((m) => m.data ?? m.name), ['7', '8', '9', 'live']);
    });
  }

  both('by time', async (t, binary) => {
    const name = channelName(t);
    await published(name, 4);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const got = await gather(client.channels.get(name, { params: { rewind: '2m', rewindLimit: '3' } }));
    assert.deepEqual(data(await got.fence(client)), ['1', '2', '3']);
    const seconds = await gather((await connected(t, server)).channels.get(name, { params: { rewind: '100s' } }));
    assert.deepEqual(data(await seconds.fence(client)), ['0', '1', '2', '3']);
  });

  test('of an empty channel promises nothing', async (t) => {
    const client = await connected(t, server);
    const got = await gather(client.channels.get(channelName(t), { params: { rewind: '1' } }));
    assert.ok(!got.change.hasBacklog);
    assert.deepEqual(await got.fence(client), []);
  });

  test('more than there is gives what there is; more than 100 gives 100', async (t) => {
    const few = channelName(t);
    await published(few, 2);
    const client = await connected(t, server);
    const got = await gather(client.channels.get(few, { params: { rewind: '50' } }));
    assert.deepEqual(data(await got.fence(client)), ['0', '1']);
    const many = channelName(t);
    await published(many, 150);
    const most = await gather(client.channels.get(many, { params: { rewind: '100' } }));
    assert.deepEqual(data(await most.fence(client)), range(100, 50).map(String));
  });

  for (const prefix of ['', 'persisted:']) {
    both(`that is cut by the server says so with 90004 (${prefix || 'plain'})`, async (t, binary) => {
      const name = channelName(t, prefix);
      await published(name, 100);
      const client = async () => connected(t, server, { useBinaryProtocol: binary });
      const began = async (params, expected, reason) => {
        const got = await gather((await client()).channels.get(name, { params }));
        assert.equal(got.change.reason?.code, reason, JSON.stringify(params));
        assert.equal(got.change.reason?.statusCode, reason && 404);
        assert.deepEqual(data(await got.until(expected.length)), expected.map(String), JSON.stringify(params));
      };
      await began({ rewind: '150' }, range(100), undefined);
      await rest(server).channels.get(name).publish('n', '100');
      await began({ rewind: '150' }, range(100, 1), 90004);
      await began({ rewind: '100' }, range(100, 1), undefined);
      await began({ rewind: '90s' }, range(100, 1), 90004);
      // The client's own limit takes nothing from it that it wants.
      await began({ rewind: '90s', rewindLimit: '5' }, range(5, 96), undefined);
      await began({ rewind: '90s', rewindLimit: '500' }, range(100, 1), 90004);
    });
  }

  test('works again after a detach', async (t) => {
    const name = channelName(t);
    await published(name, 3);
    const client = await connected(t, server);
    const channel = client.channels.get(name, { params: { rewind: '2' } });
    const got = await gather(channel);
    assert.deepEqual(data(await got.until(2)), ['1', '2']);
    await channel.detach();
    await channel.attach();
    assert.deepEqual(data(await got.until(4)), ['1', '2', '1', '2']);
  });

  test('does not work on a mere re-attach, nor with the resume flag of older SDKs', async (t) => {
    const name = channelName(t);
    await published(name, 3);
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    const params = { rewind: '2' };
    await wire.attach(name, { params });
    const old = [];
    let channelSerial;
    while (old.length < 2) {
      const frame = await wire.message(name);
      old.push(...frame.messages);
      channelSerial = frame.channelSerial;
    }
    await wire.attach(name, { params, channelSerial });
    await wire.publish(name, { name: 'fence' });
    assert.equal((await wire.message(name)).messages[0].name, 'fence', 'nothing came again');
    const other = await Wire.connect(server);
    t.after(() => other.destroy());
    await other.attach(name, { params, flags: FLAG.ATTACH_RESUME });
    await wire.publish(name, { name: 'second fence' });
    assert.equal((await other.message(name)).messages[0].name, 'second fence');
  });

  for (const bad of ['x', '-1', '5y', '']) {
    test(`"${bad}" is no rewind`, async (t) => {
      const client = await connected(t, server);
      const error = await refused(client.channels.get(channelName(t), { params: { rewind: bad } }).attach(), [40000, 40003]);
      assert.equal(error.statusCode, 400);
      assert.equal(client.connection.state, 'connected');
    });
  }

  for (const binary of [false, true]) {
    test(`joins the live messages without gap or repetition, whenever (${binary ? 'msgpack' : 'json'})`, async (t) => {
      const name = channelName(t);
      const publisher = await connected(t, server);
      const sending = [];
      let sent = 0;
      const timer = setInterval(() => {
        for (let i = 0; i < 5; i++) sending.push(publisher.channels.get(name).publish('n', String(sent++)));
      }, 2);
      t.after(() => clearInterval(timer));
      const joined = [];
      for (let i = 0; i < 12; i++) {
        const client = await connected(t, server, { useBinaryProtocol: binary });
        joined.push(await gather(client.channels.get(name, { params: { rewind: '20' } })));
      }
      clearInterval(timer);
      await Promise.all(sending);
      for (const got of joined) {
        const seen = (await got.fence(publisher)).map((m) => Number(m.data));
        assert.ok(seen.length >= 20 || seen[0] === 0);
        assert.deepEqual(seen, range(sent - seen[0], seen[0]), 'one unbroken run to the end');
      }
    });
  }
});

describe('history until the attachment', () => {
  both('is what came before it, all of it and nothing else', async (t, binary) => {
    const name = channelName(t, 'persisted:');
    await published(name, 25);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const channel = client.channels.get(name);
    await channel.attach();
    for (const i of range(5)) await rest(server).channels.get(name).publish('later', String(i));
    const pages = await allPages(await channel.history({ untilAttach: true, limit: 10 }));
    assert.deepEqual(pages.map((page) => page.length), [10, 10, 5]);
    assert.deepEqual(data(pages.flat()), range(25).map(String).reverse());
    assert.equal((await channel.history()).items.length, 30);
  });

  test('and the live messages make one whole, whenever one joins', async (t) => {
    const name = channelName(t, 'persisted:');
    const publisher = await connected(t, server);
    const sending = [];
    let sent = 0;
    const timer = setInterval(() => {
      for (let i = 0; i < 3; i++) sending.push(publisher.channels.get(name).publish('n', String(sent++)));
    }, 2);
    t.after(() => clearInterval(timer));
    const joined = [];
    for (let i = 0; i < 10; i++) {
      const client = await connected(t, server);
      const channel = client.channels.get(name);
      const live = await gather(channel);
      const pages = await allPages(await channel.history({ untilAttach: true, limit: 1000 }));
      joined.push({ live, before: pages.flat().reverse() });
    }
    clearInterval(timer);
    await Promise.all(sending);
    for (const { live, before: old } of joined) {
      const whole = [...old, ...(await live.fence(publisher))].filter((m) => m.name === 'n').map((m) => Number(m.data));
      assert.deepEqual(whole, range(sent));
    }
  });

  test('is refused with 90008 where the channel cannot tell what was before', async (t) => {
    const [name, kept] = [channelName(t), channelName(t, 'persisted:')];
    const client = await connected(t, server);
    const until = async (channel, change) => {
      await published(channel, 1);
      await client.channels.get(channel).attach();
      const { attachSerial } = client.channels.get(channel).properties;
      return request(server, 'GET', `/channels/${channel}/messages?fromSerial=${encodeURIComponent(change(attachSerial))}`);
    };
    const old = (serial) => serial.replace(/^\d+/, (millis) => String(Number(millis) - 3_600_000).padStart(14, '0'));
    assert.equal((await until(name, (serial) => serial)).body.length, 1);
    for (const channel of [name, kept]) {
      assertError(await until(channel, (serial) => serial.replace(/@.*/, '@anotherlife')), 400, 90008);
    }
    assertError(await until(name, old), 400, 90008);
    assert.deepEqual((await until(kept, old)).body, [], 'a channel that stores all can tell: nothing');
  });

  test('asks for an attachment', async (t) => {
    const client = await connected(t, server);
    await assert.rejects(client.channels.get(channelName(t)).history({ untilAttach: true }));
  });
});
