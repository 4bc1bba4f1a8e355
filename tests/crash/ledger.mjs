// What publishers know: one line before a message is sent, one line, synced, when it was acknowledged or refused.
//
// The ledger lies beside the server's data, never in it, and never asks the server anything: it is the witness.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export class Ledger {
  constructor(directory) {
    this.file = path.join(directory, 'ledger.jsonl');
    this.fd = fs.openSync(this.file, 'a');
    this.counts = { sent: 0, acked: 0, refused: 0 };
  }

  /** A new message: its id, who sends it as which, and the digest of its payload. */
  sent(entry) {
    this.#write({ what: 'sent', ...entry });
    this.counts.sent += 1;
  }

  /** The server said that it has them. On disk before anything else happens. */
  acked(ids) {
    this.#outcome('acked', ids);
  }

  /** The server said that it will not have them: they must never appear. */
  refused(ids) {
    this.#outcome('refused', ids);
  }

  #outcome(what, ids) {
    this.#write({ what, ids, at: Date.now() });
    fs.fdatasyncSync(this.fd);
    this.counts[what] += ids.length;
  }

  #write(line) {
    fs.writeSync(this.fd, `${JSON.stringify(line)}\n`);
  }

  close() {
    fs.closeSync(this.fd);
  }

  /** The ledger read back: a list in the order of sending, each with its `state`. */
  static read(file) {
    const byId = new Map();
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
      if (!line) continue;
      const { what, ids, ...entry } = JSON.parse(line);
      if (what === 'sent') byId.set(entry.id, { ...entry, state: 'unknown' });
      else for (const id of ids) byId.get(id).state = what;
    }
    return [...byId.values()];
  }
}

export const digest = (text) => crypto.createHash('sha256').update(text).digest('hex').slice(0, 16);

/** A payload of random length, and its digest. */
export function payload() {
  const data = crypto.randomBytes(8 + crypto.randomInt(300)).toString('base64');
  return { data, sum: digest(data) };
}
