// Two apps with the same names: nothing of one is ever seen from the other, whatever ids, keys and cursors are swapped (A4).

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { links, provision, request, tokenFor } from '../../lib/http.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { guarded } from '../guard.mjs';

const canary = 'canary-of-b-7f3a';
const spec = { keys: [{ revocableTokens: true }, { capability: '{"[*]*":["*"]}' }], namespaces: [{ id: 'persisted', persisted: true }] };
const channels = ['shared', 'persisted:shared'];

let a;
let b;
let live; // a connection of b, attached and present
const guard = guarded(async () => {
  a = await provision(guard.server, spec);
  b = await provision(guard.server, spec);
  live = await Wire.connect(b, { clientId: canary });
  for (const channel of channels) {
    await live.attach(channel);
    await live.presence(channel, { action: PRESENCE.enter, data: canary });
    for (let i = 0; i < 5; i++) await live.publish(channel, { name: canary, data: canary, extras: { headers: { canary } } });
  }
});

const clean = (answer, what) => {
  assert.equal(answer.bytes.includes(canary), false, `${what}: ${answer.bytes}`);
  assert.equal([...answer.headers].flat().join().includes(canary), false, `${what}: a header`);
};

test('every reading route of a shows nothing of b', async () => {
  for (const key of a.keys.map((k) => k.keyStr)) {
    for (const channel of channels.map(encodeURIComponent)) {
      for (const path of [`/channels/${channel}/messages`, `/channels/${channel}/history`, `/channels/${channel}/presence`, `/channels/${channel}/presence/history`, `/channels/${channel}`]) {
        const answer = await request(a, 'GET', path, { key });
        assert.equal(answer.status, 200, path);
        clean(answer, path);
        if (Array.isArray(answer.body)) assert.deepEqual(answer.body, [], path);
        else assert.equal(answer.body.status.occupancy.metrics.connections, 0);
      }
    }
    clean(await request(a, 'GET', `/presence?channels=${channels.join(',')}`, { key }), '/presence');
    const listed = await request(a, 'GET', '/channels', { key });
    clean(listed, '/channels');
  }
});

test('b\'s cursors show nothing to a', async () => {
  for (const channel of channels.map(encodeURIComponent)) {
    for (const tail of ['messages', 'presence', 'presence/history']) {
      const first = await request(b, 'GET', `/channels/${channel}/${tail}?limit=1`);
      for (const target of Object.values(links(first.headers))) {
        const path = `/channels/${channel}/${tail.replace(/[^/]*$/, '')}${target.slice(2)}`;
        clean(await request(a, 'GET', path), path);
      }
    }
    const { body } = await request(b, 'GET', `/channels/${channel}/messages?limit=1`);
    for (const param of ['fromSerial', 'from_serial']) {
      clean(await request(a, 'GET', `/channels/${channel}/messages?${param}=${encodeURIComponent(body[0].serial ?? body[0].id)}`), param);
    }
  }
});

describe('realtime', () => {
  test('b\'s channel serials replay nothing to a', async (t) => {
    const wire = await Wire.connect(a);
    t.after(() => wire.destroy());
    for (const channel of channels) {
      const serial = live.seen.find((m) => m.action === ACTION.ATTACHED && m.channel === channel).channelSerial;
      const attached = await wire.attach(channel, { channelSerial: serial, params: { rewind: '10' } });
      assert.equal(JSON.stringify(attached).includes(canary), false);
    }
    await wire.roundTrip();
    assert.equal(JSON.stringify(wire.seen).includes(canary), false, 'something of b came over');
  });

  test('b\'s connection key gives a nothing, in any place', async (t) => {
    for (const mode of ['resume', 'recover']) {
      const wire = await Wire.open(a, { [mode]: live.key });
      t.after(() => wire.destroy());
      const first = await wire.next(() => true, 'an answer');
      assert.notEqual(first.connectionId, live.id);
      assert.equal(JSON.stringify(first).includes(canary), false);
    }
    const answer = await request(a, 'POST', '/channels/shared/messages', { body: { name: 'x', connectionKey: live.key } });
    assert.equal(answer.body.error?.code, 40006);
    await live.roundTrip();
  });

  test('what a publishes on the same name is not heard in b', async (t) => {
    const wire = await Wire.connect(a);
    t.after(() => wire.destroy());
    const before = live.seen.length;
    for (const channel of channels) {
      await wire.attach(channel);
      await wire.publish(channel, { name: 'from a' });
      await wire.presence(channel, { action: PRESENCE.enter, clientId: 'from a' });
    }
    await live.publish('shared', { name: 'fence' });
    await live.next((m) => m.messages?.[0]?.name === 'fence', 'the fence');
    assert.equal(JSON.stringify(live.seen.slice(before)).includes('from a'), false);
  });

  test('a\'s metachannels are silent about b', async (t) => {
    const wire = await Wire.connect(a, { key: a.keys[1].keyStr });
    t.after(() => wire.destroy());
    await wire.attach('[meta]connection.lifecycle', { params: { modes: 'subscribe' } });
    await wire.attach('[meta]channel.lifecycle', { params: { modes: 'subscribe' } });
    const other = await Wire.connect(b, { clientId: canary });
    await other.attach(`new-${canary}`);
    other.close();
    await other.closed;
    await wire.roundTrip();
    assert.equal(JSON.stringify(wire.seen).includes(canary), false);
  });
});

describe('keys and tokens', () => {
  test('a\'s key with b\'s app in the path is refused, and says the same for an app that is not there', async () => {
    const there = b.keys[0].keyName;
    const answers = [];
    for (const name of [there, there.replace(/\..*$/, '.nokey'), 'nowhere.nokey']) {
      for (const [tail, body] of [['revokeTokens', { targets: ['clientId:x'] }], ['requestToken', { keyName: name, timestamp: Date.now(), nonce: `${Math.random()}`.padEnd(16, '0') }]]) {
        const answer = await request(a, 'POST', `/keys/${name}/${tail}`, { body });
        assert.ok([400, 401, 403, 404].includes(answer.status), `${name}/${tail}: ${answer.status}`);
        clean(answer, name);
        answers.push(answer.status);
      }
    }
    await live.roundTrip();
  });

  test('revoking a clientId in a leaves the same clientId of b alone', async () => {
    const { token } = await tokenFor(b, { clientId: 'same' });
    await tokenFor(a, { clientId: 'same' });
    const answer = await request(a, 'POST', `/keys/${a.keys[0].keyName}/revokeTokens`, { body: { targets: ['clientId:same'] } });
    assert.equal(answer.body.successCount, 1);
    assert.equal((await request(b, 'GET', '/channels/x/messages', { token })).status, 200);
  });

  test('deleting an app needs that app\'s key, and takes its connections with it', async () => {
    const doomed = await provision(guard.server);
    const wire = await Wire.connect(doomed);
    const wrong = await request(a, 'DELETE', `/apps/${doomed.appId}`);
    assert.ok([401, 403, 404].includes(wrong.status));
    await wire.roundTrip();
    assert.ok((await request(doomed, 'DELETE', `/apps/${doomed.appId}`)).status < 300);
    await wire.closed;
    assert.ok((await request(doomed, 'GET', '/channels/x/messages')).status >= 400);
    await live.roundTrip();
  });
});

test('the log of the server holds neither secrets nor payloads', () => {
  const { log } = guard.server;
  for (const { keySecret } of [...a.keys, ...b.keys]) assert.equal(log.includes(keySecret), false, 'a key secret');
  assert.equal(log.includes(canary), false, 'a payload or clientId');
  assert.equal(log.includes(live.key), false, 'a connection key');
});
