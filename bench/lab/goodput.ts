import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { eventually } from '../cluster/eventually.ts';
import { Command, runCommand } from '../cluster/command.ts';
import type { CommandOptions } from '../cluster/command.ts';
import { median } from '../measure/median.ts';
import type { Lab } from './lab.ts';

/** How much is sent: so many seconds at the full rate, or this many bytes where there is no limit. */
const SECONDS = 4;
const UNLIMITED_BYTES = 512 * 1024 * 1024;
const ROUNDS = 3;
const PORT = 9;

/** Between which hosts, how often, and for how long at most; 4 s at the full rate unless `seconds` is given. */
export interface GoodputPair {
  readonly from: string;
  readonly to: string;
  readonly rounds?: number;
  readonly seconds?: number;
}

/** Payload bytes per second of one TCP connection from one host to another, the median of some rounds. */
export async function measureGoodput(
  lab: Lab,
  pair: GoodputPair,
  running: CommandOptions,
): Promise<number> {
  const { rounds = ROUNDS } = pair;
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) rates.push(await stream(lab, pair, running));
  return median(rates);
}

async function stream(
  lab: Lab,
  { from, to, seconds }: GoodputPair,
  running: CommandOptions,
): Promise<number> {
  const program = [process.execPath, join(import.meta.dirname, 'tcp-stream.ts')];
  const limits = [lab.host(from).rate.up, lab.host(to).rate.down].filter((rate) => rate > 0);
  const bytes =
    limits.length === 0
      ? UNLIMITED_BYTES
      : Math.round((Math.min(...limits) / 8) * (seconds ?? SECONDS));
  const where = [lab.host(to).address, `${PORT}`];
  const lines: string[] = [];
  const taking = await Command.start([...lab.enter(to), ...program, 'take', ...where], {
    ...running,
    onLine: (line) => lines.push(line),
  });
  await eventually('the taker of a TCP stream', () => lines[0], { signal: running.signal });
  const sent = await runCommand(
    [...lab.enter(from), ...program, 'send', ...where, `${bytes}`, `${seconds ?? Infinity}`],
    running,
  );
  if (sent.exitCode !== 0) taking.kill('SIGKILL');
  const { stderr } = await taking.result;
  const taken = lines[1];
  if (taken === undefined) {
    throw new CodedError('ERR_INTERNAL', `no TCP stream in the lab: ${sent.stderr}${stderr}`);
  }
  const result = JSON.parse(taken) as { bytes: number; seconds: number };
  return result.bytes / result.seconds;
}
