// REST beside history: publishing one and many, on behalf of a connection, status, enumeration, batches, time.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { assertError, keyWith, links, provision, request } from '../../lib/http.mjs';
import { both, channelName, connected, data, gather, range, refused, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const pathOf = (name) => `/channels/${encodeURIComponent(name)}/messages`;

describe('publishing', () => {
  both('one message and many, received in order', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const got = await gather(client.channels.get(name));
    const one = await request(server, 'POST', pathOf(name), { binary, body: { name: 'one', data: '1' } });
    assert.equal(one.status, 201);
    assert.equal(one.body.channel, name);
    assert.equal(typeof one.body.messageId, 'string');
    assert.equal(one.body.serials.length, 1);
    const many = await request(server, 'POST', pathOf(name), { binary, body: [{ data: '2' }, { data: '3' }] });
    assert.equal(many.status, 201);
    assert.equal(many.body.serials.length, 2);
    assert.deepEqual(data(await got.until(3)), ['1', '2', '3']);
  });

  both('an array is all or nothing', async (t, binary) => {
    const name = channelName(t);
    const body = [{ data: 'fine' }, { data: 5 }];
    assertError(await request(server, 'POST', pathOf(name), { binary, body }), 400, 40013);
    const large = range(3).map(() => ({ data: 'x'.repeat(30_000) }));
    assertError(await request(server, 'POST', pathOf(name), { binary, body: large }), 400, 40009);
    assert.deepEqual((await request(server, 'GET', pathOf(name))).body, []);
  });

  both('on behalf of a connection', async (t, binary) => {
    const name = channelName(t);
    const client = await connected(t, server, { useBinaryProtocol: binary });
    const quiet = await connected(t, server, { echoMessages: false });
    const got = await gather(client.channels.get(name));
    const unheard = await gather(quiet.channels.get(name));
    const channel = rest(server, { useBinaryProtocol: binary }).channels.get(name);
    await channel.publish({ name: 'a', connectionKey: client.connection.key });
    await channel.publish({ name: 'b', connectionKey: quiet.connection.key });
    const [a, b] = await got.until(2);
    assert.equal(a.connectionId, client.connection.id);
    assert.equal(b.connectionId, quiet.connection.id);
    assert.ok(!('connectionKey' in a) || a.connectionKey === undefined, 'the key is a secret');
    assert.deepEqual((await unheard.fence(client)).map((m) => m.name), ['a']);
    await refused(channel.publish({ name: 'c', connectionKey: 'should.be.wrong' }), 40006, 400);
  });

  test('another app\'s connectionKey is as good as none', async (t) => {
    const other = await provision(server);
    const theirs = await connected(t, other);
    const wish = { name: 'x', connectionKey: theirs.connection.key };
    assertError(await request(server, 'POST', pathOf('behalf'), { body: wish }), 400, 40006);
  });

  test('without an envelope', async (t) => {
    const name = channelName(t);
    const client = await connected(t, server);
    const got = await gather(client.channels.get(name));
    const bare = (raw, headers) => request(server, 'POST', `${pathOf(name)}?enveloped=false`, { raw, headers });
    assert.equal((await bare('plain words', { 'content-type': 'text/plain', 'x-ably-name': 'greeting' })).status, 201);
    assert.equal((await bare(Buffer.from([0, 255]), { 'content-type': 'application/octet-stream' })).status, 201);
    const [text, bytes] = await got.until(2);
    assert.equal(text.name, 'greeting');
    assert.equal(text.data, 'plain words');
    assert.deepEqual([...Buffer.from(bytes.data)], [0, 255]);
  });

  test('a body that is none is refused', async () => {
    const bad = { 'no JSON': '{"name":', 'no object': '"text"', number: '7', empty: '', 'wrong UTF-8': Buffer.from([0x22, 0xff, 0x22]) };
    for (const [what, raw] of Object.entries(bad)) {
      const answer = await request(server, 'POST', pathOf('bad'), { raw });
      assert.equal(answer.status, 400, what);
      assertError(answer, 400);
    }
    assertError(await request(server, 'POST', pathOf('bad'), { raw: '<x/>', headers: { 'content-type': 'text/xml' } }), 400);
    assert.deepEqual((await request(server, 'GET', pathOf('bad'))).body, []);
  });
});

both('time is an array with now in it, for everyone', async (t, binary) => {
  const answer = await request(server, 'GET', '/time', { binary, authorization: null });
  assert.equal(answer.status, 200);
  assert.equal(answer.body.length, 1);
  assert.ok(Math.abs(answer.body[0] - Date.now()) < 60_000);
  assert.ok(Math.abs((await rest(server).time()) - Date.now()) < 60_000);
});

describe('channel status', () => {
  both('counts who is there', async (t, binary) => {
    const name = channelName(t);
    const empty = await rest(server, { useBinaryProtocol: binary }).channels.get(name).status();
    assert.equal(empty.channelId, name);
    assert.equal(typeof empty.status.isActive, 'boolean');
    const fields = ['connections', 'publishers', 'subscribers', 'presenceConnections', 'presenceMembers', 'presenceSubscribers'];
    for (const field of fields) assert.equal(empty.status.occupancy.metrics[field], 0, field);
    const one = await connected(t, server);
    const two = await connected(t, server);
    await one.channels.get(name).attach();
    await two.channels.get(name, { modes: ['presence', 'subscribe'] }).attach();
    await two.channels.get(name).presence.enterClient('a');
    await two.channels.get(name).presence.enterClient('b');
    const { metrics } = (await rest(server, { useBinaryProtocol: binary }).channels.get(name).status()).status.occupancy;
    assert.equal(metrics.connections, 2);
    assert.equal(metrics.subscribers, 2);
    assert.equal(metrics.publishers, 1);
    assert.equal(metrics.presenceMembers, 2);
    assert.equal(metrics.presenceSubscribers, 1);
  });

  test('needs its capability', async () => {
    const app = await keyWith(server, { here: ['subscribe'], there: ['channel-metadata'] });
    assertError(await request(app, 'GET', '/channels/here'), 401, 40160);
    assert.equal((await request(app, 'GET', '/channels/there')).status, 200);
  });
});

describe('enumeration', () => {
  test('lists active channels, by prefix and in pages, of this app alone', async (t) => {
    const app = await provision(server);
    const stranger = await connected(t, await provision(server));
    await stranger.channels.get('a:stranger').attach();
    const client = await connected(t, app);
    const names = [...range(5).map((i) => `a:${i}`), 'b:0'];
    await Promise.all(names.map((name) => client.channels.get(name).attach()));
    const ids = async (query) => (await request(app, 'GET', `/channels?by=id${query}`)).body;
    assert.deepEqual((await ids('')).sort(), names);
    assert.deepEqual((await ids('&prefix=a:')).sort(), names.slice(0, 5));
    const seen = [];
    let query = '?by=id&prefix=a:&limit=2';
    for (let pages = 0; query; pages++) {
      assert.ok(pages < 5, 'the pages end');
      const answer = await request(app, 'GET', `/channels${query}`);
      assert.ok(answer.body.length <= 2);
      seen.push(...answer.body);
      query = links(answer.headers).next?.replace(/^\.\/channels/, '');
    }
    assert.deepEqual(seen.sort(), names.slice(0, 5));
  });

  test('gives details by value, which version 2 did without asking', async (t) => {
    const app = await provision(server);
    await (await connected(t, app)).channels.get('only').attach();
    for (const [path, version] of [['/channels?by=value', 6], ['/channels', 2]]) {
      const [item] = (await request(app, 'GET', path, { version })).body;
      assert.equal(item.channelId ?? item.name, 'only', path);
      assert.ok(item.status, path);
    }
    assert.deepEqual((await request(app, 'GET', '/channels', { version: 6 })).body, ['only']);
  });

  test('needs channel-metadata on everything', async () => {
    const app = await keyWith(server, { '*': ['subscribe', 'publish'], one: ['channel-metadata'] });
    assertError(await request(app, 'GET', '/channels'), 401, 40160);
  });
});

describe('batches', () => {
  const capability = { open: ['publish', 'presence', 'subscribe', 'history'], shut: ['subscribe'] };

  both('publish: each channel has its own outcome', async (t, binary) => {
    const app = await keyWith(server, capability);
    const specs = [
      { channels: ['open', 'shut'], messages: [{ data: '1' }, { data: '2' }] },
      { channels: 'open', messages: { data: '3' } },
      { channels: ['[bad', 'open'], messages: { data: '4' } },
    ];
    const answer = await request(app, 'POST', '/messages', { binary, body: specs });
    assert.equal(answer.status, 201);
    assert.deepEqual(answer.body.map((r) => [r.successCount, r.failureCount]), [[1, 1], [1, 0], [1, 1]]);
    const [good, bad] = answer.body[0].results;
    assert.equal(good.channel, 'open');
    assert.ok(good.messageId);
    assert.equal('error' in good, false);
    assert.equal(bad.channel, 'shut');
    assert.equal(bad.error.code, 40160);
    assert.equal(bad.error.statusCode, 401);
    assert.equal('messageId' in bad, false);
    assert.equal(answer.body[2].results[0].error.code, 40010);
    const kept = await request(app, 'GET', `${pathOf('open')}?direction=forwards`);
    assert.deepEqual(data(kept.body), ['1', '2', '3', '4']);
    const viaSdk = await rest(app, { useBinaryProtocol: binary }).batchPublish(specs[0]);
    assert.equal(viaSdk.successCount, 1);
  });

  both('publish in the shape of version 2', async (t, binary) => {
    const app = await keyWith(server, capability);
    const fine = await request(app, 'POST', '/messages', { binary, version: 2, body: { channels: ['open'], messages: { data: 'x' } } });
    assert.equal(fine.status, 201);
    assert.deepEqual(fine.body.map((r) => r.channel), ['open']);
    const part = await request(app, 'POST', '/messages', { binary, version: 2, body: { channels: ['open', 'shut'], messages: { data: 'x' } } });
    assert.equal(part.status, 400);
    assert.equal(part.body.error.code, 40020);
    assert.deepEqual(part.body.batchResponse.map((r) => Boolean(r.error)), [false, true]);
  });

  test('publish keeps its limits', async () => {
    const many = range(101).map((i) => `c${i}`);
    const answer = await request(server, 'POST', '/messages', { body: { channels: many, messages: { data: 'x' } } });
    assert.equal(answer.status, 400);
    for (const body of [{}, { channels: [] }, { channels: ['a'] }, { messages: { data: 'x' } }, [], 'x', [{ channels: 5, messages: 5 }]]) {
      assert.equal((await request(server, 'POST', '/messages', { body })).status, 400, JSON.stringify(body));
    }
  });

  both('presence: who is where', async (t, binary) => {
    const app = await keyWith(server, capability);
    const client = await connected(t, { ...app, key: app.admin }, { clientId: 'ann' });
    await client.channels.get('open').presence.enter('x');
    const answer = await request(app, 'GET', '/presence?channels=open,elsewhere', { binary });
    assert.equal(answer.status, 200);
    assert.deepEqual([answer.body.successCount, answer.body.failureCount], [1, 1]);
    const [good, bad] = answer.body.results;
    assert.deepEqual(good.presence.map((m) => [m.clientId, m.action]), [['ann', 1]]);
    assert.equal('error' in good, false);
    assert.equal(bad.channel, 'elsewhere');
    assert.equal(bad.error.code, 40160);
    assert.equal('presence' in bad, false);
  });
});

test('statistics that are not kept yet are an empty list, not an error', async () => {
  const answer = await request(server, 'GET', '/stats');
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, []);
});
