// One real server process, started for a test file and stopped by it.
//
// The harness knows three things about the program: its arguments, the one JSON line that it prints when it
// accepts connections, and that SIGTERM ends it. Everything else goes over sockets.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The program under test: FANFARE_BIN, else the debug build. */
export const binary = path.resolve(process.env.FANFARE_BIN ?? path.join(root, 'target/debug/fanfare'));

/** Arguments for every server of a run (to try another store, another level of durability, …). */
const extraArgs = (process.env.FANFARE_EXTRA_ARGS ?? '').split(/\s+/).filter(Boolean);

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
// A test runner that loses patience sends a signal: end through the handler above, so that no server is left behind.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));

/** A directory of this run's own, removed when the process ends. */
export function temporaryDirectory() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'fanfare-test-'));
  process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A port that was free a moment ago; for tests that restart a server on the same one. */
export async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve, reject) => probe.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

export class Server {
  /**
   * Starts a server and resolves when it accepts connections.
   * `files` is how many files it may have open; the system's own limit when left out.
   * @param {{dir?: string, port?: number, args?: string[], env?: object, readyMs?: number, files?: number}} how
   */
  static async start({ dir = temporaryDirectory(), port = 0, args = [], env = {}, readyMs = 20_000, files } = {}) {
    if (!fs.existsSync(binary)) throw new Error(`no server at ${binary}: build it, or set FANFARE_BIN`);
    const argv = ['serve', '--dev', '--listen', `127.0.0.1:${port}`, '--data', dir, '--json', ...args, ...extraArgs];
    const [program, all] = files ? ['sh', ['-c', `ulimit -n ${files}; exec "$@"`, 'sh', binary, ...argv]] : [binary, argv];
    const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    running.add(child);
    const server = new Server(child, dir);
    try {
      Object.assign(server, await server.#ready(readyMs));
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    return server;
  }

  constructor(child, dir) {
    this.child = child;
    this.dir = dir;
    this.log = '';
    child.stderr.on('data', (chunk) => {
      this.log = (this.log + chunk).slice(-64 * 1024);
    });
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        running.delete(child);
        resolve({ code, signal });
      });
      child.once('error', (error) => resolve({ code: null, signal: null, error }));
    });
  }

  async #ready(readyMs) {
    const lines = readline.createInterface({ input: this.child.stdout });
    const line = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ready line within ${readyMs} ms\n${this.log}`)), readyMs);
      lines.on('line', (text) => {
        if (!text.startsWith('{')) return;
        clearTimeout(timer);
        resolve(text);
      });
      this.exited.then(({ code, signal, error }) => {
        clearTimeout(timer);
        reject(new Error(`the server ended before it was ready (${error ?? code ?? signal})\n${this.log}`));
      });
    });
    const ready = JSON.parse(line);
    for (const field of ['url', 'appId', 'key']) {
      if (typeof ready[field] !== 'string') throw new Error(`the ready line has no "${field}": ${line}`);
    }
    return { ...ready, ready, port: Number(new URL(ready.url).port), host: new URL(ready.url).hostname };
  }

  get pid() {
    return this.child.pid;
  }

  get alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resident memory in KiB, as the kernel tells it. */
  residentKiB() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]);
  }

  /** The highest resident memory since `forgetPeak()`, in KiB. */
  peakKiB() {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]);
  }

  forgetPeak() {
    fs.writeFileSync(`/proc/${this.pid}/clear_refs`, '5');
  }

  /** Open file descriptors: a leak of sockets shows here. */
  openFiles() {
    return fs.readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Asks the server to end; an orderly end has exit code 0 within `withinMs`. */
  async stop(withinMs = 15_000) {
    if (!this.alive) return this.exited;
    this.child.kill('SIGTERM');
    const late = Symbol('late');
    let timer;
    const timeout = new Promise((resolve) => (timer = setTimeout(resolve, withinMs, late)));
    const end = await Promise.race([this.exited, timeout]);
    clearTimeout(timer);
    if (end === late) {
      await this.kill();
      throw new Error(`the server was still running ${withinMs} ms after SIGTERM\n${this.log}`);
    }
    return end;
  }

  /** Ends the server as a crash would. */
  async kill() {
    if (this.alive) this.child.kill('SIGKILL');
    return this.exited;
  }
}
