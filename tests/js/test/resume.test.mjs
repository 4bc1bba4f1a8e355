// Losing the network: resume and recover give back the connection and every message; what cannot be given back is told.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Proxy } from '../../lib/proxy.mjs';
import { Server } from '../../lib/server.mjs';
import { ACTION, FLAG, Wire } from '../../lib/wire.mjs';
import { provision, requestToken, tokenFor } from '../../lib/http.mjs';
import { both, channelName, connected, data, gather, next, range, reached, realtime, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

async function throughProxy(t, more = {}) {
  const proxy = await Proxy.to(server);
  t.after(() => proxy.close());
  const client = await connected(t, { ...server, key: server.key, port: proxy.port }, { disconnectedRetryTimeout: 100, ...more });
  return { proxy, client };
}

describe('resume', () => {
  both('keeps the connection, and replays what was missed once and in order', async (t, binary) => {
    const { proxy, client } = await throughProxy(t, { useBinaryProtocol: binary });
    const names = [channelName(t), channelName(t, 'persisted:')];
    const all = await Promise.all(names.map((name) => gather(client.channels.get(name))));
    const { id, key } = client.connection;
    for (const name of names) await rest(server).channels.get(name).publish('n', '0');
    await Promise.all(all.map((got) => got.until(1)));

    const down = next(client.connection, 'disconnected');
    proxy.refuse();
    await down;
    for (const name of names) {
      for (const i of range(9, 1)) await rest(server).channels.get(name).publish('n', String(i));
    }
    const attached = names.map((name) => next(client.channels.get(name), 'attached'));
    proxy.allow();
    await reached(client.connection, 'connected');
    assert.equal(client.connection.id, id);
    assert.notEqual(client.connection.key, key, 'a key serves once');
    assert.equal(client.connection.errorReason, null);
    for (const change of await Promise.all(attached)) {
      assert.equal(change.resumed, true);
      assert.equal(change.hasBacklog, true);
      assert.ok(!change.reason);
    }
    for (const [i, got] of all.entries()) {
      await rest(server).channels.get(names[i]).publish('n', '10');
      await got.until(11);
      assert.deepEqual(data(got.items), range(11).map(String));
    }
  });

  both('again and again, with messages all the time', async (t, binary) => {
    const { proxy, client } = await throughProxy(t, { useBinaryProtocol: binary });
    const publisher = await connected(t, server);
    const name = channelName(t);
    const got = await gather(client.channels.get(name));
    const sending = [];
    const timer = setInterval(() => {
      sending.push(publisher.channels.get(name).publish('n', String(sending.length)));
    }, 3);
    t.after(() => clearInterval(timer));
    for (let i = 0; i < 8; i++) {
      const up = next(client.channels.get(name), 'attached');
      proxy.cut();
      assert.equal((await up).resumed, true);
    }
    clearInterval(timer);
    await Promise.all(sending);
    await got.until(sending.length);
    assert.deepEqual(data(got.items), sending.map((_, i) => String(i)));
  });

  both('resent frames are known: published once, acknowledged still', async (t, binary) => {
    const { proxy, client } = await throughProxy(t, { useBinaryProtocol: binary });
    const watcher = await connected(t, server);
    const name = channelName(t);
    const got = await gather(watcher.channels.get(name));
    await client.channels.get(name).publish('n', 'before');
    proxy.holdAnswers(); // the frames arrive, their acknowledgements do not
    const results = Promise.all(range(5).map((i) => client.channels.get(name).publish('n', String(i))));
    await got.until(6);
    const up = next(client.connection, 'connected');
    proxy.cut();
    proxy.letAnswersThrough();
    await up;
    const serials = (await results).map((result) => result.serials[0]);
    assert.equal(new Set(serials).size, 5);
    assert.ok(serials.every((serial) => typeof serial === 'string'), 'the results are the original ones');
    assert.deepEqual(data(await got.fence(client)), ['before', ...range(5).map(String)]);
  });

  test('takes the connection over from a transport that is still open', async (t) => {
    const old = await Wire.connect(server);
    const name = channelName(t);
    const { channelSerial } = await old.attach(name);
    const taker = await Wire.connect(server, { resume: old.key });
    t.after(() => taker.destroy());
    assert.equal(taker.id, old.id);
    assert.notEqual(taker.key, old.key);
    await old.closed;
    await taker.attach(name, { channelSerial });
    await taker.publish(name, { name: 'x' });
    await taker.message(name);
    assert.equal(old.seen.some((m) => m.action === ACTION.MESSAGE), false, 'the old transport hears no more');
  });

  for (const prefix of ['', 'persisted:']) {
    test(`while others publish: ATTACHED first, then every message in its order (${prefix || 'plain'})`, async (t) => {
      const name = channelName(t, prefix);
      const publishers = await Promise.all([1, 2].map(() => Wire.connect(server)));
      t.after(() => publishers.forEach((wire) => wire.destroy()));
      let channelSerial = (await publishers[0].attach(name)).channelSerial;
      let going = true;
      const publishing = publishers.map(async (wire, p) => {
        for (let n = 0; going; n += 8) await Promise.all(range(8, n).map((i) => wire.publish(name, { id: `${p}-${i}` })));
      });
      const ids = [];
      for (let round = 0; round < 25; round++) {
        const wire = await Wire.connect(server);
        wire.send({ action: ACTION.ATTACH, channel: name, channelSerial });
        const first = await wire.next((m) => m.channel === name, 'the first word of the channel');
        assert.equal(first.action, ACTION.ATTACHED, `round ${round}: a message before ATTACHED`);
        assert.ok(first.flags & FLAG.RESUMED);
        for (let frames = 0; frames < 30; frames++) {
          const frame = await wire.message(name);
          // ATTACHED must name a point before what follows: a client that is lost again in between offers that.
          if (frames === 0) assert.ok(first.channelSerial < frame.channelSerial, `${first.channelSerial} before ${frame.channelSerial}`);
          assert.ok(frame.channelSerial > channelSerial, `${frame.channelSerial} after ${channelSerial}`);
          ({ channelSerial } = frame);
          ids.push(...frame.messages.map((m) => m.id));
        }
        wire.destroy();
      }
      going = false;
      await Promise.all(publishing);
      for (const p of [0, 1]) {
        const own = ids.filter((id) => id.startsWith(`${p}-`)).map((id) => Number(id.slice(2)));
        assert.deepEqual(own, range(own.length), `publisher ${p}: a gap or a repetition over 25 resumes`);
      }
    });
  }

  test('nothing is delivered on the new transport before the channel\'s ATTACHED', async (t) => {
    const name = channelName(t);
    const first = await Wire.connect(server);
    const { channelSerial } = await first.attach(name);
    first.destroy();
    await first.closed;
    const second = await Wire.connect(server, { resume: first.key });
    t.after(() => second.destroy());
    for (const i of range(5)) await rest(server).channels.get(name).publish('n', String(i));
    await second.roundTrip();
    assert.equal(second.seen.some((m) => m.action === ACTION.MESSAGE), false);
    const attached = await second.attach(name, { channelSerial });
    assert.ok(attached.flags & FLAG.RESUMED);
    let count = 0;
    while (count < 5) count += (await second.message(name)).messages.length;
    assert.equal(count, 5);
  });
});

describe('recover', () => {
  both('lets a new client go on where another was lost', async (t, binary) => {
    const lost = await throughProxy(t, { useBinaryProtocol: binary, disconnectedRetryTimeout: 60_000 });
    const names = range(3).map(() => channelName(t));
    const before = await Promise.all(names.map((name) => gather(lost.client.channels.get(name))));
    for (const name of names) await rest(server).channels.get(name).publish('n', 'seen');
    await Promise.all(before.map((got) => got.until(1)));
    const { id, key } = lost.client.connection;
    const recover = lost.client.connection.createRecoveryKey();
    const down = next(lost.client.connection, 'disconnected');
    lost.proxy.refuse();
    await down;
    for (const name of names) await rest(server).channels.get(name).publish('n', 'missed');

    const client = realtime(t, server, { recover, useBinaryProtocol: binary });
    const change = await reached(client.connection, 'connected');
    assert.ok(!change?.reason);
    assert.equal(client.connection.id, id);
    assert.notEqual(client.connection.key, key);
    for (const name of names) {
      const got = await gather(client.channels.get(name));
      assert.equal(got.change?.resumed ?? true, true);
      await got.until(1);
      assert.deepEqual(data(await got.fence(client)), ['missed']);
    }
  });

  test('works from the channel serials alone, when the connection is gone', async (t) => {
    const name = channelName(t);
    const first = await Wire.connect(server);
    const { channelSerial } = await first.attach(name);
    first.send({ action: ACTION.CLOSE });
    await first.expect(ACTION.CLOSED);
    await rest(server).channels.get(name).publish('n', 'missed');
    const second = await Wire.connect(server, { recover: first.key });
    t.after(() => second.destroy());
    assert.notEqual(second.id, first.id);
    assert.ok(second.connected.error);
    const attached = await second.attach(name, { channelSerial });
    assert.ok(attached.flags & FLAG.RESUMED, 'the channel goes on although the connection does not');
    assert.equal((await second.message(name)).messages[0].data, 'missed');
  });
});

describe('continuity that is lost is told', () => {
  const fake = '_____!ablyjs_test_fake-key____';
  for (const mode of ['resume', 'recover']) {
    test(`a key that never was: a new connection with error 80018 (${mode})`, async (t) => {
      const wire = await Wire.connect(server, { [mode]: fake });
      t.after(() => wire.destroy());
      assert.equal(wire.connected.error?.code, 80018);
      assert.equal(wire.connected.error.statusCode, 400);
      assert.ok(wire.id);
      assert.equal(wire.key.includes('fake'), false);
    });
  }

  test('the SDK starts afresh with it', async (t) => {
    const recover = JSON.stringify({ connectionKey: fake, msgSerial: 3, channelSerials: {} });
    const client = realtime(t, server, { recover });
    const change = await reached(client.connection, 'connected');
    assert.equal(change.reason.code, 80018);
    await client.channels.get(channelName(t)).publish('works', null);
  });

  for (const serial of ['nonsense', '00000000000001-000@nowhere', '']) {
    test(`a channelSerial that cannot be replayed: ${JSON.stringify(serial)}`, async (t) => {
      const wire = await Wire.connect(server);
      t.after(() => wire.destroy());
      const attached = await wire.attach(channelName(t), { channelSerial: serial });
      assert.equal(attached.flags & FLAG.RESUMED, 0);
      if (serial) assert.equal(attached.error?.code, 90003, JSON.stringify(attached));
    });
  }

  test('a serial of another channel is not this channel\'s', async (t) => {
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    const [a, b] = [channelName(t), channelName(t)];
    await rest(server).channels.get(b).publish('secret of b', null);
    const { channelSerial } = await wire.attach(a);
    const attached = await wire.attach(b, { channelSerial });
    await wire.roundTrip();
    const heard = wire.seen.filter((m) => m.action === ACTION.MESSAGE && m.channel === a);
    assert.deepEqual(heard, []);
    assert.ok(attached.channelSerial);
  });
});

describe('whose connection it is', () => {
  test('another app\'s key does not resume it', async (t) => {
    const mine = await Wire.connect(server);
    t.after(() => mine.destroy());
    const other = await provision(server);
    const thief = await Wire.open(other, { resume: mine.key });
    const first = await thief.next(() => true, 'an answer');
    if (first.action === ACTION.CONNECTED) {
      assert.notEqual(first.connectionId, mine.id);
      assert.ok(first.error);
    } else assert.equal(first.action, ACTION.ERROR);
    thief.destroy();
    await mine.roundTrip();
  });

  test('another clientId\'s token does not resume it', async (t) => {
    const [ann, bob] = [await tokenFor(server, { clientId: 'ann' }), await tokenFor(server, { clientId: 'bob' })];
    const mine = await Wire.connect(server, { access_token: ann.token });
    t.after(() => mine.destroy());
    const thief = await Wire.open(server, { access_token: bob.token, resume: mine.key });
    const first = await thief.next(() => true, 'an answer');
    assert.ok(first.error, 'refused, or another connection');
    assert.notEqual(first.connectionId, mine.id);
    thief.destroy();
    await mine.roundTrip();
  });

  test('a resume with bad credentials fails for good', async () => {
    const mine = await Wire.connect(server);
    mine.destroy();
    const bad = await Wire.open(server, { key: `${server.key.split(':')[0]}:wrong`, resume: mine.key });
    const error = await bad.next(() => true, 'the refusal');
    assert.equal(error.action, ACTION.ERROR);
    assert.equal(error.error.code, 40101);
    await bad.closed;
  });

  test('an expired token on resume is renewed, and the connection goes on', async (t) => {
    const { proxy, client } = await throughProxy(t, {
      authCallback: (params, done) => requestToken(server, {}).then((a) => done(null, a.body), done),
    });
    const { id } = client.connection;
    const expired = await tokenFor(server, { ttl: 1 });
    client.auth.tokenDetails.token = expired.token;
    const up = next(client.connection, 'connected');
    proxy.cut();
    await up;
    assert.equal(client.connection.id, id);
  });
});
