import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import type { FromHost, LiveValues } from '../wire/messages.ts';
import { ValueTeller } from './value-teller.ts';

interface Bench {
  readonly clock: ManualClock;
  readonly teller: ValueTeller;
  readonly sent: FromHost[];
  /** Readings that are under way. */
  readonly readings: PromiseWithResolvers<LiveValues>[];
}

function bench(): Bench {
  const clock = new ManualClock();
  const sent: FromHost[] = [];
  const readings: PromiseWithResolvers<LiveValues>[] = [];
  const read = async (): Promise<LiveValues> => {
    const reading = Promise.withResolvers<LiveValues>();
    readings.push(reading);
    return reading.promise;
  };
  const teller = new ValueTeller({ read, send: (message) => void sent.push(message), clock });
  return { clock, teller, sent, readings };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('questions that come during a look are answered by it, and those shortly after too', async (t) => {
  const { clock, teller, sent, readings } = bench();
  teller.take({ type: 'query', id: 1 });
  teller.take({ type: 'query', id: 2 });
  readings[0]?.resolve({ load1: 0.5 });
  await settled();
  clock.advance(249);
  teller.take({ type: 'query', id: 3 });
  t.is(readings.length, 1);
  t.deepEqual(
    sent,
    [1, 2, 3].map((id) => ({ type: 'values', id, values: { load1: 0.5 } })),
  );
  clock.advance(1);
  teller.take({ type: 'query', id: 4 });
  readings[1]?.resolve({ load1: 0.7 });
  await settled();
  t.deepEqual(sent[3], { type: 'values', id: 4, values: { load1: 0.7 } });
});

test('a look that fails is told as such, and too many questions as too many', async (t) => {
  const { teller, sent, readings } = bench();
  for (let id = 1; id <= 20; id += 1) teller.take({ type: 'query', id });
  t.deepEqual(
    sent.map((message) => message.type === 'values' && [message.id, message.error?.code]),
    [17, 18, 19, 20].map((id) => [id, 'ERR_BUSY']),
  );
  readings[0]?.reject(new Error('no such file'));
  await settled();
  t.is(readings.length, 1);
  t.is(sent.length, 20);
  t.like(sent[4], { id: 1, error: { code: 'ERR_INTERNAL' } });
});
