import test from 'ava';
import { RowWriter } from './row-writer.ts';

/** A journal whose writes end when the test says so. */
class SlowJournal {
  readonly writes: { keys: string[]; durable: boolean; end: (error?: Error) => void }[] = [];

  readonly write = async (changes: readonly { key: string }[], durable: boolean): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      const end = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.writes.push({ keys: changes.map(({ key }) => key), durable, end });
    });
  };

  async end(at: number, error?: Error): Promise<void> {
    this.writes[at]?.end(error);
    await turns();
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

test('RowWriter has one write in flight, and the next carries everything asked for meanwhile', async (t) => {
  const journal = new SlowJournal();
  const writer = new RowWriter(journal.write);
  const done: string[] = [];
  const flush = (key: string, durable = false): void => {
    const change = { type: 'del', key } as const;
    void writer.flush([change], { durable }).then(() => done.push(key));
  };
  flush('a');
  await turns();
  flush('b');
  flush('c', true);
  flush('d');
  await turns();
  t.deepEqual(
    journal.writes.map(({ keys }) => keys),
    [['a']],
  );
  await journal.end(0);
  t.deepEqual(done, ['a']);
  t.deepEqual(journal.writes[1]?.keys, ['b', 'c', 'd']);
  t.true(journal.writes[1]?.durable);
  await journal.end(1);
  t.deepEqual(done, ['a', 'b', 'c', 'd']);
  await writer.idle();
});

test('RowWriter fails those whose write failed, and goes on with the next', async (t) => {
  const journal = new SlowJournal();
  const writer = new RowWriter(journal.write);
  const first = t.throwsAsync(writer.flush(), { message: 'disk' });
  await turns();
  const second = t.notThrowsAsync(writer.flush());
  await journal.end(0, new Error('disk'));
  await journal.end(1);
  await Promise.all([first, second]);
});
