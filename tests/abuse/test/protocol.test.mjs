// Protocol messages in the wrong order, for the wrong thing, or without what they need: answered with a code, or passed over.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { bounded, guarded } from '../guard.mjs';

const guard = guarded();
const connect = (params, options) => Wire.connect(guard.server, params, options);

/** Every action, alone and with a channel: none of them may end the server or leave the client without its heartbeat. */
const bare = Array.from({ length: 30 }, (_, action) => action).filter((action) => action !== ACTION.CLOSE && action !== ACTION.DISCONNECT);

for (const binary of [false, true]) {
  describe(binary ? 'msgpack' : 'json', () => {
    for (const action of bare) {
      test(`action ${action} with nothing, and with a channel only`, async () => {
        for (const more of [{}, { channel: 'bare' }, { channel: null }, { channel: '' }]) {
          const wire = await connect({}, { binary });
          wire.send({ action, ...more });
          wire.send({ action: ACTION.HEARTBEAT, id: 'after' });
          const end = await Promise.race([
            wire.next((m) => m.id === 'after', 'the heartbeat').catch(() => null),
            wire.closed.then((close) => close ?? (wire.seen.some((m) => m.error) ? 'told' : 'reset')),
          ]);
          assert.notEqual(end, 'reset', `closed without a word after ${JSON.stringify({ action, ...more })}`);
          wire.destroy();
        }
      });
    }

    test('what only a server says is not believed from a client', async (t) => {
      const wire = await connect({}, { binary });
      t.after(() => wire.destroy());
      const other = await connect({}, { binary });
      t.after(() => other.destroy());
      await other.attach('forged');
      for (const action of [ACTION.ATTACHED, ACTION.DETACHED, ACTION.CONNECTED, ACTION.CLOSED, ACTION.DISCONNECTED, ACTION.ACK, ACTION.ERROR]) {
        wire.send({ action, channel: 'forged', connectionId: other.id, flags: 7, msgSerial: 0, count: 100, error: { code: 80000, message: 'forged' } });
      }
      await wire.roundTrip().catch(() => {});
      await other.roundTrip();
      assert.deepEqual(other.inbox, []);
    });
  });
}

describe('order', () => {
  test('presence before an attachment is 91001, or attaches', async (t) => {
    const wire = await connect({ clientId: 'ann' });
    t.after(() => wire.destroy());
    const answer = await wire.presence('never-attached', { action: PRESENCE.enter });
    if (answer.action === ACTION.NACK) assert.equal(answer.error.code, 91001);
  });

  test('a sync of a channel that is not attached is passed over or refused', async (t) => {
    const wire = await connect();
    t.after(() => wire.destroy());
    wire.send({ action: ACTION.SYNC, channel: 'never-attached' });
    wire.send({ action: ACTION.SYNC, channel: 'never-attached', channelSerial: 'x:y' });
    await wire.roundTrip();
    assert.equal(wire.seen.some((m) => m.action === ACTION.SYNC), false);
  });

  test('attach and detach a thousand times, unread, ends where it should', async (t) => {
    await bounded(guard.server, 16, async () => {
      const wire = await connect();
      t.after(() => wire.destroy());
      for (let i = 0; i < 1000; i++) {
        wire.send({ action: ACTION.ATTACH, channel: 'flip' });
        wire.send({ action: ACTION.DETACH, channel: 'flip' });
      }
      wire.send({ action: ACTION.ATTACH, channel: 'flip' });
      await wire.roundTrip();
      // A DETACH may overtake the answer to the ATTACH before it; the last one is always answered.
      await wire.expect(ACTION.ATTACHED, 'flip');
      await wire.publish('flip', { name: 'x' });
      assert.equal((await wire.message('flip')).messages[0].name, 'x');
    });
  });

  test('a msgSerial that jumps, repeats or goes back is answered each time', async (t) => {
    const wire = await connect();
    t.after(() => wire.destroy());
    for (const msgSerial of [0, 0, 5, 3, 100, 1]) {
      wire.send({ action: ACTION.MESSAGE, channel: 'serials', msgSerial, messages: [{ name: `s${msgSerial}` }] });
      wire.send({ action: ACTION.HEARTBEAT, id: `after ${msgSerial}` });
      await Promise.race([wire.next((m) => m.error || m.id === `after ${msgSerial}`, 'an answer'), wire.closed]);
    }
  });

  test('a frame without action is a ping if nothing in it says otherwise, and else refused', async (t) => {
    const wire = await connect();
    t.after(() => wire.destroy());
    for (const ping of [{ id: 'p1' }, { id: 'p2', msgSerial: 0, flags: 0 }, { id: 'p3', 1: 2 }]) {
      wire.send(ping); // ably-go leaves a zero out
      await wire.next((m) => m.action === ACTION.HEARTBEAT && m.id === ping.id, 'the answer to a ping');
    }
    for (const lost of [{ channel: 'x' }, { messages: [{ name: 'x' }] }, { presence: [{ action: 2 }] }, { auth: { accessToken: 'x' } }]) {
      wire.send(lost);
      const refusal = await wire.next((m) => m.action === ACTION.ERROR, 'an ERROR');
      assert.equal(refusal.error.code, 40000);
      assert.match(refusal.error.message, /action/);
    }
  });

  for (const action of ['MESSAGE', 'PRESENCE']) {
    test(`a ${action} without msgSerial is refused, reaches nobody, and takes no other's place`, async (t) => {
      const wire = await connect();
      t.after(() => wire.destroy());
      await wire.attach('noserial');
      for (const msgSerial of [undefined, null]) {
        wire.send({ action: ACTION[action], channel: 'noserial', msgSerial, messages: [{ name: 'x' }], presence: [{ action: PRESENCE.enter, clientId: 'x' }] });
        const refusal = await wire.next((m) => m.action === ACTION.ERROR, 'an ERROR');
        assert.equal(refusal.error.code, 40000);
        assert.match(refusal.error.message, /msgSerial/);
      }
      const outcome = await wire.publish('noserial', { name: 'the first' });
      assert.equal(outcome.action, ACTION.ACK);
      assert.equal((await wire.message('noserial')).messages[0].name, 'the first');
    });
  }

  test('frames after CLOSE are not acted on', async () => {
    const watcher = await connect();
    await watcher.attach('late');
    const wire = await connect();
    wire.send({ action: ACTION.CLOSE });
    wire.send({ action: ACTION.MESSAGE, channel: 'late', msgSerial: 0, messages: [{ name: 'too late' }] });
    await wire.closed;
    await watcher.publish('late', { name: 'in time' });
    assert.equal((await watcher.message('late')).messages[0].name, 'in time');
    watcher.destroy();
  });
});

describe('contents', () => {
  const bad = {
    'no messages': { messages: undefined },
    'an empty list': { messages: [] },
    'messages that are null': { messages: null },
    'a message that is null': { messages: [null] },
    'a message action that is not for clients': { messages: [{ action: 4, name: 'x' }] },
    'an update without a serial': { messages: [{ action: 1, name: 'x' }] },
    'an update of a channel without updates': { messages: [{ action: 1, serial: '0@x', name: 'x' }] },
    'a chain of encodings without end': { messages: [{ data: 'x', encoding: 'base64/'.repeat(2000) }] },
    'base64 that is none': { messages: [{ data: '!!!!', encoding: 'base64' }] },
    'a delta from a client': { messages: [{ data: 'AA==', encoding: 'vcdiff/base64', extras: { delta: { from: 'x', format: 'vcdiff' } } }] },
    'no channel': { channel: undefined, messages: [{ name: 'x' }] },
  };
  for (const [what, more] of Object.entries(bad)) {
    test(what, async (t) => {
      const wire = await connect();
      t.after(() => wire.destroy());
      wire.send({ action: ACTION.MESSAGE, channel: 'contents', msgSerial: 0, ...more });
      const answer = await Promise.race([
        wire.next((m) => [ACTION.ACK, ACTION.NACK, ACTION.ERROR].includes(m.action), 'an answer'),
        wire.closed,
      ]);
      assert.ok(answer, 'closed without a word');
      if (answer.error) assert.ok(answer.error.code >= 40000, JSON.stringify(answer));
    });
  }

  const presence = {
    'no list': { presence: undefined },
    'an unknown action': { presence: [{ action: 9, clientId: 'x' }] },
    'present, which only servers say': { presence: [{ action: PRESENCE.present, clientId: 'x' }] },
    'a clientId that is a number': { presence: [{ action: PRESENCE.enter, clientId: 5 }] },
    'an empty clientId': { presence: [{ action: PRESENCE.enter, clientId: '' }] },
    'somebody else\'s connection': { presence: [{ action: PRESENCE.enter, clientId: 'x', connectionId: 'not-mine' }] },
    'an id of another connection': { presence: [{ action: PRESENCE.enter, clientId: 'x', id: 'not-mine:0:0' }] },
    'data beyond the limit': { presence: [{ action: PRESENCE.enter, clientId: 'x', data: 'x'.repeat(70_000) }] },
  };
  for (const [what, more] of Object.entries(presence)) {
    test(`presence: ${what}`, async (t) => {
      const wire = await connect();
      t.after(() => wire.destroy());
      const name = `presence ${what}`;
      await wire.attach(name);
      wire.send({ action: ACTION.PRESENCE, channel: name, msgSerial: 0, ...more });
      const answer = await Promise.race([
        wire.next((m) => [ACTION.ACK, ACTION.NACK, ACTION.ERROR].includes(m.action), 'an answer'),
        wire.closed,
      ]);
      assert.ok(answer, 'closed without a word');
      const told = wire.seen.filter((m) => m.action === ACTION.PRESENCE).flatMap((m) => m.presence);
      assert.ok(told.every((member) => (member.connectionId ?? wire.id) === wire.id), 'nobody else was entered');
    });
  }

  test('connectionId and timestamp are the server\'s to say', async (t) => {
    const wire = await connect();
    t.after(() => wire.destroy());
    await wire.attach('forge');
    await wire.publish('forge', { name: 'x', connectionId: 'not-me', timestamp: 5, serial: 'zzz', version: { serial: 'zzz' } });
    const frame = await wire.message('forge');
    const [message] = frame.messages;
    assert.equal(message.connectionId ?? frame.connectionId, wire.id);
    assert.ok((message.timestamp ?? frame.timestamp) > 1e12);
    assert.notEqual(message.serial, 'zzz');
  });
});
