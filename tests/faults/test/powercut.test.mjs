// A power cut (F5): the data lies on an ext4 image; the cut is a copy of the image while the server writes. What was acknowledged
// before the copy began is in it. Loop devices and mounting need root.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { Witness, long, pause, tried } from '../witness.mjs';

const cuts = long ? 50 : 3;
const IMAGE_MIB = 1024; // the server keeps 512 MiB free

test(`${cuts} power cuts`, async (t) => {
  const dir = temporaryDirectory();
  const [image, mount, cut, mountCut] = ['image', 'mount', 'cut', 'mount-cut'].map((name) => path.join(dir, name));
  fs.mkdirSync(mount);
  fs.mkdirSync(mountCut);
  const made = tried('truncate', '-s', `${IMAGE_MIB}M`, image) !== null && tried('mkfs.ext4', '-q', '-F', image) !== null;
  if (!made || tried('mount', '-o', 'loop', image, mount) === null) {
    return t.skip('an image cannot be made or mounted here (that needs root, loop devices and e2fsprogs)');
  }
  t.after(() => [mount, mountCut].forEach((at) => tried('umount', at)));
  const server = await Server.start({ dir: path.join(mount, 'data') });
  const witness = new Witness('persisted:cut');
  for (let n = 0; n < cuts; n++) {
    let writing = true;
    const writer = (async () => {
      while (writing) assert.equal(await witness.publish(server), 201);
    })();
    await pause(100 + Math.random() * 400);
    const acked = [...witness.acked];
    assert.notEqual(tried('cp', '--sparse=always', image, cut), null);
    writing = false;
    await writer;
    assert.notEqual(tried('mount', '-o', 'loop', cut, mountCut), null, 'the copy is a file system');
    const after = await Server.start({ dir: path.join(mountCut, 'data') });
    assert.ok(acked.length > 0);
    await witness.complete(after, acked);
    await after.stop();
    assert.notEqual(tried('umount', mountCut), null);
  }
  await server.stop();
});
