// Who takes more than a share of the sockets: storms, those who never finish a sentence, and a server out of files (L3, F8).
// 127.0.0.0/8 is one machine with many addresses: the attacker has another than the good client.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { request } from '../../lib/http.mjs';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { Wire } from '../../lib/wire.mjs';
import { bounded } from '../guard.mjs';

const ATTACKER = '127.0.0.66';
const range = (count) => Array.from({ length: count }, (_, i) => i);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function started(t, transport = '') {
  const dir = temporaryDirectory();
  const config = path.join(dir, 'fanfare.toml');
  fs.writeFileSync(config, `[transport]\n${transport}\n`);
  const server = await Server.start({ dir, args: ['--config', config] });
  t.after(() => server.stop());
  return server;
}

/** A bare socket from another address. `answer` collects what comes, `ended` resolves with it at the end. */
function open(server, localAddress = ATTACKER) {
  const socket = net.connect({ port: server.port, host: '127.0.0.1', localAddress, noDelay: true });
  socket.answer = '';
  socket.on('data', (chunk) => (socket.answer += chunk));
  socket.on('error', () => {});
  socket.ended = new Promise((resolve) => socket.once('close', () => resolve(socket.answer)));
  socket.there = new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return socket;
}

const ask = (server, from) => {
  const socket = open(server, from);
  socket.write('GET /time HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  return socket.ended;
};

/** How long a client that does nothing wrong waits to be CONNECTED, the slowest of several. */
async function goodClient(server, times = 5) {
  let slowest = 0;
  for (const _ of range(times)) {
    const from = Date.now();
    const wire = await Wire.connect(server);
    slowest = Math.max(slowest, Date.now() - from);
    wire.destroy();
  }
  return slowest;
}

function refusedWith(answer, status, code) {
  assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), answer.slice(0, 200) || 'closed without a word');
  assert.match(answer, new RegExp(`x-ably-errorcode: ${code}\\r\\n`, 'i'));
  const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
  assert.deepEqual([body.error.code, body.error.statusCode], [code, status]);
}

describe('one address', () => {
  test('has so many connections and no more, and each that ends makes room', async (t) => {
    const server = await started(t, 'connections_per_address_max = 5');
    const wires = [];
    for (const _ of range(4)) wires.push(await Wire.connect(server));
    const last = open(server, '127.0.0.1');
    await last.there;
    await pause(100);
    refusedWith(await ask(server, '127.0.0.1'), 429, 42922);
    assert.match(await ask(server, ATTACKER), /^HTTP\/1.1 200 /, 'another address has its own share');
    wires.pop().destroy();
    await pause(200);
    assert.match(await ask(server, '127.0.0.1'), /^HTTP\/1.1 200 /);
    wires.forEach((wire) => wire.destroy());
    last.destroy();
  });

  test('has so many handshakes at once; those that are over count no more', async (t) => {
    const server = await started(t, 'handshakes_per_address_max = 3');
    const silent = range(3).map(() => open(server));
    await Promise.all(silent.map((socket) => socket.there));
    await pause(100);
    refusedWith(await ask(server, ATTACKER), 429, 42922);
    assert.ok((await goodClient(server)) < 1000);
    silent[0].write('GET /time HTTP/1.1\r\nhost: x\r\n\r\n');
    await pause(200);
    assert.match(await ask(server, ATTACKER), /^HTTP\/1.1 200 /);
    silent.forEach((socket) => socket.destroy());
  });
});

test('the whole server has so many connections, and says 503 to the next', async (t) => {
  const server = await started(t, 'connections_max = 4');
  const sockets = range(4).map((i) => open(server, `127.0.0.${10 + i}`));
  await Promise.all(sockets.map((socket) => socket.there));
  await pause(100);
  refusedWith(await ask(server, ATTACKER), 503, 50003);
  sockets.forEach((socket) => socket.destroy());
  await pause(200);
  assert.match(await ask(server, ATTACKER), /^HTTP\/1.1 200 /);
});

describe('those who never finish', () => {
  test('a request\'s head has its time, one byte a second or none at all', async (t) => {
    const server = await started(t, 'handshake_timeout_seconds = 2');
    const from = Date.now();
    const [slow, silent, half] = range(3).map(() => open(server));
    half.write('GET / HTTP/1.1\r\nhost: ');
    const drip = setInterval(() => slow.write('G'), 500);
    await Promise.all([slow, silent, half].map((socket) => socket.ended));
    clearInterval(drip);
    const took = Date.now() - from;
    assert.ok(took > 1500 && took < 4000, `${took} ms`);
  });

  test('so has a body, however steadily it drips', async (t) => {
    const server = await started(t, 'body_timeout_seconds = 2');
    const from = Date.now();
    const socket = open(server);
    const basic = Buffer.from(server.key).toString('base64');
    socket.write(`POST /channels/x/messages HTTP/1.1\r\nhost: x\r\nauthorization: Basic ${basic}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`);
    const drip = setInterval(() => socket.write('{'), 200);
    while (!socket.answer.includes('}')) {
      assert.ok(Date.now() - from < 5000, 'no answer');
      await pause(50);
    }
    clearInterval(drip);
    assert.match(socket.answer, /^HTTP\/1.1 408 /);
    assert.match(socket.answer, /"code":40000/);
    socket.destroy();
  });

  test('5,000 at one byte a second and a storm of 10,000: others connect within a second', async (t) => {
    const server = await started(t);
    await bounded(server, 2000 * 30 / 1024 + 16, async () => {
      const slow = [];
      for (const _ of range(50)) {
        const some = range(100).map(() => open(server));
        await Promise.all(some.map((socket) => socket.there));
        some.forEach((socket) => socket.write('G'));
        slow.push(...some);
      }
      const drip = setInterval(() => slow.forEach((socket) => socket.writable && socket.write('G')), 1000);
      assert.ok((await goodClient(server)) < 1000, 'while they drip');
      let storming = true;
      const storm = (async () => {
        for (const i of range(100)) {
          const some = range(100).map(() => open(server, `127.0.0.${70 + (i % 20)}`));
          await Promise.all(some.map((socket) => socket.there));
          some.forEach((socket) => socket.destroy());
        }
        storming = false;
      })();
      let tries = 0;
      while (storming) {
        const took = await goodClient(server, 1);
        tries += 1;
        assert.ok(took < 1000, `${took} ms in the storm`);
        await pause(50);
      }
      await storm;
      assert.ok(tries > 3, 'the storm was long enough to say so');
      clearInterval(drip);
      slow.forEach((socket) => socket.destroy());
    });
    assert.ok((await goodClient(server)) < 1000);
  });
});

describe('a server without files', () => {
  const cpu = (pid) => {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10; // ms at 100 ticks a second
  };

  test('does not spin, keeps those whom it has, and takes new ones soon after', async (t) => {
    const server = await started(t);
    const wire = await Wire.connect(server);
    const files = server.openFiles();
    try {
      execFileSync('prlimit', ['--pid', String(server.pid), `--nofile=${files + 20}:`]);
    } catch {
      return t.skip('prlimit may not be used here');
    }
    const crowd = range(200).map(() => open(server));
    await Promise.all(crowd.map((socket) => socket.there));
    await pause(300);
    const [before, from] = [cpu(server.pid), Date.now()];
    await pause(2000);
    const share = (cpu(server.pid) - before) / (Date.now() - from);
    assert.ok(share < 0.5, `${Math.round(share * 100)} % of a core`);
    await wire.roundTrip();
    crowd.forEach((socket) => socket.destroy());
    const freed = Date.now();
    assert.ok((await goodClient(server, 1)) < 5000);
    assert.ok(Date.now() - freed < 5000);
    wire.destroy();
    assert.equal((await request(server, 'GET', '/time')).status, 200);
  });

  test('started with few, it refuses before the store has none', async (t) => {
    const dir = temporaryDirectory();
    const server = await Server.start({ dir, files: 256 });
    t.after(() => server.stop());
    const crowd = range(400).map((i) => open(server, `127.0.0.${100 + (i % 4)}`));
    await Promise.all(crowd.map((socket) => socket.there));
    await pause(500);
    refusedWith(await ask(server, ATTACKER), 503, 50003);
    assert.ok(server.openFiles() < 256, `${server.openFiles()} files`);
    crowd.forEach((socket) => socket.destroy());
    await pause(300);
    const answer = await request(server, 'POST', '/channels/persisted%3Afiles/messages', { body: { name: 'x' } });
    assert.equal(answer.status, 201);
  });
});
