// History over REST: pages in both directions, bounds, Link headers, and reading what was just written.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { assertError, links, request } from '../../lib/http.mjs';
import { allPages, both, channelName, data, range, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const pathOf = (name, tail = 'messages') => `/channels/${encodeURIComponent(name)}/${tail}`;

async function published(name, count) {
  const channel = rest(server).channels.get(name);
  for (const i of range(count)) await channel.publish('n', String(i));
}

for (const prefix of ['', 'persisted:']) {
  describe(`${prefix || 'plain'} history`, () => {
    both('in pages, backwards and forwards', async (t, binary) => {
      const name = channelName(t, prefix);
      await published(name, 50);
      const channel = rest(server, { useBinaryProtocol: binary }).channels.get(name);
      const backwards = await allPages(await channel.history({ limit: 7 }));
      assert.deepEqual(backwards.map((p) => p.length), [7, 7, 7, 7, 7, 7, 7, 1]);
      assert.deepEqual(data(backwards.flat()), range(50).map(String).reverse());
      const forwards = await allPages(await channel.history({ limit: 7, direction: 'forwards' }));
      assert.deepEqual(data(forwards.flat()), range(50).map(String));
      const second = await (await channel.history({ limit: 7, direction: 'forwards' })).next();
      assert.deepEqual(data((await second.first()).items), range(7).map(String));
      assert.deepEqual(data((await second.current()).items), range(7, 7).map(String));
    });

    test('a page that ends with the last message is the last page', async (t) => {
      const name = channelName(t, prefix);
      await published(name, 6);
      const pages = await allPages(await rest(server).channels.get(name).history({ limit: 3 }));
      assert.deepEqual(data(pages.flat()), range(6).map(String).reverse());
      assert.ok(pages.length <= 3, 'at most one empty page at the end');
    });

    test('an array is cut by pages where the limit falls', async (t) => {
      const name = channelName(t, prefix);
      await rest(server).channels.get(name).publish(range(10).map((i) => ({ name: 'n', data: String(i) })));
      for (const direction of ['forwards', 'backwards']) {
        const pages = await allPages(await rest(server).channels.get(name).history({ limit: 1, direction }));
        const whole = data(pages.flat());
        assert.deepEqual(direction === 'forwards' ? whole : whole.reverse(), range(10).map(String));
      }
    });

    test('start and end bound it, both included', async (t) => {
      const name = channelName(t, prefix);
      await published(name, 9);
      const channel = rest(server).channels.get(name);
      const items = (await channel.history({ direction: 'forwards' })).items;
      const [start, end] = [items[3].timestamp, items[6].timestamp];
      const expected = data(items.filter((m) => m.timestamp >= start && m.timestamp <= end));
      const bounded = await allPages(await channel.history({ start, end, direction: 'forwards', limit: 2 }));
      assert.deepEqual(data(bounded.flat()), expected);
      assert.deepEqual(data((await channel.history({ start, end })).items), expected.reverse());
      assert.deepEqual((await channel.history({ start: items[8].timestamp + 60_000, end: items[8].timestamp + 120_000 })).items, []);
    });

    test('new messages do not disturb the pages of an older look', async (t) => {
      const name = channelName(t, prefix);
      await published(name, 6);
      const channel = rest(server).channels.get(name);
      const first = await channel.history({ limit: 3 });
      await channel.publish('n', 'new');
      const rest_ = await allPages(await first.next());
      assert.deepEqual(data([...first.items, ...rest_.flat()]), range(6).map(String).reverse());
    });
  });
}

test('what is acknowledged is there to read', async (t) => {
  const name = channelName(t, 'persisted:');
  const channel = rest(server).channels.get(name);
  for (const i of range(50)) {
    await channel.publish('n', String(i));
    assert.deepEqual(data((await channel.history({ limit: 1 })).items), [String(i)]);
  }
});

both('an empty channel has one empty page', async (t, binary) => {
  const page = await rest(server, { useBinaryProtocol: binary }).channels.get(channelName(t)).history();
  assert.deepEqual(page.items, []);
  assert.equal(page.hasNext(), false);
  assert.equal(await page.next(), null);
});

describe('on the wire', () => {
  both('Link headers are relative to the last path segment, one for each relation', async (t, binary) => {
    const name = channelName(t);
    await published(name, 5);
    for (const tail of ['messages', 'history']) {
      const answer = await request(server, 'GET', `${pathOf(name, tail)}?limit=2&direction=forwards`, { binary });
      assert.equal(answer.status, 200);
      const found = links(answer.headers);
      for (const rel of ['first', 'current', 'next']) {
        assert.match(found[rel] ?? '', new RegExp(`^\\./${tail}\\?[^,]+$`), rel);
      }
      assert.match(found.next, /limit=2/);
      const next = await request(server, 'GET', `/channels/${encodeURIComponent(name)}/${found.next.slice(2)}`, { binary });
      assert.deepEqual(data(next.body), ['2', '3']);
    }
  });

  test('items carry id, timestamp and what was published', async (t) => {
    const name = channelName(t);
    await request(server, 'POST', pathOf(name), { body: { name: 'n', data: 'x', extras: { headers: { a: 1 } }, clientId: 'ann' } });
    const [item] = (await request(server, 'GET', pathOf(name))).body;
    assert.ok(item.id);
    assert.ok(Number.isInteger(item.timestamp));
    assert.deepEqual({ name: item.name, data: item.data, extras: item.extras, clientId: item.clientId },
      { name: 'n', data: 'x', extras: { headers: { a: 1 } }, clientId: 'ann' });
    assert.equal('encoding' in item, false);
  });

  for (const query of ['limit=abc', 'limit=1001', 'limit=-1', 'direction=sideways', 'start=yesterday', 'start=2&end=1']) {
    test(`?${query} is refused`, async () => {
      const answer = await request(server, 'GET', `${pathOf('x')}?${query}`);
      assert.equal(answer.status, 400);
      assertError(answer, 400);
      assert.ok(answer.body.error.code >= 40000 && answer.body.error.code < 40100, `code ${answer.body.error.code}`);
    });
  }

  test('a cursor that was made up is refused, or leads nowhere else', async (t) => {
    const [a, b] = [channelName(t), channelName(t)];
    await published(a, 3);
    await published(b, 3);
    const { next } = links((await request(server, 'GET', `${pathOf(a)}?limit=1`)).headers);
    const across = await request(server, 'GET', `/channels/${encodeURIComponent(b)}/${next.slice(2)}`);
    assert.ok(across.status === 400 || across.body.every((m) => m.name === 'n'), JSON.stringify(across.body));
    const broken = await request(server, 'GET', `/channels/${encodeURIComponent(a)}/${next.slice(2).replace(/=[^&]{5,}/g, '=!!broken!!')}`);
    assert.ok(broken.status === 400 || broken.status === 200);
    assert.notEqual(broken.status, 500);
  });
});
