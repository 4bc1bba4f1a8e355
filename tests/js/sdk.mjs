// What the SDK tests share: clients that end with their test, both formats, and waiting for things to happen.

import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import Ably from 'ably';

export { Ably };

/** A test that hangs must not take its whole file with it. */
export const test = (name, body) => nodeTest(name, { timeout: 45_000 }, body);

/** Runs a test once in JSON and once in MessagePack. */
export function both(name, body) {
  for (const binary of [false, true]) test(`${name} (${binary ? 'msgpack' : 'json'})`, (t) => body(t, binary));
}

let names = 0;

/** A channel name that no other test uses. */
export const channelName = (t, prefix = '') => `${prefix}${t.name.replace(/[^a-z0-9]+/gi, '-')}-${process.pid}-${++names}`;

const credentials = ['key', 'token', 'tokenDetails', 'authCallback', 'authUrl'];

export function options(app, more = {}) {
  const own = credentials.some((name) => name in more) ? {} : { key: app.key };
  return { endpoint: '127.0.0.1', port: app.port, tls: false, logLevel: 0, ...own, ...more };
}

/** A realtime client, closed when the test ends. */
export function realtime(t, app, more) {
  const client = new Ably.Realtime(options(app, more));
  t.after(() => client.close());
  return client;
}

/** A realtime client that is connected. */
export async function connected(t, app, more) {
  const client = realtime(t, app, more);
  await reached(client.connection, 'connected');
  return client;
}

export const rest = (app, more) => new Ably.Rest(options(app, more));

/** Waits for a promise, and says what was awaited when it does not come. */
export function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The connection or channel is, or comes to be, in a state; gives the change that led there. */
export async function reached(thing, state, ms = 15_000) {
  const seen = [];
  const note = (change) => seen.push(`${change.current}${change.reason ? ` (${change.reason.code} ${change.reason.message})` : ''}`);
  thing.on(note);
  try {
    return await within(ms, thing.whenState(state), `state ${state} (is ${thing.state})`);
  } catch (error) {
    throw new Error(`${error.message}; states: ${seen.join(', ') || 'none'}`);
  } finally {
    thing.off(note);
  }
}

/** The next change to a state, even if it has that state now. */
export const next = (thing, event, ms = 15_000) => within(ms, thing.once(event), `event ${event}`);

/** Subscribes, attaches, and gathers: `items`, and `until(n)` to wait for n of them. */
export async function gather(channel, event) {
  const items = [];
  let wake = () => {};
  const listener = (message) => {
    items.push(message);
    wake();
  };
  const change = await (event ? channel.subscribe(event, listener) : channel.subscribe(listener));
  return {
    items,
    change,
    async until(count, ms = 15_000) {
      const enough = (async () => {
        while (items.length < count) await new Promise((resolve) => (wake = resolve));
      })();
      try {
        await within(ms, enough, `${count} messages`);
      } catch (error) {
        throw new Error(`${error.message}; have ${items.length}: ${JSON.stringify(items.slice(-3))}`);
      }
      return items;
    },
    /** Publishes a last message from `client` and waits for it: nothing published before is still under way. */
    async fence(client) {
      const name = `fence-${Math.random()}`;
      const arrived = new Promise((resolve) => channel.subscribe(name, resolve));
      await client.channels.get(channel.name).publish(name, null);
      await within(15_000, arrived, 'the fence');
      return items.filter((message) => !message.name?.startsWith('fence-'));
    },
  };
}

/** Gathers presence events the same way; `until(fits)` waits for an event that fits. */
export async function watchPresence(channel) {
  const events = [];
  let wake = () => {};
  await channel.presence.subscribe((message) => {
    events.push(message);
    wake();
  });
  return {
    events,
    async until(fits, what, ms = 15_000) {
      const found = (async () => {
        for (;;) {
          const event = events.find(fits);
          if (event) return event;
          await new Promise((resolve) => (wake = resolve));
        }
      })();
      return within(ms, found, `presence event: ${what}`);
    },
  };
}

/** A promise must be refused with this Ably error code. */
export async function refused(promise, code, statusCode) {
  let error;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, `expected error ${code}, but it succeeded`);
  const codes = [code].flat();
  assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code} ${error.statusCode} ${error.message}`);
  if (statusCode !== undefined) assert.equal(error.statusCode, statusCode);
  return error;
}

/** Every page of a paginated result. */
export async function allPages(page, limit = 1000) {
  const pages = [];
  for (let at = page; at; at = at.hasNext() ? await at.next() : null) {
    pages.push(at.items);
    assert.ok(pages.length <= limit, 'the pages never end');
  }
  return pages;
}

export const data = (messages) => messages.map((message) => message.data);
export const range = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i);
