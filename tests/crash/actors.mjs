// Those who publish and listen while the server dies under them: they reconnect, and send again what was not answered.

import { request } from '../lib/http.mjs';
import { ACTION, FLAG, Wire } from '../lib/wire.mjs';
import { payload } from './ledger.mjs';

/** Where the server is just now. Actors wait here while there is none. */
export class Place {
  constructor() {
    this.server = null;
    this.stopped = false;
    this.waiting = [];
  }

  up(server) {
    this.server = server;
    for (const resolve of this.waiting.splice(0)) resolve(server);
  }

  down() {
    this.server = null;
  }

  /** The running server; waits for one. */
  ready() {
    return this.server ?? new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** One message at a time over REST: sent until it is answered, then the next. */
export async function restPublisher(place, ledger, { publisher, channel }) {
  for (let seq = 0; !place.stopped; seq++) {
    const { data, sum } = payload();
    const id = `${publisher}-${seq}`;
    ledger.sent({ id, channel, publisher, seq, sum });
    for (let answered = false; !answered; ) {
      const server = await place.ready();
      const path = `/channels/${encodeURIComponent(channel)}/messages`;
      const answer = await request(server, 'POST', path, { body: { id, name: publisher, data }, timeoutMs: 10_000 }).catch(() => null);
      if (answer?.status === 201) ledger.acked([id]);
      else if (answer && answer.status < 500) ledger.refused([id]);
      else {
        await breath();
        continue;
      }
      answered = true;
    }
  }
}

/** Many frames in flight over a realtime connection, some of them arrays; the unanswered are sent again in their order. */
export async function wirePublisher(place, ledger, { publisher, channel, window = 16 }) {
  let seq = 0;
  const pending = []; // frames that were sent and not answered, oldest first

  const make = () => {
    const size = seq % 7 === 3 ? 3 : 1;
    const base = `${publisher}-${seq}`;
    const messages = Array.from({ length: size }, (_, i) => {
      const { data, sum } = payload();
      const id = size > 1 ? `${base}:${i}` : base;
      ledger.sent({ id, channel, publisher, seq: seq++, sum, ...(size > 1 ? { array: base } : {}) });
      return { id, name: publisher, data };
    });
    return { messages, ids: messages.map((message) => message.id) };
  };

  while (!place.stopped || pending.length > 0) {
    const wire = await Wire.connect(await place.ready()).catch(() => null);
    if (!wire) {
      await breath();
      continue;
    }
    try {
      const flying = [];
      const fly = (frame) => {
        const outcome = wire.publish(channel, frame.messages);
        outcome.catch(() => {}); // looked at when its turn comes
        flying.push({ frame, outcome });
      };
      pending.forEach(fly);
      while (!place.stopped || pending.length > 0) {
        while (!place.stopped && flying.length < window) {
          const frame = make();
          pending.push(frame);
          fly(frame);
        }
        const { frame, outcome } = flying.shift();
        const answer = await outcome;
        if (answer.action === ACTION.ACK) ledger.acked(frame.ids);
        else ledger.refused(frame.ids);
        pending.shift();
      }
    } catch {
      await breath(); // the connection is gone: what is pending goes out again on the next one
    } finally {
      wire.destroy();
    }
  }
}

/** Listens to all channels, keeps its place in each, and writes down everything that it is told. */
export async function subscriber(place, log, { name, channels, until }) {
  const serials = new Map();
  let key;
  for (let over = false; !over; ) {
    const wire = await Wire.connect(await place.ready(), key ? { resume: key } : {}).catch(() => null);
    if (!wire) {
      await breath();
      continue;
    }
    key = wire.key;
    for (const channel of channels) {
      wire.send({ action: ACTION.ATTACH, channel, flags: FLAG.SUBSCRIBE, ...(serials.has(channel) ? { channelSerial: serials.get(channel) } : {}) });
    }
    try {
      while (!over) {
        const frame = await wire.next(() => true, 'anything', 60_000);
        if (frame.action === ACTION.ATTACHED) {
          log.push({ subscriber: name, channel: frame.channel, attached: { resumed: (frame.flags & FLAG.RESUMED) !== 0, offered: serials.get(frame.channel), serial: frame.channelSerial } });
        } else if (frame.action === ACTION.MESSAGE) {
          for (const [i, message] of frame.messages.entries()) {
            log.push({ subscriber: name, channel: frame.channel, id: message.id ?? `${frame.id}:${i}`, serial: frame.channelSerial });
          }
        } else continue;
        if (frame.channelSerial) serials.set(frame.channel, frame.channelSerial);
        over = until(name, log);
      }
    } catch {
      await breath();
    } finally {
      wire.destroy();
    }
  }
}

const breath = () => new Promise((resolve) => setTimeout(resolve, 10));
