import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostLimits } from '../../core/swarm/host-limits.ts';
import type { RateLimits } from '../../core/swarm/host-limits.ts';
import { AdaptiveIo } from './adaptive-io.ts';
import { SimulatedLine } from './simulated-line.contract.ts';

const MB = 1e6;
const CAPACITY = 12.5 * MB;

/** A host in virtual time, whose counters are those of a simulated line. */
class Host {
  readonly clock = new ManualClock();
  readonly line = new SimulatedLine({
    capacity: CAPACITY,
    connections: 8,
    random: new SeededRandom(1),
  });
  readonly limits = new HostLimits({ download: 0, upload: 0, origin: 0 }, this.clock);
  readonly told: string[] = [];
  looks = 0;
  isBlind = false;
  received = 0;
  counted = 0;
  readonly adaptive: AdaptiveIo;

  constructor() {
    this.adaptive = new AdaptiveIo({
      activity: () => this.counted,
      own: async () => ({ download: this.counted, origin: 0, upload: 0 }),
      line: async () => {
        this.looks += 1;
        if (this.isBlind) throw new CodedError('ERR_INTERNAL', 'no /proc here');
        return { received: this.received, sent: 0 };
      },
      disk: async () => undefined,
      apply: (ceilings) => this.limits.setCeilings(ceilings),
      clock: this.clock,
      log: {
        ...silentLog,
        info: (_facts: unknown, text: unknown) => void this.told.push(String(text)),
      },
    });
  }

  /** So many looks of the timer. */
  async pass(looks: number): Promise<void> {
    for (let at = 0; at < looks; at += 1) {
      this.line.ceiling = this.ceiling;
      const { total, own } = this.line.look();
      this.received += total;
      this.counted += own;
      this.clock.advance(250);
      // The look that the timer has begun; one more while it runs does nothing.
      await new Promise(setImmediate);
    }
  }

  /** What is in force, as downloads meet it. */
  get ceiling(): number {
    const { download, origin } = this.limits.inForce;
    return download + origin;
  }
}

test('AdaptiveIo lowers the limits in force while others use the line, and lifts them when they stop', async (t) => {
  const host = new Host();
  using adaptive = host.adaptive;
  await host.pass(40);
  t.is(host.ceiling, 0);
  t.is(adaptive.report.receive?.cause, 'alone');
  host.line.other.wants = Infinity;
  await host.pass(40);
  t.true(host.ceiling > 0 && host.ceiling < 0.2 * CAPACITY, `${host.ceiling}`);
  t.deepEqual(host.limits.own, { download: 0, upload: 0, origin: 0 } satisfies RateLimits);
  t.like(adaptive.report.receive, { ceiling: host.ceiling });
  host.line.other.wants = 0;
  await host.pass(8);
  t.is(host.ceiling, 0);
});

test('AdaptiveIo leaves no ceiling behind when it is closed, nor when nothing of ours moves any more', async (t) => {
  for (const isClosed of [true, false]) {
    const host = new Host();
    await host.pass(40);
    host.line.other.wants = Infinity;
    await host.pass(20);
    t.true(host.ceiling > 0);
    if (isClosed) {
      host.adaptive[Symbol.dispose]();
    } else {
      host.line.isOurs = false;
      await host.pass(60);
      const { looks } = host;
      await host.pass(20);
      t.is(host.looks, looks, 'a host at rest looks at nothing');
    }
    t.is(host.ceiling, 0);
    host.adaptive[Symbol.dispose]();
  }
});

test('AdaptiveIo says once what it cannot see, and does without', async (t) => {
  const host = new Host();
  using adaptive = host.adaptive;
  host.isBlind = true;
  await host.pass(20);
  t.is(host.looks, 1);
  t.deepEqual(host.told, ['not watched', 'not watched']);
  t.is(adaptive.report.blind.length, 2);
  t.true(adaptive.report.blind.some((text) => text.includes('no /proc here')));
  t.is(host.ceiling, 0);
});
