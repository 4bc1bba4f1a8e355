// The oracle: a ledger, the histories after recovery and what live subscribers saw, weighed against each other.
//
// Pure: no server, no clock. What it must be able to find is listed in check.test.mjs, which breaks each thing once.

import { digest } from './ledger.mjs';

export const FAULTS = {
  lost: 'acknowledged, and not in the history',
  duplicated: 'more than once in the history',
  reordered: 'behind a later message of the same publisher',
  phantom: 'in the history, and never sent',
  refusedButKept: 'refused, and in the history all the same',
  corrupt: 'in the history with another payload or name',
  torn: 'an array of which only a part was kept',
  liveUnknown: 'delivered live, and not in the history',
  liveRepeated: 'delivered twice to one subscriber',
  liveReordered: 'delivered live in another order than the history\'s',
  liveGap: 'missed by a subscriber that was told it had missed nothing',
};

/**
 * @param {{id, channel, publisher, seq, sum, array?, state}[]} ledger
 * @param {Map<string, {id, name, data}[]>} histories oldest first
 * @param {{subscriber, channel, id?, attached?: {resumed: boolean}}[]} live in the order of arrival
 */
export function check(ledger, histories, live) {
  const found = Object.fromEntries(Object.keys(FAULTS).map((fault) => [fault, []]));
  const sent = new Map(ledger.map((entry) => [entry.id, entry]));
  const positions = checkHistories(found, sent, histories);
  checkLedger(found, ledger, positions);
  checkLive(found, live, positions);
  const count = (state) => ledger.filter((entry) => entry.state === state).length;
  const unknownKept = ledger.filter((entry) => entry.state === 'unknown' && positions.get(entry.channel)?.has(entry.id)).length;
  return {
    sent: ledger.length,
    acked: count('acked'),
    refused: count('refused'),
    unknown: count('unknown'),
    unknownKept, // allowed: it was kept, and the answer was lost in the crash
    delivered: live.filter((event) => event.id).length,
    faults: Object.fromEntries(Object.entries(found).map(([fault, list]) => [fault, list.length])),
    examples: Object.fromEntries(Object.entries(found).map(([fault, list]) => [fault, list.slice(0, 5)])),
    ok: Object.values(found).every((list) => list.length === 0),
  };
}

/** Looks at each history by itself; gives the position of every id in it. */
function checkHistories(found, sent, histories) {
  const positions = new Map();
  for (const [channel, messages] of histories) {
    const at = new Map();
    positions.set(channel, at);
    const latest = new Map(); // publisher → the highest seq so far
    messages.forEach((message, position) => {
      const entry = sent.get(message.id);
      if (at.has(message.id)) found.duplicated.push(`${channel} ${message.id}`);
      else at.set(message.id, position);
      if (!entry || entry.channel !== channel) {
        found.phantom.push(`${channel} ${message.id}`);
        return;
      }
      if (entry.state === 'refused') found.refusedButKept.push(message.id);
      if (message.name !== entry.publisher || digest(message.data ?? '') !== entry.sum) found.corrupt.push(message.id);
      const before = latest.get(entry.publisher) ?? -1;
      if (entry.seq < before) found.reordered.push(`${message.id} (${entry.seq} after ${before})`);
      latest.set(entry.publisher, Math.max(before, entry.seq));
    });
  }
  return positions;
}

function checkLedger(found, ledger, positions) {
  const arrays = new Map();
  for (const { id, channel, state, array } of ledger) {
    const kept = positions.get(channel)?.has(id) ?? false;
    if (state === 'acked' && !kept) found.lost.push(id);
    if (array) arrays.set(array, [...(arrays.get(array) ?? []), kept]);
  }
  for (const [array, kept] of arrays) if (kept.some(Boolean) && !kept.every(Boolean)) found.torn.push(array);
}

/** Between two attachments that were not RESUMED, a subscriber's messages are an unbroken run of the history. */
function checkLive(found, live, positions) {
  const last = new Map(); // subscriber and channel → {position, broken}
  for (const { subscriber, channel, id, attached } of live) {
    const key = `${subscriber} ${channel}`;
    const state = last.get(key) ?? { position: undefined, broken: true };
    last.set(key, state);
    if (attached) {
      if (!attached.resumed) state.broken = true;
      continue;
    }
    const position = positions.get(channel)?.get(id);
    if (position === undefined) {
      found.liveUnknown.push(`${key} ${id}`);
      continue;
    }
    if (state.position !== undefined && position === state.position) found.liveRepeated.push(`${key} ${id}`);
    else if (state.position !== undefined && position < state.position) {
      (state.seen.has(id) ? found.liveRepeated : found.liveReordered).push(`${key} ${id}`);
    } else if (!state.broken && position !== state.position + 1) {
      found.liveGap.push(`${key} ${id}: ${position - state.position - 1} missed`);
    }
    state.position = Math.max(position, state.position ?? -1);
    (state.seen ??= new Set()).add(id);
    state.broken = false;
  }
}
