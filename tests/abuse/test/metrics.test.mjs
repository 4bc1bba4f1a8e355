// The names of metrics are a promise (docs/metrics.md), and no label tells who does what (A15).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { Wire } from '../../lib/wire.mjs';

const promised = [...fs.readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8').matchAll(/^\| `(fanfare_\w+)` \| (\w+)/gm)];

test('every promised metric is there, no other is, and what happened shows', async (t) => {
  const server = await Server.start({ args: ['--metrics-listen', '127.0.0.1:0'] });
  t.after(() => server.stop());
  const scrape = async () => {
    const answer = await fetch(server.metricsUrl);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^application\/openmetrics-text; version=1\.0\.0/);
    return answer.text();
  };
  const value = (text, name) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
  const wire = await Wire.connect(server, { clientId: 'canary-client' });
  await wire.attach('canary-channel');
  for (let i = 0; i < 3; i++) await wire.publish('canary-channel', { name: 'n', data: 'canary-data' });
  await wire.roundTrip();
  const text = await scrape();
  assert.ok(promised.length >= 10);
  const there = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, kind]) => [kind === 'counter' ? `${name}_total` : name, kind]);
  assert.deepEqual(there.sort(), promised.map(([, name, kind]) => [name, kind]).sort());
  assert.equal(value(text, 'fanfare_publishes_total'), 3);
  assert.equal(value(text, 'fanfare_transports'), 1);
  assert.ok(text.endsWith('# EOF\n'));
  const labels = new Set([...text.matchAll(/\{([^}]*)\}/g)].flatMap(([, all]) => all.split(',').map((one) => one.split('=')[0])));
  assert.deepEqual([...labels].sort(), ['kind', 'reason']);
  assert.equal(/canary/.test(text), false);
  wire.destroy();
});
