// Publishes to durable channels, remembers what was acknowledged, and compares that with what a server has.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { links, request } from '../lib/http.mjs';
import { digest, payload } from '../crash/ledger.mjs';

/** Short in CI; `LONG=1` for the figures of the faults' table. */
export const long = Boolean(process.env.LONG);

export class Witness {
  constructor(channel) {
    this.channel = channel;
    this.sent = new Map(); // id → digest
    this.acked = [];
    this.next = 0;
  }

  get path() {
    return `/channels/${encodeURIComponent(this.channel)}/messages`;
  }

  /** One message. Gives the answer's status, or 0 when there was none. */
  async publish(server) {
    const { data, sum } = payload();
    const id = `w${this.next++}`;
    this.sent.set(id, sum);
    const answer = await request(server, 'POST', this.path, { body: { id, name: 'w', data }, timeoutMs: 10_000 }).catch(() => null);
    if (answer?.status === 201) this.acked.push(id);
    this.refusal = answer?.body?.error;
    return answer?.status ?? 0;
  }

  /** The whole history, oldest first; throws with the answer when it is refused. */
  async history(server) {
    const messages = [];
    let target = `${this.path}?limit=1000&direction=forwards`;
    while (target) {
      const answer = await request(server, 'GET', target, { timeoutMs: 60_000 });
      if (answer.status !== 200) throw Object.assign(new Error(`history: ${answer.status}`), { answer });
      messages.push(...answer.body);
      const { next } = links(answer.headers);
      target = next && `/channels/${encodeURIComponent(this.channel)}/${next.slice(2)}`;
    }
    return messages;
  }

  /** Nothing in it that was not sent, or not so, or twice, or out of order. */
  truthful(messages) {
    let latest = -1;
    for (const { id, data } of messages) {
      assert.ok(this.sent.has(id), `${id} was never sent`);
      assert.equal(digest(data ?? ''), this.sent.get(id), `${id} has another payload`);
      const seq = Number(id.slice(1));
      assert.ok(seq > latest, `${id} after w${latest}`);
      latest = seq;
    }
  }

  /** All that was acknowledged is there, and all that is there is true. */
  async complete(server, acked = this.acked) {
    const messages = await this.history(server);
    this.truthful(messages);
    const there = new Set(messages.map(({ id }) => id));
    const lost = acked.filter((id) => !there.has(id));
    assert.deepEqual(lost, [], `${lost.length} of ${acked.length} acknowledged are lost`);
  }
}

/** Runs a command; null when it is not there or may not. */
export function tried(program, ...args) {
  try {
    return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  } catch {
    return null;
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
