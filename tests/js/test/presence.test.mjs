// Presence: entering, updating and leaving, for oneself and for others; leaving by going away; history and REST.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Proxy } from '../../lib/proxy.mjs';
import { Server } from '../../lib/server.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { tokenFor } from '../../lib/http.mjs';
import { Ably, allPages, both, channelName, connected, next, range, refused, rest, test, watchPresence, within } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const by = (action, clientId) => (event) => event.action === action && event.clientId === clientId;

describe('a member', () => {
  both('enters, updates and leaves, and everyone is told with its data', async (t, binary) => {
    const name = channelName(t);
    const member = await connected(t, server, { clientId: 'ann', useBinaryProtocol: binary });
    const watcher = await connected(t, server, { useBinaryProtocol: !binary });
    const own = await watchPresence(member.channels.get(name));
    const others = await watchPresence(watcher.channels.get(name));
    const { presence } = member.channels.get(name);
    const values = { enter: { deep: [1, '😅'] }, update: Buffer.from([0, 255]), leave: 'bye' };
    for (const [action, value] of Object.entries(values)) {
      await presence[action](Ably.Realtime.PresenceMessage.fromValues({ data: value, extras: { headers: { a: action } } }));
    }
    for (const watch of [own, others]) {
      for (const [action, value] of Object.entries(values)) {
        const event = await watch.until(by(action, 'ann'), action);
        assert.deepEqual(Buffer.isBuffer(value) ? Buffer.from(event.data) : event.data, value);
        assert.deepEqual(event.extras, { headers: { a: action } });
        assert.equal(event.connectionId, member.connection.id);
        assert.match(event.id, new RegExp(`^${member.connection.id}:\\d+:0$`));
        assert.ok(Math.abs(event.timestamp - Date.now()) < 60_000);
      }
      assert.deepEqual(watch.events.map((e) => e.action), ['enter', 'update', 'leave']);
    }
    assert.deepEqual(await watcher.channels.get(name).presence.get(), []);
  });

  both('is seen by one who comes later, just as it was seen live', async (t, binary) => {
    const name = channelName(t);
    const member = await connected(t, server, { clientId: 'ann', useBinaryProtocol: binary });
    const early = await connected(t, server, { useBinaryProtocol: binary });
    const watch = await watchPresence(early.channels.get(name));
    await member.channels.get(name).presence.enter({ a: 1 });
    await watch.until(by('enter', 'ann'), 'enter');
    const late = await connected(t, server, { useBinaryProtocol: binary });
    const [live] = await early.channels.get(name).presence.get();
    const [synced] = await late.channels.get(name).presence.get();
    assert.equal(synced.action, 'present');
    for (const field of ['id', 'clientId', 'connectionId', 'timestamp', 'data']) {
      assert.deepEqual(synced[field], live[field], field);
    }
  });

  test('that updates without having entered is in; that leaves without it is no error', async (t) => {
    const name = channelName(t);
    const client = await connected(t, server, { clientId: 'ann' });
    const { presence } = client.channels.get(name);
    const wire = await Wire.connect(server, { clientId: 'bob' });
    t.after(() => wire.destroy());
    await wire.attach(name);
    assert.equal((await wire.presence(name, { action: PRESENCE.leave })).action, ACTION.ACK);
    await presence.update('here');
    assert.deepEqual((await presence.get()).map((m) => [m.clientId, m.data]), [['ann', 'here']]);
  });

  both('may be many, entered for others, each its own', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const { presence } = client.channels.get(name);
    await Promise.all(range(10).map((i) => presence.enterClient(`c${i}`, String(i))));
    await presence.updateClient('c1', 'changed');
    await presence.leaveClient('c2');
    const members = (await presence.get()).sort((a, b) => (a.clientId < b.clientId ? -1 : 1));
    assert.deepEqual(
      members.map((m) => `${m.clientId}=${m.data}`),
      ['c0=0', 'c1=changed', ...range(7, 3).map((i) => `c${i}=${i}`)],
    );
    const one = await rest(server, { useBinaryProtocol: binary }).channels.get(name).presence.get({ clientId: 'c1' });
    assert.deepEqual(one.items.map((m) => [m.action, m.data]), [['present', 'changed']]);
  });

  test('with one clientId on two connections is two members', async (t) => {
    const name = channelName(t);
    const [a, b] = await Promise.all([1, 2].map(() => connected(t, server, { clientId: 'same' })));
    await a.channels.get(name).presence.enter('a');
    await b.channels.get(name).presence.enter('b');
    assert.equal((await b.channels.get(name).presence.get()).length, 2);
    await a.channels.get(name).presence.leave();
    const page = await rest(server).channels.get(name).presence.get();
    assert.deepEqual(page.items.map((m) => m.data), ['b']);
  });
});

describe('who may be present', () => {
  const enter = async (t, params, presence) => {
    const wire = await Wire.connect(server, params);
    t.after(() => wire.destroy());
    const name = channelName(t);
    await wire.attach(name);
    return wire.presence(name, { action: PRESENCE.enter, ...presence });
  };

  test('nobody without a name: 91000', async (t) => {
    const { token } = await tokenFor(server);
    const answer = await enter(t, { access_token: token }, {});
    assert.equal(answer.error?.code, 91000);
    assert.equal(answer.error.statusCode, 400);
  });
  test('an identified client only as itself: 40012', async (t) => {
    const { token } = await tokenFor(server, { clientId: 'ann' });
    assert.equal((await enter(t, { access_token: token }, { clientId: 'bob' })).error?.code, 40012);
    assert.equal((await enter(t, { access_token: token }, { clientId: 'ann' })).action, ACTION.ACK);
    assert.equal((await enter(t, { access_token: token }, {})).action, ACTION.ACK);
  });
  test('an anonymous token not as anyone: 40012', async (t) => {
    const { token } = await tokenFor(server);
    assert.equal((await enter(t, { access_token: token }, { clientId: 'bob' })).error?.code, 40012);
  });
  test('a wildcard token as anyone, but "*" is no one', async (t) => {
    const { token } = await tokenFor(server, { clientId: '*' });
    assert.equal((await enter(t, { access_token: token }, { clientId: 'bob' })).action, ACTION.ACK);
    assert.equal((await enter(t, { access_token: token }, { clientId: '*' })).error?.code, 40012);
    assert.equal((await enter(t, { access_token: token }, {})).error?.code, 91000);
  });
  test('no one whose key does not allow it: 40160', async (t) => {
    const { token } = await tokenFor(server, { clientId: 'ann', capability: '{"*":["subscribe"]}' });
    const wire = await Wire.connect(server, { access_token: token });
    t.after(() => wire.destroy());
    await wire.attach('closed');
    const answer = await wire.presence('closed', { action: PRESENCE.enter });
    assert.ok([40160, 40165].includes(answer.error?.code), JSON.stringify(answer));
  });
});

describe('going away', () => {
  both('by close or detach is a leave at once', async (t, binary) => {
    for (const how of ['close', 'detach']) {
      const name = channelName(t);
      const member = await connected(t, server, { clientId: 'ann', useBinaryProtocol: binary });
      const watch = await watchPresence((await connected(t, server)).channels.get(name));
      await member.channels.get(name).presence.enter('last words');
      await watch.until(by('enter', 'ann'), 'enter');
      if (how === 'close') member.close();
      else await member.channels.get(name).detach();
      const leave = await watch.until(by('leave', 'ann'), `leave after ${how}`, 3000);
      assert.equal(leave.connectionId, member.connection.id ?? leave.connectionId);
    }
  });

  both('by a lost network is a leave after remainPresentFor, with the last data', async (t, binary) => {
    const name = channelName(t);
    const wire = await Wire.connect(server, { clientId: 'ann', remainPresentFor: '1000' }, { binary });
    const watcher = await connected(t, server);
    const watch = await watchPresence(watcher.channels.get(name));
    await wire.attach(name);
    await wire.presence(name, { action: PRESENCE.enter, data: 'last words' });
    await watch.until(by('enter', 'ann'), 'enter');
    const lost = Date.now();
    wire.destroy();
    const leave = await watch.until(by('leave', 'ann'), 'leave', 6000);
    const after = Date.now() - lost;
    assert.ok(after >= 900 && after < 4000, `left after ${after} ms`);
    assert.equal(leave.data, 'last words');
    assert.equal(leave.connectionId, wire.id);
    assert.ok(!leave.id.startsWith(wire.id), 'an id that the connection did not give');
  });

  test('is no leave when the connection comes back in time', async (t) => {
    const name = channelName(t);
    const proxy = await Proxy.to(server);
    t.after(() => proxy.close());
    const member = await connected(t, { ...server, port: proxy.port }, { clientId: 'ann', disconnectedRetryTimeout: 100 });
    const watcher = await connected(t, server);
    const watch = await watchPresence(watcher.channels.get(name));
    const channel = member.channels.get(name);
    await channel.presence.enter('here');
    const { id } = await watch.until(by('enter', 'ann'), 'enter');
    for (let i = 0; i < 3; i++) {
      const up = next(channel, 'attached');
      proxy.cut();
      assert.equal((await up).resumed, true);
    }
    assert.deepEqual((await channel.presence.get()).map((m) => [m.clientId, m.id]), [['ann', id]]);
    await watcher.channels.get(name).presence.enterClient('fence');
    await watch.until(by('enter', 'fence'), 'fence');
    const acts = watch.events.filter((e) => e.clientId === 'ann').map((e) => e.action);
    assert.equal(acts.includes('leave'), false, acts.join());
    assert.deepEqual((await watcher.channels.get(name).presence.get({ clientId: 'ann' })).map((m) => m.id), [id]);
  });

  test('a re-entry keeps the id that the SDK gives it', async (t) => {
    const name = channelName(t);
    const wire = await Wire.connect(server, { clientId: 'ann' });
    t.after(() => wire.destroy());
    await wire.attach(name);
    const id = `${wire.id}:0:0`;
    wire.msgSerial = 5;
    assert.equal((await wire.presence(name, { action: PRESENCE.enter, id, data: 'again' })).action, ACTION.ACK);
    const page = await rest(server).channels.get(name).presence.get();
    assert.deepEqual(page.items.map((m) => m.id), [id]);
  });

  test('what happened meanwhile is heard after the resume', async (t) => {
    const name = channelName(t);
    const proxy = await Proxy.to(server);
    t.after(() => proxy.close());
    const client = await connected(t, { ...server, port: proxy.port }, { disconnectedRetryTimeout: 100 });
    const watch = await watchPresence(client.channels.get(name));
    const other = await connected(t, server);
    const { presence } = other.channels.get(name);
    await presence.enterClient('stays');
    await presence.enterClient('goes');
    await watch.until(by('enter', 'goes'), 'enter');
    const down = next(client.connection, 'disconnected');
    proxy.refuse();
    await down;
    await presence.leaveClient('goes');
    await presence.enterClient('comes');
    const up = next(client.channels.get(name), 'attached');
    proxy.allow();
    await up;
    await watch.until(by('leave', 'goes'), 'the leave');
    await watch.until((e) => e.clientId === 'comes', 'the new one');
    const members = await within(5000, client.channels.get(name).presence.get(), 'the members');
    assert.deepEqual(members.map((m) => m.clientId).sort(), ['comes', 'stays']);
    assert.equal(watch.events.some(by('leave', 'stays')), false, 'who stayed did not leave');
  });
});

describe('presence history', () => {
  for (const prefix of ['', 'persisted:']) {
    both(`keeps enter, update and leave (${prefix || 'plain'})`, async (t, binary) => {
      const name = channelName(t, prefix);
      const client = await connected(t, server, { clientId: 'ann', useBinaryProtocol: binary });
      const { presence } = client.channels.get(name);
      await presence.enter('e');
      await presence.update('u');
      await presence.leave('l');
      const channel = rest(server, { useBinaryProtocol: binary }).channels.get(name);
      const backwards = await allPages(await channel.presence.history({ limit: 2 }));
      assert.deepEqual(backwards.map((p) => p.length), [2, 1]);
      assert.deepEqual(backwards.flat().map((m) => [m.action, m.data]), [['leave', 'l'], ['update', 'u'], ['enter', 'e']]);
      const forwards = await channel.presence.history({ direction: 'forwards' });
      assert.deepEqual(forwards.items.map((m) => m.action), ['enter', 'update', 'leave']);
      assert.deepEqual((await channel.history()).items, [], 'and is no part of the messages');
    });
  }
});

test('presence on a name that is none is refused', async (t) => {
  const client = await connected(t, server, { clientId: 'ann' });
  const channel = client.channels.get('');
  await refused(channel.attach(), 40010, 400);
  await refused(channel.presence.enter(), 90001);
});
