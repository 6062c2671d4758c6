import test from 'ava';
import { freshDisk, lookAtDisk } from './yield-disk.ts';
import type { DiskMemory, DiskSample } from './yield-disk.ts';

const MB = 1e6;
const LOOK_MS = 250;

/** A disk that does so much a second, and a reader beside us who gets what we leave. */
class Disk {
  readonly capacity = 200 * MB;
  memory: DiskMemory = freshDisk;
  /** What the reader would like; what we receive without a ceiling. */
  reader = 0;
  wants = 150 * MB;
  /** The part of the capacity that others lose by us: 0 for a disk that is fast enough for all. */
  harm = 1;
  hasPressure = true;

  pass(seconds: number): { readonly own: number; readonly reader: number } {
    let [own, read] = [0, 0];
    for (let look = 0; look < seconds * 4; look += 1) {
      const { writing } = this.memory.decision;
      const ours = writing === 0 ? this.wants : Math.min(this.wants, writing);
      const got = Math.min(this.reader, this.capacity - ours * this.harm);
      const part = LOOK_MS / 1000;
      const busy = Math.min(1, (got + ours * this.harm) / this.capacity);
      const sample: DiskSample = {
        ms: LOOK_MS,
        read: got * part,
        written: ours * part,
        ownRead: 0,
        ownWritten: ours * part,
        busyMs: busy * LOOK_MS,
        stalledMs: this.hasPressure ? busy * LOOK_MS : undefined,
      };
      this.memory = lookAtDisk(this.memory, sample);
      own += ours * part;
      read += got * part;
    }
    return { own: own / seconds, reader: read / seconds };
  }
}

for (const hasPressure of [true, false]) {
  const how = hasPressure ? 'with' : 'without';
  test(`yield-disk: a reader keeps 80 % of its rate, ${how} pressure information`, (t) => {
    const disk = new Disk();
    disk.hasPressure = hasPressure;
    disk.pass(5);
    t.is(disk.memory.decision.cause, 'alone');
    disk.reader = 190 * MB;
    const { reader, own } = disk.pass(40);
    t.true(reader > 0.8 * 190 * MB, `${reader}`);
    t.true(own >= 1 * MB);
    t.is(disk.memory.decision.cause, 'yielding');
    t.regex(disk.memory.decision.reason, /busy \d+ % of the time/);
  });
}

test('yield-disk: when the reader is gone there is no ceiling within 3 s', (t) => {
  const disk = new Disk();
  disk.reader = 190 * MB;
  disk.pass(20);
  t.true(disk.memory.decision.writing > 0);
  disk.reader = 0;
  disk.pass(3);
  t.is(disk.memory.decision.writing, 0);
});

test('yield-disk: who is no faster without us costs us a few seconds in thirty', (t) => {
  const disk = new Disk();
  disk.harm = 0;
  disk.reader = 150 * MB;
  disk.pass(10);
  t.is(disk.memory.decision.cause, 'not in the way');
  t.is(disk.memory.decision.writing, 0);
  const { own } = disk.pass(25);
  t.true(own > 0.9 * disk.wants, `${own}`);
});

test('yield-disk: a disk with room for all, or one that is ours alone, has no ceiling', (t) => {
  const disk = new Disk();
  disk.wants = 40 * MB;
  disk.reader = 30 * MB;
  disk.pass(10);
  t.is(disk.memory.decision.cause, 'unhurt');
  t.is(disk.memory.decision.writing, 0);
  disk.reader = 0;
  disk.wants = 200 * MB;
  disk.pass(10);
  t.is(disk.memory.decision.cause, 'alone');
});

test('yield-disk: what the kernel writes late is ours, and not of others', (t) => {
  let memory = freshDisk;
  const look = (ownWritten: number, written: number): void => {
    const part = { ms: LOOK_MS, read: 0, ownRead: 0, busyMs: LOOK_MS, stalledMs: LOOK_MS };
    memory = lookAtDisk(memory, { ...part, ownWritten, written });
  };
  for (let at = 0; at < 20; at += 1) look(20 * MB, 0);
  for (let at = 0; at < 20; at += 1) {
    look(0, 20 * MB);
    t.is(memory.decision.others, 0);
  }
  // Now all of ours is there.
  for (let at = 0; at < 8; at += 1) look(0, 20 * MB);
  t.is(memory.decision.others, 80 * MB);
});
