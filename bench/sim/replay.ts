import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { overOneStream, quantile } from '../report/swarm-limits.ts';
import { simCase } from './sim-case.ts';
import type { SimCase } from './sim-case.ts';
import type { SimResult } from './simulate.ts';

const Positive = Type.Number({ exclusiveMinimum: 0 });
const Seconds = Type.Number({ minimum: 0 });

const RecordedHost = Type.Object({
  /** Bits per second on the wire. */
  rate: Positive,
  joined: Seconds,
  /** Until its dfdaemon had the order; what Node needs to start. */
  started: Seconds,
  /** Left out: it was killed. */
  seconds: Type.Optional(Seconds),
  /** Bytes that came twice. */
  duplicate: Type.Optional(Seconds),
});

/** What is read of the file that `npm run bench -- swarm --json FILE` writes. */
export const RecordedSwarm = Type.Object({
  swarm: Type.Object({
    size: Type.Integer({ minimum: 1 }),
    rate: Positive,
    delayMs: Seconds,
    loss: Type.Number({ minimum: 0, maximum: 1 }),
    kill: Type.Number({ minimum: 0, exclusiveMaximum: 1 }),
    slow: Type.Optional(
      Type.Object({ hosts: Type.Integer({ minimum: 1 }), factor: Type.Number({ minimum: 0 }) }),
    ),
    idcs: Type.Integer({ minimum: 1 }),
    thin: Seconds,
  }),
  goodput: Positive,
  pieceLength: Type.Integer({ minimum: 1 }),
  runs: Type.Array(
    Type.Object({
      contender: Type.String(),
      hosts: Type.Array(RecordedHost, { minItems: 1 }),
      cpu: Type.Object({ machine: Type.Number() }),
      /** What came to all hosts, with all headers. */
      wireBytes: Type.Optional(Positive),
    }),
  ),
});
/** A real run. */
export type RecordedSwarm = Static<typeof RecordedSwarm>;

const parseSwarm = parser(RecordedSwarm, { code: 'ERR_USAGE' });

/** A figure of the real run beside that of the simulated one; seconds. */
export interface Replayed {
  readonly what: 'p50' | 'max';
  readonly recorded: number;
  readonly simulated: number;
  /** Of the simulated from the recorded, as a share of the recorded. */
  readonly difference: number;
}

/** Reads a real run; ERR_USAGE naming the field that is wrong. */
export async function readRecorded(path: string): Promise<RecordedSwarm> {
  let recorded: RecordedSwarm;
  try {
    recorded = parseSwarm(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('ERR_USAGE', `--replay ${path}: ${message}`, { cause });
  }
  const { swarm, pieceLength } = recorded;
  if (swarm.loss > 0) {
    throw new CodedError('ERR_USAGE', '--replay: a run without --loss; packets are not simulated');
  }
  if (pieceLength !== pieceLengthFor(swarm.size)) {
    throw new CodedError('ERR_USAGE', `--replay: pieces of ${pieceLength} bytes are not made now`);
  }
  return recorded;
}

/**
 * The same case in virtual time: links carry what one TCP stream got through, less what was on them besides content;
 * hosts join when their dfdaemon had the order.
 */
export function replayCase(
  recorded: RecordedSwarm,
  { random, blocks, maxActive }: Pick<SimCase, 'random' | 'blocks' | 'maxActive'>,
): SimCase {
  const { swarm } = recorded;
  const goodput = recorded.goodput / besideContent(recorded);
  const hosts = ourHosts(recorded);
  const orders = hosts.map(({ joined, started }) => joined + started);
  // The origin is read from the first order on.
  const first = Math.min(...orders);
  const joinAtMs = orders.map((order) => (order - first) * 1000);
  const { delayMs, kill, slow, idcs } = swarm;
  const thin = idcs > 1 && swarm.thin > 0 ? (swarm.thin / swarm.rate) * goodput : undefined;
  const about = { hosts: hosts.length, size: swarm.size, rate: goodput };
  const base = simCase(about, { kill, slow, idcs, thin, joinAtMs, random, blocks, maxActive });
  return { ...base, delayMs: Math.max(base.delayMs, delayMs) };
}

/** Both runs side by side: from when a dfdaemon had the order to the end, without slow and killed hosts. */
export function compareReplay(recorded: RecordedSwarm, { hosts }: SimResult): readonly Replayed[] {
  const real = ourHosts(recorded).flatMap(({ rate, seconds, started }) =>
    seconds === undefined || rate !== recorded.swarm.rate ? [] : [seconds - started],
  );
  const simulated = hosts.flatMap(({ seconds, isSlow }) =>
    seconds === undefined || isSlow ? [] : [seconds],
  );
  return (
    [
      ['p50', 0.5],
      ['max', 1],
    ] as const
  ).map(([what, share]) => {
    const [one, other] = [quantile(real, share), quantile(simulated, share)];
    return { what, recorded: one, simulated: other, difference: other / one - 1 };
  });
}

/**
 * What came over the links for each byte of content, over the same for one TCP stream: its acknowledgements go the other
 * way, where a swarm sends content too; and there are announcements and what was sent again.
 */
function besideContent(recorded: RecordedSwarm): number {
  const { swarm, goodput } = recorded;
  const { wireBytes, hosts } = ourRun(recorded);
  if (wireBytes === undefined) return 1;
  const content = hosts.reduce((sum, { duplicate = 0 }) => sum + swarm.size + duplicate, 0);
  const { rate } = swarm;
  return Math.max(1, overOneStream({ wire: wireBytes, content }, { rate, goodput }));
}

/** Share of all processors that was busy in the real run. */
export function machineOf(recorded: RecordedSwarm): number {
  return ourRun(recorded).cpu.machine;
}

function ourHosts(recorded: RecordedSwarm): RecordedSwarm['runs'][number]['hosts'] {
  return ourRun(recorded).hosts;
}

function ourRun({ runs }: RecordedSwarm): RecordedSwarm['runs'][number] {
  const run = runs.find(({ contender }) => contender === 'dfget');
  if (run === undefined) throw new CodedError('ERR_USAGE', '--replay: /runs: one of dfget');
  return run;
}
