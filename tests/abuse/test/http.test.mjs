// HTTP that trickles, never ends, or is none: bounded, answered where there is something to answer, and never in others' way (L3).

import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import { basic, request } from '../../lib/http.mjs';
import { bounded, guarded } from '../guard.mjs';

const guard = guarded();

/** Sends bytes on a fresh connection and gives all that comes back until the server ends it or `ms` have passed. */
function exchange(bytes, { ms = 3000, end = false } = {}) {
  return new Promise((resolve) => {
    const socket = net.connect(guard.server.port, guard.server.host);
    let got = '';
    let ended = false;
    const done = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ got, ended });
    };
    const timer = setTimeout(done, ms);
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      if (/\r\n\r\n/.test(got) && !/^HTTP\/1\.1 100/.test(got)) setTimeout(done, 50);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      ended = true;
      done();
    });
    socket.write(bytes);
    if (end) socket.end();
  });
}

const head = (more = '', target = '/time', method = 'GET') => `${method} ${target} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
const status = ({ got }) => Number(/^HTTP\/1\.\d (\d+)/.exec(got)?.[1]);

describe('requests that are none', () => {
  const cases = {
    'random words': 'HELLO SERVER\r\n\r\n',
    'no version': 'GET /time\r\n\r\n',
    'a version to come': 'GET /time HTTP/9.9\r\nHost: x\r\n\r\n',
    'a NUL in the path': 'GET /ti\0me HTTP/1.1\r\nHost: x\r\n\r\n',
    'a space in a header name': head('Bad Header: x\r\n'),
    'two lengths that differ': head('Content-Length: 5\r\nContent-Length: 6\r\n', '/messages', 'POST'),
    'a length and chunks': head('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '/messages', 'POST') + '0\r\n\r\n',
    'a negative length': head('Content-Length: -1\r\n', '/messages', 'POST'),
    'a chunk size that is none': head('Transfer-Encoding: chunked\r\n', '/messages', 'POST') + 'zz\r\n',
    'a TLS greeting': Buffer.from('1603010200010001fc0303', 'hex').toString('latin1'),
    'an HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  };
  for (const [what, bytes] of Object.entries(cases)) {
    test(`${what}: refused or ended`, async () => {
      const answer = await exchange(bytes, { end: true });
      const code = status(answer);
      assert.ok(answer.ended || (code >= 400 && code < 600), `neither: ${JSON.stringify(answer)}`);
      assert.notEqual(code, 200);
    });
  }
});

describe('too much', () => {
  test('of headers', async () => {
    await bounded(guard.server, 8, async () => {
      const many = Array.from({ length: 5000 }, (_, i) => `X-${i}: ${'v'.repeat(100)}\r\n`).join('');
      const answer = await exchange(head(many));
      assert.ok(answer.ended || [400, 431].includes(status(answer)), answer.got.slice(0, 100));
    });
  });

  test('of a path', async () => {
    const answer = await exchange(head('', `/${'x'.repeat(200_000)}`));
    assert.ok(answer.ended || [400, 404, 414, 431].includes(status(answer)), answer.got.slice(0, 100));
  });

  test('of a body that announces 100 GiB: refused before it is sent', async () => {
    const auth = `Authorization: ${basic(guard.server.key)}\r\nContent-Type: application/json\r\n`;
    await bounded(guard.server, 4, async () => {
      const answer = await exchange(head(`${auth}Content-Length: 107374182400\r\n`, '/messages', 'POST') + '{');
      assert.ok(answer.ended || [400, 413].includes(status(answer)), answer.got.slice(0, 200));
    });
  });

  test('of chunks without end', async () => {
    const auth = `Authorization: ${basic(guard.server.key)}\r\nContent-Type: application/json\r\n`;
    await bounded(guard.server, 16, async () => {
      const chunk = `10000\r\n${' '.repeat(0x10000)}\r\n`;
      const answer = await exchange(head(`${auth}Transfer-Encoding: chunked\r\n`, '/messages', 'POST') + chunk.repeat(300));
      assert.ok(answer.ended || [400, 413].includes(status(answer)), answer.got.slice(0, 200));
    });
  });
});

describe('too slow', () => {
  test('headers that never come are not waited for longer than 10 s and a little', async () => {
    const started = Date.now();
    const answer = await exchange('GET /time HTTP/1.1\r\nHost: x\r\n', { ms: 20_000 });
    assert.ok(answer.ended || status(answer) === 408, 'still waiting');
    assert.ok(Date.now() - started < 15_000, `${Date.now() - started} ms`);
  });

  test('500 that trickle do not keep a good client waiting', async (t) => {
    const sockets = Array.from({ length: 500 }, () => net.connect(guard.server.port, guard.server.host).on('error', () => {}));
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))));
    for (const socket of sockets) socket.write('GET /t');
    for (let i = 0; i < 10; i++) {
      for (const socket of sockets) socket.write('i');
      const started = Date.now();
      assert.equal((await request(guard.server, 'GET', '/time')).status, 200);
      assert.ok(Date.now() - started < 1000);
    }
  });
});

describe('upgrades that are none', () => {
  const upgrade = (more) => head(more, `/?v=6&key=${encodeURIComponent(guard.server.key)}`);
  const good = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
  test('a good one is accepted', async () => assert.equal(status(await exchange(upgrade(good))), 101));
  for (const [what, change] of Object.entries({
    'no key': (s) => s.replace(/Sec-WebSocket-Key.*\r\n/, ''),
    'a key that is none': (s) => s.replace(/AAAA.*==/, 'short'),
    'version 8': (s) => s.replace('13', '8'),
    'no Upgrade header': (s) => s.replace('Upgrade: websocket\r\n', ''),
    'another protocol': (s) => s.replace('websocket', 'h2c'),
  })) {
    test(`${what}: 400 or 426`, async () => {
      const code = status(await exchange(upgrade(change(good))));
      assert.ok([400, 404, 426].includes(code), `status ${code}`);
    });
  }
  test('a POST is none', async () => {
    const answer = await exchange(upgrade(good).replace(/^GET/, 'POST'));
    assert.ok([400, 404, 405].includes(status(answer)), answer.got.slice(0, 80));
  });
});

test('two requests on one connection are answered in order', async () => {
  const answer = await new Promise((resolve) => {
    const socket = net.connect(guard.server.port, guard.server.host);
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk;
      if ((got.match(/HTTP\/1\.1 /g) ?? []).length === 2 && /40400/.test(got)) {
        socket.destroy();
        resolve(got);
      }
    });
    setTimeout(() => resolve(got), 3000).unref();
    socket.write(head() + head('', '/not-found'));
  });
  assert.match(answer, /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 404 /);
});
