// The load generator against the server, over this protocol: a run without a fault, and what it says when it is refused.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before } from 'node:test';
import { Server, binary } from '../../lib/server.mjs';
import { test } from '../pubsub.mjs';

let server;
before(async () => (server = await Server.start({ args: ['--workers', '2'] })));
after(() => server.stop());

/** Runs a scenario; resolves with its exit code, its report and what it printed for people. */
function bench(scenario, args, token = server.clientToken) {
  const url = `ws://${server.host}:${server.port}`;
  const target = ['--url', url, '--format', 'realtime-pubsub', '--app', server.appId, '--json'];
  const env = { ...process.env, FANFARE_TOKEN: token };
  return new Promise((resolve) => {
    execFile(binary, ['bench', scenario, ...target, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, report: stdout.trim() && JSON.parse(stdout), stderr });
    });
  });
}

const BRIEF = ['--seconds', '0.5', '--warmup', '0.1'];
const runs = [
  ['fanout', [...BRIEF, '--subscribers', '20'], 'deliveries_per_s'],
  ['many', [...BRIEF, '--channels', '50'], 'deliveries_per_s'],
  ['rate', [...BRIEF, '--subscribers', '5'], 'deliveries_per_s'],
  ['connect', ['--clients', '200', '--channels', '20'], 'clients_per_s'],
];
for (const [scenario, args, figure] of runs) {
  test(`${scenario}: everything arrives, in order, and is acknowledged`, async () => {
    const { code, report, stderr } = await bench(scenario, args);
    assert.equal(code, 0, stderr);
    assert.ok(report[figure] > 0, JSON.stringify(report));
  });
}

test('a token that is refused ends the run with the reason', async () => {
  const { code, stderr } = await bench('fanout', BRIEF, 'no.such.token');
  assert.notEqual(code, 0);
  assert.match(stderr, /the upgrade was refused: HTTP\/1.1 401/);
});
