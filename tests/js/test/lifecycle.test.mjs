// Lifecycle metachannels: channels and connections that begin and end, told to whoever may listen.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { keyWith, provision, request } from '../../lib/http.mjs';
import { Proxy } from '../../lib/proxy.mjs';
import { both, channelName, connected, gather, reached, refused, rest, test, within } from '../sdk.mjs';

const CHANNELS = '[meta]channel.lifecycle';
const CONNECTIONS = '[meta]connection.lifecycle';
const grant = { '[meta]*': ['subscribe', 'history'], '*': ['*'] };

let server;
before(async () => {
  // Tails that end soon: a channel with one message closes while a test waits.
  const config = `${temporaryDirectory()}/fanfare.toml`;
  fs.writeFileSync(config, '[limits]\ntail_age_max_seconds = 3\n');
  server = await Server.start({ args: ['--config', config] });
});
after(() => server.stop());

/** Collects events, and waits for the one of that name about that channel or connection. */
async function watch(client, metachannel, options) {
  const got = await gather(client.channels.get(metachannel, options));
  const about = (m) => m.data.channelId ?? m.data.connectionId;
  return {
    names: (subject) => got.items.filter((m) => about(m) === subject).map((m) => m.name),
    until: async (name, subject) => {
      for (let n = 0; ; n = got.items.length + 1) {
        await got.until(n, 10_000).catch((error) => {
          throw new Error(`no ${name} of ${subject}: ${error.message}`);
        });
        const found = got.items.find((m) => m.name === name && about(m) === subject);
        if (found) return found;
      }
    },
  };
}

describe('channels', () => {
  both('open with their first client and close after their last', async (t, binary) => {
    const app = await keyWith(server, grant);
    const events = await watch(await connected(t, app, { useBinaryProtocol: binary }), CHANNELS);
    const [a, b] = [await connected(t, app), await connected(t, app)];
    // Several, so that more than one worker owns some.
    for (const name of [1, 2, 3, 4].map((i) => `${channelName(t)}-${i}`)) {
      await a.channels.get(name).attach();
      const opened = await events.until('channel.opened', name);
      assert.equal(opened.data.status.isActive, true);
      assert.deepEqual(opened.data.status.occupancy.metrics, {
        connections: 1, publishers: 1, subscribers: 1, presenceConnections: 1, presenceMembers: 0,
        presenceSubscribers: 1, objectPublishers: 0, objectSubscribers: 0,
      });
      assert.equal(typeof opened.timestamp, 'number');
      assert.equal(opened.connectionId, undefined, 'the server speaks, not a client');
      await b.channels.get(name).attach();
      await a.channels.get(name).detach();
      await b.channels.get(name).detach();
      const closed = await events.until('channel.closed', name);
      assert.equal(closed.data.status.isActive, false);
      assert.equal(closed.data.status.occupancy.metrics.connections, 0);
      assert.deepEqual(events.names(name), ['channel.opened', 'channel.closed'], 'once each');
    }
  });

  test('open by a publish over HTTP, and close when nothing is left to resume', async (t) => {
    const app = await keyWith(server, grant);
    const events = await watch(await connected(t, app), CHANNELS);
    const name = channelName(t);
    await rest(app).channels.get(name).publish('x', null);
    const opened = await events.until('channel.opened', name);
    assert.equal(opened.data.status.occupancy.metrics.connections, 0);
    const listed = await request(app, 'GET', '/channels');
    assert.ok(listed.body.includes(name), 'and the list of channels says the same');
    await events.until('channel.closed', name);
    assert.ok(!(await request(app, 'GET', '/channels')).body.includes(name));
  });

  test('are heard of by rewind and history, and of another app not at all', async (t) => {
    const app = await keyWith(server, grant);
    const other = await keyWith(server, grant);
    const client = await connected(t, app);
    const events = await watch(client, CHANNELS);
    const name = channelName(t);
    const stranger = await connected(t, other);
    await stranger.channels.get(`${name}-theirs`).attach();
    await client.channels.get(name).attach();
    await events.until('channel.opened', name);
    assert.deepEqual(events.names(`${name}-theirs`), []);
    const history = await client.channels.get(CHANNELS).history();
    assert.deepEqual(history.items.map((m) => [m.name, m.data.channelId]), [['channel.opened', name]]);
    const late = await watch(await connected(t, app), CHANNELS, { params: { rewind: '1' } });
    await late.until('channel.opened', name);
  });
});

describe('connections', () => {
  both('open and close, and say whose they are', async (t, binary) => {
    const app = await keyWith(server, grant);
    const events = await watch(await connected(t, app, { useBinaryProtocol: binary }), CONNECTIONS);
    for (const clientId of [undefined, 'somebody']) {
      const client = await connected(t, app, clientId ? { clientId } : {});
      const { id } = client.connection;
      const opened = await events.until('connection.opened', id);
      assert.deepEqual(opened.data, clientId ? { connectionId: id, clientId } : { connectionId: id });
      client.close();
      await events.until('connection.closed', id);
      assert.deepEqual(events.names(id), ['connection.opened', 'connection.closed']);
    }
  });

  test('that are resumed neither close nor open', async (t) => {
    const app = await keyWith(server, grant);
    const events = await watch(await connected(t, app), CONNECTIONS);
    const proxy = await Proxy.to(server);
    t.after(() => proxy.close());
    const client = await connected(t, app, { port: proxy.port });
    const { id } = client.connection;
    await events.until('connection.opened', id);
    const back = within(15_000, client.connection.once('connected'), 'the connection again');
    proxy.cut();
    await back;
    assert.equal(client.connection.id, id);
    client.close();
    await events.until('connection.closed', id);
    assert.deepEqual(events.names(id), ['connection.opened', 'connection.closed']);
  });
});

describe('who may listen', () => {
  for (const [capability, allowed] of [
    [{ '*': ['*'] }, false],
    [{ '*': ['subscribe'], 'channel.lifecycle': ['subscribe'] }, false],
    [{ '[meta]channel.lifecycle': ['subscribe'] }, true],
    [{ '[meta]*': ['subscribe'] }, true],
    [{ '[*]*': ['*'] }, true],
    [{ '[meta]*': ['publish'] }, false],
  ]) {
    test(`${JSON.stringify(capability)} ${allowed ? 'may' : 'may not'}`, async (t) => {
      const app = await keyWith(server, capability);
      const client = await connected(t, app);
      const channel = client.channels.get(CHANNELS);
      if (allowed) await channel.attach();
      else await refused(channel.attach(), 40160, 401);
    });
  }

  test('nobody speaks or is present there', async (t) => {
    const app = await keyWith(server, { '[*]*': ['*'] });
    const client = await connected(t, app, { clientId: 'me' });
    const channel = client.channels.get(CONNECTIONS);
    await channel.attach();
    await reached(channel, 'attached');
    await refused(channel.publish('connection.opened', {}), 40160, 401);
    await refused(channel.presence.enter(), [40160, 40165]);
    await refused(rest(app).channels.get(CONNECTIONS).publish('x', null), 40160, 401);
  });

  test('costs those without a listener nothing: there is no history', async (t) => {
    const app = await provision(server, { keys: [{ capability: JSON.stringify(grant) }] });
    const client = await connected(t, app);
    await client.channels.get(channelName(t)).attach();
    assert.deepEqual((await rest(app).channels.get(CHANNELS).history()).items, []);
    assert.deepEqual((await rest(app).channels.get(CONNECTIONS).history()).items, []);
  });
});
