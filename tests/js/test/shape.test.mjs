// The shape of REST answers: fields, select and flatten, on every page and in both formats.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { assertError, links, request } from '../../lib/http.mjs';
import { Server } from '../../lib/server.mjs';
import { both, channelName, range, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

describe('fields, select and flatten', () => {
  both('of a history, page by page', async (t, binary) => {
    const name = channelName(t);
    const messages = range(3).map((i) => ({ name: `n${i}`, data: Buffer.from([i, 255]), extras: { headers: { a: i, b: 'x' } } }));
    await rest(server).channels.get(name).publish(messages);
    const get = (query) => request(server, 'GET', `/channels/${name}/messages?direction=forwards&${query}`, { binary });
    const data = (i) => (binary ? Buffer.from([i, 255]) : Buffer.from([i, 255]).toString('base64'));
    assert.deepEqual((await get('fields=name,extras.headers.a')).body, range(3).map((i) => ({ name: `n${i}`, extras: { headers: { a: i } } })));
    assert.deepEqual((await get('fields=data&limit=2')).body, [{ data: data(0) }, { data: data(1) }]);
    assert.deepEqual((await get('fields=name,data&flatten=true&limit=1')).body, { '0.name': 'n0', '0.data': data(0) });
    assert.deepEqual((await get('select=*.extras.*.a')).body, { '0.extras.headers.a': 0, '1.extras.headers.a': 1, '2.extras.headers.a': 2 });
    const seen = [];
    let query = 'fields=name&limit=2';
    for (let pages = 0; query; pages += 1) {
      assert.ok(pages < 3);
      const page = await request(server, 'GET', `/channels/${name}/messages?direction=forwards&${query}`, { binary });
      seen.push(...page.body);
      query = links(page.headers).next?.split('?')[1];
    }
    assert.deepEqual(seen, range(3).map((i) => ({ name: `n${i}` })));
  });

  test('of channel details, through the SDK, and in an envelope', async (t) => {
    const name = channelName(t);
    const client = rest(server);
    const path = `/channels/${name}`;
    const one = await client.request('GET', path, 3, { fields: 'channelId,status.occupancy.metrics.connections' });
    assert.deepEqual(one.items, [{ channelId: name, status: { occupancy: { metrics: { connections: 0 } } } }]);
    const flat = await client.request('GET', path, 3, { flatten: 'true', fields: 'status.isActive' });
    assert.deepEqual(flat.items, [{ 'status.isActive': true }]);
    const wrapped = await request(server, 'GET', `${path}?fields=channelId&envelope=json`);
    assert.deepEqual(wrapped.body.response, { channelId: name });
  });

  test('change no refusal and no publish, and are refused when they mean nothing', async (t) => {
    const path = `/channels/${channelName(t)}/messages`;
    assertError(await request(server, 'GET', `${path}?fields=name&limit=abc`), 400, 40003);
    for (const bad of ['fields=a..b', 'select=.', 'flatten=perhaps']) {
      assertError(await request(server, 'GET', `${path}?${bad}`), 400, 40003);
    }
    const published = await request(server, 'POST', `${path}?fields=channel`, { body: { name: 'x' } });
    assert.equal(published.status, 201);
    assert.ok(published.body.messageId);
  });
});
