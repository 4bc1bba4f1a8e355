// Many members: 250 of them come over in pages, complete and without repetition, and the limit is kept.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, FLAG, PRESENCE, Wire } from '../../lib/wire.mjs';
import { links, provision, request } from '../../lib/http.mjs';
import { both, channelName, connected, range, rest, test } from '../sdk.mjs';

let server;
let app; // its presence limit is 250, as the sandbox sets it
before(async () => {
  server = await Server.start();
  app = await provision(server, { limits: { presence: { maxMembers: 250 } } });
});
after(() => server.stop());

const clientIds = (members) => members.map((member) => member.clientId).sort();
const all = range(250).map((i) => `client-${String(i).padStart(3, '0')}`);

/** A channel with 250 members, entered over one connection. */
async function crowd(t, binary) {
  const name = channelName(t);
  const wire = await Wire.connect(app, {}, { binary });
  t.after(() => wire.destroy());
  await wire.attach(name, { flags: FLAG.PRESENCE });
  for (let i = 0; i < 250; i += 25) {
    const batch = all.slice(i, i + 25).map((clientId) => ({ action: PRESENCE.enter, clientId, data: `data of ${clientId}` }));
    assert.equal((await wire.presence(name, batch)).action, ACTION.ACK);
  }
  return { name, wire };
}

/** Reads a whole SYNC: its pages, and the members on them. */
async function readSync(wire, name) {
  const pages = [];
  let id;
  for (;;) {
    const page = await wire.expect(ACTION.SYNC, name);
    pages.push(page);
    assert.ok(page.presence.every((member) => member.action === PRESENCE.present), 'members are PRESENT');
    if (page.channelSerial === undefined) break;
    const [syncId, cursor] = page.channelSerial.split(':');
    id ??= syncId;
    assert.equal(syncId, id, 'one sync has one id');
    if (!cursor) break;
    assert.ok(pages.length < 1000, 'the sync never ends');
  }
  return { pages, members: pages.flatMap((page) => page.presence) };
}

both('the SDK sees all of them', async (t, binary) => {
  const { name } = await crowd(t, binary);
  const client = await connected(t, app, { useBinaryProtocol: binary });
  const members = await client.channels.get(name).presence.get();
  assert.deepEqual(clientIds(members), all);
  assert.ok(members.every((member) => member.data === `data of ${member.clientId}`));
});

both('the sync comes in pages, and again when asked for', async (t, binary) => {
  const { name, wire: enterer } = await crowd(t, binary);
  const wire = await Wire.connect(app, {}, { binary });
  t.after(() => wire.destroy());
  const attached = await wire.attach(name);
  assert.ok(attached.flags & FLAG.HAS_PRESENCE);
  const first = await readSync(wire, name);
  assert.ok(first.pages.length > 1, '250 members are more than a page');
  assert.deepEqual(clientIds(first.members), all);
  for (const member of first.members) {
    assert.equal(member.connectionId, enterer.id);
    assert.ok(member.id.startsWith(enterer.id));
    assert.equal(typeof member.timestamp, 'number');
  }
  wire.send({ action: ACTION.SYNC, channel: name });
  const second = await readSync(wire, name);
  assert.deepEqual(clientIds(second.members), all);
  assert.notEqual(second.pages[0].channelSerial, first.pages[0].channelSerial, 'a new sync has a new id');
});

test('who comes and goes during a sync is told right', async (t) => {
  const { name, wire: enterer } = await crowd(t, false);
  for (let round = 0; round < 5; round++) {
    const client = await connected(t, app);
    const reading = client.channels.get(name).presence.get();
    enterer.presence(name, { action: PRESENCE.leave, clientId: all[round] });
    await enterer.presence(name, { action: PRESENCE.update, clientId: all[249 - round], data: 'changed' });
    await reading;
    const watch = new Promise((resolve) => client.channels.get(name).presence.subscribe((e) => e.data === 'end' && resolve()));
    await enterer.presence(name, { action: PRESENCE.update, clientId: all[100], data: 'end' });
    await watch;
    const members = await client.channels.get(name).presence.get();
    assert.deepEqual(clientIds(members), all.slice(round + 1));
    assert.equal(members.find((m) => m.clientId === all[249 - round]).data, 'changed');
    client.close();
    await enterer.presence(name, { action: PRESENCE.update, clientId: all[100], data: 'again' });
  }
});

test('one more than the limit is refused with 91003, and a place that is left can be taken', async (t) => {
  const { name, wire } = await crowd(t, false);
  const extra = await wire.presence(name, { action: PRESENCE.enter, clientId: 'one-too-many' });
  assert.equal(extra.error?.code, 91003);
  assert.equal(extra.error.statusCode, 400);
  assert.equal((await wire.presence(name, { action: PRESENCE.update, clientId: all[0], data: 'x' })).action, ACTION.ACK);
  assert.equal((await wire.presence(name, { action: PRESENCE.leave, clientId: all[0] })).action, ACTION.ACK);
  assert.equal((await wire.presence(name, { action: PRESENCE.enter, clientId: 'one-too-many' })).action, ACTION.ACK);
  const page = await rest(app).channels.get(name).presence.get({ limit: 1000 });
  assert.equal(page.items.length, 250);
});

test('a channel without members promises none', async (t) => {
  const wire = await Wire.connect(app);
  t.after(() => wire.destroy());
  const attached = await wire.attach(channelName(t));
  assert.equal(attached.flags & FLAG.HAS_PRESENCE, 0);
});

both('REST gives them in pages too', async (t, binary) => {
  const { name } = await crowd(t, binary);
  const path = `/channels/${encodeURIComponent(name)}/presence`;
  const seen = [];
  let query = '?limit=100';
  for (let pages = 0; query; pages++) {
    assert.ok(pages < 4, 'three pages are enough');
    const answer = await request(app, 'GET', path + query, { binary });
    assert.equal(answer.status, 200);
    assert.ok(answer.body.length <= 100);
    seen.push(...answer.body);
    query = links(answer.headers).next?.replace(/^\.\/presence/, '');
  }
  assert.deepEqual(clientIds(seen), all);
  assert.ok(seen.every((member) => member.action === PRESENCE.present));
});
