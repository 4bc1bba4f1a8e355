// What a key permits, operation by operation, over REST and realtime, checked against a small model written here.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { assertError, keyWith, request, tokenFor } from '../../lib/http.mjs';
import { connected, refused, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

/** Does a pattern cover a plain channel name? `*` stands for one segment, at the end for one or more; `[*]` for any qualifier. */
function covers(pattern, channel) {
  const qualified = /^\[([^\]]*)\](.*)$/s.exec(pattern);
  if (qualified && qualified[1] !== '*') return false;
  const want = (qualified ? qualified[2] : pattern).split(':');
  const have = channel.split(':');
  const openEnded = want.at(-1) === '*';
  if (openEnded ? have.length < want.length : have.length !== want.length) return false;
  return want.every((segment, i) => segment === '*' || segment === have[i]);
}

const permits = (capability, operation, channel) =>
  Object.entries(capability).some(([pattern, ops]) => covers(pattern, channel) && (ops.includes('*') || ops.includes(operation)));

const path = (channel, tail = '') => `/channels/${encodeURIComponent(channel)}${tail}`;

/** One request for each operation. */
const attempts = {
  publish: (app, channel, as) => request(app, 'POST', path(channel, '/messages'), { ...as, body: { name: 'x' } }),
  history: (app, channel, as) => request(app, 'GET', path(channel, '/messages'), as),
  'channel-metadata': (app, channel, as) => request(app, 'GET', path(channel), as),
};

const sets = [
  { '*': ['*'] },
  { 'a:*': ['publish'], 'a:b': ['history'] },
  { a: ['publish', 'history', 'channel-metadata'], 'a:*:c': ['history'] },
  { 'foo*': ['*'], '*:b': ['publish'] },
  { 'x:*': ['*'], 'x:y': ['subscribe'] },
  { '[*]*': ['history'] },
];
const channels = ['a', 'a:b', 'a:b:c', 'a:x:c', 'b', 'foo*', 'foobar', 'x', 'x:y', 'x:y:z', 'A', 'ab', 'a:bc', 'xx:y'];

describe('REST', () => {
  for (const capability of sets) {
    test(`${JSON.stringify(capability)} permits what the model says`, async () => {
      const app = await keyWith(server, capability);
      const { token } = await tokenFor(app);
      for (const channel of channels) {
        for (const [operation, attempt] of Object.entries(attempts)) {
          for (const as of [{}, { token }]) {
            const answer = await attempt(app, channel, as);
            const what = `${operation} on ${channel} with a ${as.token ? 'token' : 'key'}: ${JSON.stringify(answer.body)}`;
            if (permits(capability, operation, channel)) assert.ok(answer.status < 300, what);
            else assert.equal(answer.body.error?.code, 40160, what);
          }
        }
      }
    });
  }

  test('a refusal is 401 with code 40160', async () => {
    const app = await keyWith(server, { here: ['subscribe'] });
    for (const attempt of Object.values(attempts)) assertError(await attempt(app, 'here', {}), 401, 40160);
  });
});

describe('realtime', () => {
  for (const capability of sets) {
    test(`${JSON.stringify(capability)} permits what the model says`, async (t) => {
      const app = await keyWith(server, capability);
      const wire = await Wire.connect(app);
      t.after(() => wire.destroy());
      for (const channel of channels) {
        const expected = permits(capability, 'publish', channel);
        const answer = await wire.publish(channel, { name: 'x' });
        assert.equal(answer.action === ACTION.ACK, expected, `transient publish on ${channel}: ${JSON.stringify(answer)}`);
        if (!expected) assert.equal(answer.error.code, 40160);
        wire.send({ action: ACTION.ATTACH, channel, params: { modes: 'subscribe' } });
        const attached = await wire.next((m) => m.channel === channel && [ACTION.ATTACHED, ACTION.ERROR].includes(m.action));
        assert.equal(attached.action === ACTION.ATTACHED, permits(capability, 'subscribe', channel), `attach ${channel}`);
        if (attached.action === ACTION.ERROR) assert.equal(attached.error.code, 40160);
      }
    });
  }

  test('presence has its own operation', async (t) => {
    const app = await keyWith(server, { a: ['presence', 'subscribe'], b: ['subscribe', 'publish'] });
    const wire = await Wire.connect(app);
    t.after(() => wire.destroy());
    await wire.attach('a');
    await wire.attach('b');
    assert.equal((await wire.presence('a', { action: PRESENCE.enter, clientId: 'x' })).action, ACTION.ACK);
    const denied = await wire.presence('b', { action: PRESENCE.enter, clientId: 'x' });
    assert.ok([40160, 40165].includes(denied.error?.code), JSON.stringify(denied));
  });

  test('a qualified channel needs a qualified grant', async (t) => {
    const plain = await connected(t, await keyWith(server, { '*': ['*'] }));
    const meta = '[meta]channel.lifecycle';
    await refused(plain.channels.get(meta).attach(), 40160, 401);
    const named = await connected(t, await keyWith(server, { '[meta]*': ['subscribe'] }));
    await named.channels.get(meta, { modes: ['subscribe'] }).attach();
    await refused(named.channels.get('plain').attach(), 40160, 401);
    const all = await connected(t, await keyWith(server, { '[*]*': ['*'] }));
    await all.channels.get(meta, { modes: ['subscribe'] }).attach();
    await all.channels.get('plain').attach();
  });

  test('a parameter in the name is no way around', async (t) => {
    const client = await connected(t, await keyWith(server, { open: ['subscribe'] }));
    await client.channels.get('[?rewind=1]open', { modes: ['subscribe'] }).attach();
    await refused(client.channels.get('[?rewind=1]shut', { modes: ['subscribe'] }).attach(), 40160, 401);
  });
});

test('presence over REST needs subscribe or presence, its history needs history', async () => {
  const app = await keyWith(server, { a: ['subscribe', 'presence'], b: ['history'], c: ['publish'] });
  assert.equal((await request(app, 'GET', path('a', '/presence'))).status, 200);
  assertError(await request(app, 'GET', path('c', '/presence')), 401, 40160);
  assert.equal((await request(app, 'GET', path('b', '/presence/history'))).status, 200);
  assertError(await request(app, 'GET', path('c', '/presence/history')), 401, 40160);
});
