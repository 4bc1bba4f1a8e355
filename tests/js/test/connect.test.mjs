// A connection's life: what CONNECTED says, pings, heartbeats, closing, and refusals that arrive as protocol errors.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { basic, bearer, tokenFor } from '../../lib/http.mjs';
import { both, connected, next, reached, realtime, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

describe('CONNECTED', () => {
  both('carries the details that SDKs read', async (t, binary) => {
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    const { connectionId, connectionDetails: details, error } = wire.connected;
    assert.equal(typeof connectionId, 'string');
    assert.ok(connectionId.length >= 8);
    assert.equal(error, undefined);
    assert.equal(typeof details.connectionKey, 'string');
    assert.notEqual(details.connectionKey, connectionId, 'the key is a secret, the id is public');
    assert.match(details.connectionKey, /^[\w!.~-]+$/, 'usable as a path segment');
    assert.equal(details.maxMessageSize, 65536);
    assert.equal(details.connectionStateTtl, 120000);
    assert.equal(details.maxIdleInterval, 15000);
    assert.ok(details.maxFrameSize >= details.maxMessageSize);
    assert.equal(typeof details.serverId, 'string');
  });

  both('takes the clientId that basic authentication asserts', async (t, binary) => {
    const client = await connected(t, server, { clientId: 'Ünïcode client', useBinaryProtocol: binary });
    assert.equal(client.auth.clientId, 'Ünïcode client');
  });

  test('gives each connection its own id and key', async (t) => {
    const clients = await Promise.all([1, 2, 3].map(() => connected(t, server)));
    assert.equal(new Set(clients.map((c) => c.connection.id)).size, 3);
    assert.equal(new Set(clients.map((c) => c.connection.key)).size, 3);
  });
});

describe('credentials', () => {
  const forms = {
    'key in the query': async () => [{ key: server.key }, {}],
    'access_token in the query': async () => [{ access_token: (await tokenFor(server)).token }, {}],
    'accessToken in the query': async () => [{ accessToken: (await tokenFor(server)).token }, {}],
    'Basic header': async () => [{}, { Authorization: basic(server.key) }],
    'Bearer header with base64': async () => [{}, { Authorization: bearer((await tokenFor(server)).token) }],
    'Bearer header with the raw token': async () => [{}, { Authorization: `Bearer ${(await tokenFor(server)).token}` }],
  };
  for (const [name, form] of Object.entries(forms)) {
    test(`are accepted as ${name}`, async () => {
      const [params, headers] = await form();
      const wire = await Wire.connect(server, params, { headers });
      wire.close();
      await wire.closed;
    });
  }

  const wrong = {
    'a wrong secret': (key) => `${key.split(':')[0]}:wrong`,
    'an unknown key of the app': (key) => `${key.split('.')[0]}.nokey:${key.split(':')[1]}`,
    'an unknown app': () => 'this.is:wrong',
    'no key at all': () => 'nonsense',
  };
  for (const [name, change] of Object.entries(wrong)) {
    test(`are refused after the upgrade: ${name}`, async () => {
      const wire = await Wire.open(server, { key: change(server.key) });
      const error = await wire.next(() => true, 'the refusal');
      assert.equal(error.action, ACTION.ERROR);
      assert.equal('channel' in error, false, 'a fatal error names no channel');
      // An unknown key of a known app has a code of its own: SDKs show it as 'key not found'.
      assert.equal(error.error.code, name === 'an unknown key of the app' ? 40400 : 40101);
      assert.equal(error.error.statusCode, 401);
      await wire.closed;
    });
  }

  both('wrong ones make the SDK fail, not retry', async (t, binary) => {
    const client = realtime(t, server, { key: 'this.is:wrong', useBinaryProtocol: binary });
    const change = await reached(client.connection, 'failed');
    assert.equal(change.reason.code, 40101);
    assert.equal(change.previous, 'connecting');
  });
});

describe('the protocol version', () => {
  for (const v of ['2', '3', '4', '5', '6']) {
    test(`${v} is spoken`, async () => {
      const wire = await Wire.connect(server, { v });
      wire.close();
      await wire.closed;
    });
  }
  test('1 is refused', async () => {
    const wire = await Wire.open(server, { v: '1' });
    const error = await wire.next(() => true, 'the refusal');
    assert.equal(error.action, ACTION.ERROR);
    assert.ok([40017, 80024].includes(error.error.code), `code ${error.error.code}`);
    await wire.closed;
  });
});

describe('heartbeats', () => {
  both('a ping is answered with its id', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const ms = await client.connection.ping();
    assert.ok(ms >= 0 && ms < 5000, `${ms} ms`);
    const wire = await Wire.connect(server, {}, { binary });
    t.after(() => wire.destroy());
    await wire.roundTrip();
  });

  test('an idle connection hears protocol heartbeats, or pings when it asks for none', async (t) => {
    const idle = { heartbeatInterval: '5000' };
    const asked = await Wire.connect(server, { ...idle, heartbeats: 'true' });
    const silent = await Wire.connect(server, { ...idle, heartbeats: 'false' });
    t.after(() => [asked, silent].forEach((wire) => wire.destroy()));
    assert.equal(asked.connected.connectionDetails.maxIdleInterval, 5000);
    const pinged = new Promise((resolve) => (silent.socket.onControl = (kind) => kind === 'ping' && resolve()));
    const beat = await asked.expect(ACTION.HEARTBEAT, undefined, 7000);
    assert.ok(beat.id === undefined || beat.id === null, 'an unasked heartbeat has no id');
    await pinged;
    assert.deepEqual(silent.inbox, [], 'no protocol message where pings are enough');
  });
});

test('what a newer client may say is ignored', async (t) => {
  const wire = await Wire.connect(server, { someday: 'yes', agent: 'x/1', lib: 'y' });
  t.after(() => wire.destroy());
  wire.send({ action: 99, wonder: { deep: [1, 2, 3] } });
  wire.send({ action: ACTION.HEARTBEAT, id: null, unknown: true, count: null });
  await wire.roundTrip();
});

describe('closing', () => {
  both('CLOSE is answered with CLOSED and ends the socket', async (t, binary) => {
    const wire = await Wire.connect(server, {}, { binary });
    wire.send({ action: ACTION.CLOSE });
    await wire.expect(ACTION.CLOSED);
    await wire.closed;
  });

  test('a closed connection cannot be resumed', async () => {
    const wire = await Wire.connect(server);
    wire.send({ action: ACTION.CLOSE });
    await wire.expect(ACTION.CLOSED);
    const again = await Wire.connect(server, { resume: wire.key });
    assert.notEqual(again.id, wire.id);
    assert.ok(again.connected.error, 'the client is told that it is another connection');
    again.close();
  });

  both('the SDK closes and connects again', async (t, binary) => {
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const first = client.connection.id;
    client.close();
    await reached(client.connection, 'closed');
    const again = next(client.connection, 'connected');
    client.connect();
    await again;
    assert.notEqual(client.connection.id, first);
  });
});
