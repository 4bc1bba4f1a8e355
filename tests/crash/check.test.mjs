// The oracle is proven first: a true record is green, and each fault, made on purpose, is red under its own name.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { FAULTS, check } from './check.mjs';
import { Ledger, payload } from './ledger.mjs';

/** Two publishers on one channel, an array among their messages, one subscriber that saw all of it. */
function truth() {
  const ledger = [];
  const history = [];
  const live = [{ subscriber: 's', channel: 'c', attached: { resumed: false } }];
  for (let seq = 0; seq < 10; seq++) {
    for (const publisher of ['p', 'q']) {
      const { data, sum } = payload();
      const array = publisher === 'q' && seq >= 4 && seq <= 6 ? 'q-array' : undefined;
      const id = array ? `q-array:${seq - 4}` : `${publisher}-${seq}`;
      ledger.push({ id, channel: 'c', publisher, seq, sum, array, state: 'acked' });
      history.push({ id, name: publisher, data });
      live.push({ subscriber: 's', channel: 'c', id });
    }
  }
  ledger.push({ id: 'p-10', channel: 'c', publisher: 'p', seq: 10, sum: 'x', state: 'unknown' });
  ledger.push({ id: 'p-11', channel: 'c', publisher: 'p', seq: 11, sum: 'x', state: 'refused' });
  return { ledger, history, live };
}

const judge = ({ ledger, history, live }) => check(ledger, new Map([['c', history]]), live);
const faultsOf = (report) => Object.keys(report.faults).filter((fault) => report.faults[fault] > 0);

test('a true record is green', () => {
  const report = judge(truth());
  assert.deepEqual(faultsOf(report), []);
  assert.equal(report.ok, true);
  assert.deepEqual([report.sent, report.acked, report.unknown, report.refused, report.delivered], [22, 20, 1, 1, 20]);
});

test('what was not answered may be there', () => {
  const record = truth();
  const { data, sum } = payload();
  record.ledger.find((entry) => entry.id === 'p-10').sum = sum;
  record.history.push({ id: 'p-10', name: 'p', data });
  const report = judge(record);
  assert.equal(report.ok, true);
  assert.equal(report.unknownKept, 1);
});

const swap = (list, i, j) => ([list[i], list[j]] = [list[j], list[i]]);

const damage = {
  lost: (r) => {
    r.live = r.live.filter((e) => e.id !== 'p-3');
    r.history = r.history.filter((m) => m.id !== 'p-3');
  },
  duplicated: (r) => r.history.push({ ...r.history.at(-1) }),
  reordered: (r) => {
    swap(r.history, 0, 2);
    r.live = [];
  },
  phantom: (r) => r.history.push({ id: 'nobody', name: 'p', data: 'x' }),
  refusedButKept: (r) => {
    const { data, sum } = payload();
    r.ledger.find((entry) => entry.id === 'p-11').sum = sum;
    r.history.push({ id: 'p-11', name: 'p', data });
  },
  corrupt: (r) => (r.history[5].data = `${r.history[5].data.slice(1)}A`),
  torn: (r) => {
    const gone = 'q-array:1';
    r.ledger.forEach((entry) => entry.array && (entry.state = 'unknown'));
    r.live = r.live.filter((e) => e.id !== gone);
    r.history = r.history.filter((m) => m.id !== gone);
  },
  liveUnknown: (r) => r.live.push({ subscriber: 's', channel: 'c', id: 'p-10' }),
  liveRepeated: (r) => r.live.splice(6, 0, r.live[4]),
  liveReordered: (r) => {
    r.live = [...r.live.slice(0, 8), ...r.live.slice(9, 12)];
    r.live.push({ subscriber: 's', channel: 'c', attached: { resumed: false } }, { subscriber: 's', channel: 'c', id: r.history[7].id });
  },
  liveGap: (r) => r.live.splice(8, 1),
};

test('every fault has its damage here', () => assert.deepEqual(Object.keys(damage), Object.keys(FAULTS)));

for (const [fault, harm] of Object.entries(damage)) {
  test(`${fault}: ${FAULTS[fault]}`, () => {
    const record = truth();
    harm(record);
    const report = judge(record);
    assert.equal(report.ok, false);
    assert.ok(report.faults[fault] > 0, `found ${faultsOf(report).join() || 'nothing'}`);
    assert.ok(report.examples[fault].length > 0);
  });
}

test('a gap is no fault where the subscriber was told of it', () => {
  const record = truth();
  record.live.splice(8, 3, { subscriber: 's', channel: 'c', attached: { resumed: false } });
  assert.deepEqual(faultsOf(judge(record)), []);
  record.live[8].attached.resumed = true;
  assert.deepEqual(faultsOf(judge(record)), ['liveGap']);
});

test('a ledger is read back as it was written', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ledger-'));
  const ledger = new Ledger(directory);
  for (const id of ['a', 'b', 'c']) ledger.sent({ id, channel: 'c', publisher: 'p', seq: 0, sum: 'x' });
  ledger.acked(['a']);
  ledger.refused(['c']);
  ledger.close();
  assert.deepEqual(Ledger.read(ledger.file).map((e) => [e.id, e.state]), [['a', 'acked'], ['b', 'unknown'], ['c', 'refused']]);
  fs.rmSync(directory, { recursive: true });
});
