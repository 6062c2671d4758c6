/**
 * A program of somebody else on a host that downloads, or is downloaded from, over a line of its own rate: one TCP
 * stream, alone, beside a host with adaptive control off, and beside one with it on. What the stream keeps, and how soon
 * the host has its rate again once the stream has ended.
 */
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { askJson } from '../cluster/local-api.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { measureGoodput } from '../lab/goodput.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { AdaptiveCase, UsedPart } from './adaptive-case.ts';
import { SUPERNODE, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';

/** One run beside the other program; payload bytes per second. */
export interface AdaptiveRun {
  readonly part: UsedPart;
  readonly isAdaptive: boolean;
  /** Of the other program, alone and beside us. */
  readonly alone: number;
  readonly beside: number;
  /** Ours, before it came and while it was there. */
  readonly before: number;
  readonly during: number;
  /** Seconds after its end until we had 95 % of what we had before it for a second; undefined: not within 10. */
  readonly backAfter: number | undefined;
  /** What was decided while it was there, in the order of coming. */
  readonly reasons: readonly string[];
  /** Mean part of all processors in use meanwhile: above 0.6 the run says little of networks. */
  readonly cpu: number;
}

/** How it is run. */
export interface AdaptiveRunning {
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
const ORIGIN = 'origin';
const OTHER = 'other';
/** The host with adaptive control, and the one without; the others are behind them. */
const WATCHED = { on: 1, off: 2 };
const FIRST_PARENT = 3;
const SETTLE_MS = 7_000;
const BEFORE_MS = 3_000;
const BACK_MS = 10_000;
const LOOK_MS = 250;
const LOOKS_PER_SECOND = 4;
const BACK_PART = 0.95;
/** Of a supernode that is not to be the one that sends. */
const SLOW = 1_000_000;

/** Measures the parts of the line. */
export async function runAdaptive(
  about: AdaptiveCase,
  running: AdaptiveRunning,
): Promise<AdaptiveRun[]> {
  const { signal, onStep } = running;
  const { hosts, parent, rate, seconds } = about;
  onStep('a lab, and the programs in it');
  const names = Array.from({ length: hosts + FIRST_PARENT - 1 }, (_item, at) => `${at + 1}`);
  await using lab = await Lab.up({
    name: newLabName(),
    hosts: [...names, SUPERNODE, ORIGIN, OTHER].map((name) => ({ name })),
    signal,
  });
  await using cluster = await Cluster.start({
    hosts: names.length,
    parent,
    places: placesIn(lab),
    daemonArgs: (number) => ['--adaptive', number === WATCHED.on ? 'on' : 'off'],
    signal,
  });
  const size = Math.ceil((rate / 8) * ((SETTLE_MS + BEFORE_MS + BACK_MS) / 1000 + 2 * seconds));
  await using origin = await OriginProcess.start(
    cluster.workplace,
    { size },
    { place: placeOf(lab, ORIGIN), signal },
  );
  const runs: AdaptiveRun[] = [];
  for (const part of about.parts) {
    if (part === 'disk') continue;
    const bench = new LineBench({ about, part, lab, cluster, origin, running });
    runs.push(...(await bench.runs()));
  }
  return runs;
}

interface LineParts {
  readonly about: AdaptiveCase;
  readonly part: 'receive' | 'send';
  readonly lab: Lab;
  readonly cluster: Cluster;
  readonly origin: OriginProcess;
  readonly running: AdaptiveRunning;
}

class LineBench {
  readonly #parts: LineParts;

  constructor(parts: LineParts) {
    this.#parts = parts;
  }

  async runs(): Promise<AdaptiveRun[]> {
    const { part, cluster, running } = this.#parts;
    running.onStep(`${part}: content to where it is to come from`);
    await this.#setRates(0);
    const sources = part === 'receive' ? this.#behind : [cluster.host(WATCHED.on)];
    await Promise.all(sources.map(async (host) => this.#take(host, 'on')));
    if (part === 'send') await this.#take(cluster.host(WATCHED.off), 'off');
    await this.#setRates(this.#parts.about.rate);
    await untilQuiet(cluster);
    running.onStep(`${part}: the other program alone`);
    const alone = await this.#stream(WATCHED.on);
    const off = await this.#beside('off', alone);
    await untilQuiet(cluster);
    const on = await this.#beside('on', alone);
    await untilQuiet(cluster);
    return [off, on];
  }

  get #behind(): readonly ClusterHost[] {
    return this.#parts.cluster.hosts.slice(FIRST_PARENT - 1);
  }

  /** What is sent by one of both hosts is not what the other has; what is received may be the same. */
  #url(which: 'on' | 'off'): string {
    const { part, origin } = this.#parts;
    return `${origin.url}?${part}${part === 'send' ? which : ''}`;
  }

  async #setRates(rate: number): Promise<void> {
    const { lab, part } = this.#parts;
    for (const { name } of lab.hosts) {
      const isSlow = rate > 0 && part === 'send' && (name === SUPERNODE || name === ORIGIN);
      const up = isSlow ? SLOW : rate;
      await lab.setRate(name, { up, down: rate });
    }
  }

  async #take(host: ClusterHost, which: 'on' | 'off', signal?: AbortSignal): Promise<void> {
    const { running } = this.#parts;
    const options = { signal: signal ?? running.signal };
    for await (const event of host.download({ url: this.#url(which) }, options)) {
      if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
    }
  }

  /** Payload a second of the other program. */
  async #stream(number: number): Promise<number> {
    const { lab, part, about, cluster, running } = this.#parts;
    const { guard, env } = cluster.workplace;
    const pair =
      part === 'receive' ? { from: OTHER, to: `${number}` } : { from: `${number}`, to: OTHER };
    const { signal } = running;
    return measureGoodput(
      lab,
      { ...pair, rounds: 1, seconds: about.seconds },
      { guard, env, signal },
    );
  }

  async #beside(which: 'on' | 'off', alone: number): Promise<AdaptiveRun> {
    const { part, cluster, running } = this.#parts;
    running.onStep(`${part}: beside us, adaptive control ${which}`);
    const watched = cluster.host(WATCHED[which]);
    const controller = new AbortController();
    const takers = part === 'receive' ? [watched] : this.#behind;
    const taking = Promise.allSettled(
      takers.map(async (host) => this.#take(host, which, controller.signal)),
    );
    try {
      await clock.sleep(SETTLE_MS, running);
      const before = await this.#rateOver(watched, BEFORE_MS);
      const reasons: string[] = [];
      using _watch = watchReasons(watched, reasons);
      const first = await this.#passed(watched);
      const firstMs = clock.monotonic();
      const { result: beside, cpu } = await withCpuUse(cluster.pids, async () =>
        this.#stream(WATCHED[which]),
      );
      const during =
        (((await this.#passed(watched)) - first) * 1000) / (clock.monotonic() - firstMs);
      const backAfter = await this.#back(watched, before);
      const isAdaptive = which === 'on';
      return {
        part,
        isAdaptive,
        alone,
        beside,
        before,
        during,
        backAfter,
        reasons,
        cpu: cpu.machine,
      };
    } finally {
      controller.abort();
      await taking;
    }
  }

  /** Payload of ours that passed in the direction that is measured. */
  async #passed(host: ClusterHost): Promise<number> {
    const { linkReceivedBytes, linkSentBytes, originReceivedBytes } = (await host.status()).traffic;
    return this.#parts.part === 'send' ? linkSentBytes : linkReceivedBytes + originReceivedBytes;
  }

  async #rateOver(host: ClusterHost, ms: number): Promise<number> {
    const first = await this.#passed(host);
    const firstMs = clock.monotonic();
    await clock.sleep(ms, this.#parts.running);
    return (((await this.#passed(host)) - first) * 1000) / (clock.monotonic() - firstMs);
  }

  async #back(host: ClusterHost, before: number): Promise<number | undefined> {
    const startMs = clock.monotonic();
    const seen: { readonly atMs: number; readonly bytes: number }[] = [];
    while (clock.monotonic() - startMs < BACK_MS) {
      seen.push({ bytes: await this.#passed(host), atMs: clock.monotonic() });
      const last = seen.at(-1);
      const first = seen.at(-1 - LOOKS_PER_SECOND);
      if (last !== undefined && first !== undefined) {
        const rate = ((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs);
        if (rate >= before * BACK_PART) return (first.atMs - startMs) / 1000;
      }
      await clock.sleep(LOOK_MS, this.#parts.running);
    }
    return undefined;
  }
}

/** Notes each decision that is new. */
function watchReasons(host: ClusterHost, reasons: string[]): Disposable {
  const timer = clock.every(LOOK_MS, () => {
    askJson({ socketPath: host.socket }, '/v1/limits').then(
      (limits) => note(limits as { adaptive: { receive?: Shown; send?: Shown } }, reasons),
      () => undefined,
    );
  });
  return { [Symbol.dispose]: () => timer.cancel() };
}

interface Shown {
  readonly ceiling: number;
  readonly reason: string;
}

function note(
  { adaptive }: { readonly adaptive: { readonly receive?: Shown; readonly send?: Shown } },
  reasons: string[],
): void {
  const { receive, send } = adaptive;
  const text = [receive, send].map((each) => `${each?.ceiling ?? 0}: ${each?.reason ?? ''}`);
  const line = text.join(' | ');
  if (line !== reasons.at(-1)) reasons.push(line);
}
