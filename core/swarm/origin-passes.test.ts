import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { PortCaller, servePort } from '../base/port-rpc.ts';
import { SeededRandom } from '../base/random.ts';
import { Standing } from '../base/standing.ts';
import { KeyedRates } from '../net/keyed-rates.ts';
import { OriginGate } from '../origin/origin-gate.ts';
import { OriginHostLimits } from '../origin/origin-host-limit.ts';
import { OriginPasses } from './origin-passes.ts';
import type { TransferEvents, TransferOperations } from './transfer-messages.ts';

type Admitted = TransferOperations['origin-admitted']['args'];

/** The two ends of a worker as far as passes are concerned. */
class Worker implements Disposable {
  readonly admitted: Admitted[] = [];
  readonly caller: PortCaller<TransferOperations, TransferEvents>;
  readonly #ports: readonly MessagePort[];

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#ports = [port1, port2];
    this.caller = new PortCaller(port1, () => undefined);
    servePort<Pick<TransferOperations, 'origin-admitted'>>(port2, {
      'origin-admitted': (args) => void this.admitted.push(args),
    });
  }

  async told(count: number): Promise<void> {
    while (this.admitted.length < count) await new Promise((turn) => setImmediate(turn));
  }

  [Symbol.dispose](): void {
    for (const port of this.#ports) port.close();
  }
}

function passesOf(clock: ManualClock): { gate: OriginGate; passes: OriginPasses } {
  const limits = new OriginHostLimits([{ host: 'a', bytesPerSecond: 5, requests: 1 }]);
  const rates = new KeyedRates((host) => limits.rateOf(host), clock);
  const gate = new OriginGate({ limits, rates, clock, random: new SeededRandom(1) });
  return { gate, passes: new OriginPasses(gate) };
}

test('OriginPasses: what a worker that died had is free for others, and what it waited for is forgotten', async (t) => {
  const { gate, passes } = passesOf(new ManualClock());
  using first = new Worker();
  using second = new Worker();
  passes.wanted(first.caller, { pass: 1, host: 'a', origin: undefined }, undefined);
  passes.wanted(first.caller, { pass: 2, host: 'a', origin: undefined }, undefined);
  passes.wanted(second.caller, { pass: 1, host: 'a', origin: undefined }, new Standing());
  await first.told(1);
  t.is(first.admitted[0]?.pass, 1);
  t.is(gate.requests, 3);
  passes.died(first.caller);
  await second.told(1);
  t.is(gate.requests, 1);
  passes.left(second.caller, { pass: 1 });
  passes.left(second.caller, { pass: 1 });
  t.is(gate.requests, 0);
  t.is(first.admitted.length, 1);
});

test('OriginPasses tells a worker the limit of the host, the same one each time, and takes its word for a rest', async (t) => {
  const clock = new ManualClock();
  const { passes } = passesOf(clock);
  using worker = new Worker();
  passes.wanted(worker.caller, { pass: 1, host: 'a', origin: undefined }, undefined);
  await worker.told(1);
  passes.left(worker.caller, { pass: 1, restMs: 1_000 });
  passes.wanted(worker.caller, { pass: 2, host: 'a', origin: undefined }, undefined);
  passes.wanted(worker.caller, { pass: 3, host: 'b', origin: undefined }, undefined);
  await worker.told(2);
  t.is(worker.admitted[1]?.pass, 3, 'another host is not meant');
  clock.advance(1_250);
  await worker.told(3);
  const [before, other, after] = worker.admitted;
  t.is(after?.pass, 2);
  t.is(after?.limit?.id, before?.limit?.id);
  t.not(other?.limit?.id, before?.limit?.id);
});
