import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import { bitRate, count, milliseconds, share } from '../lab/flags.ts';
import { renderReplay } from '../report/replay-report.ts';
import { plotSim } from '../report/sim-plot.ts';
import { renderSim, summarizeSim } from '../report/sim-report.ts';
import { compareReplay, machineOf, readRecorded, replayCase } from './replay.ts';
import { simCase } from './sim-case.ts';
import type { SimCase } from './sim-case.ts';
import { simulate } from './simulate.ts';
import type { SimMoment } from './simulate.ts';

/** What `sim --help` prints. */
export const simUsage = `Many hosts take one file in virtual time, with the code that chooses pieces and parents on real hosts.

  npm run bench -- sim [--hosts 16] [--size 256MiB] [--rate 50mbit] [case] [output]

  --hosts N          hosts that take it; the seed comes beside them
  --size S           how much
  --rate R           of every host and the seed, each way, and of the origin, in payload

cases:
  --up R, --down R   of the hosts, where they differ
  --seed-rate R      what the seed sends
  --origin-rate R    what the origin gives the seed
  --delay D          one way between any two; whole ms; default 0.2
  --join-over D      hosts join one after the other within this time
  --slow N:F         N hosts at the part F of the rates
  --kill P           so many of the hosts die when the middle one has half
  --notice D         from a death until those linked know; default 0ms, a killed process
  --lose-supernode D the supernode and its seed are killed so long after the start
  --back D           and are back so long after that; hosts go on among themselves, then announce what they have
  --idcs N           hosts stand in N idcs in turn; the seed is in the first
  --thin R           of the link between the first idc and each other one, each way
  --chance N         seed of all chance; the same gives the same
  --blocks N         parts that a piece is sent in
  --active N         hosts that a host sends to at a time

  --replay FILE      the case that a real run was, as \`swarm --json FILE\` wrote it, and both side by side;
                     beside it --chance, --blocks, --active and output only

output:
  --json FILE        every figure
  --svg FILE         completion, copies of pieces, use of uplinks over time`;

const options = {
  hosts: { type: 'string', default: '16' },
  size: { type: 'string', default: '256MiB' },
  rate: { type: 'string', default: '50mbit' },
  up: { type: 'string' },
  down: { type: 'string' },
  'seed-rate': { type: 'string' },
  'origin-rate': { type: 'string' },
  delay: { type: 'string' },
  'join-over': { type: 'string', default: '0' },
  slow: { type: 'string' },
  kill: { type: 'string', default: '0' },
  notice: { type: 'string', default: '0' },
  'lose-supernode': { type: 'string' },
  back: { type: 'string' },
  idcs: { type: 'string', default: '1' },
  thin: { type: 'string' },
  chance: { type: 'string', default: '1' },
  blocks: { type: 'string' },
  active: { type: 'string' },
  replay: { type: 'string' },
  json: { type: 'string' },
  svg: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** From so many hosts on a run takes minutes and says how far it is. */
const LONG_HOSTS = 1_000;

const BESIDE_REPLAY = new Set(['replay', 'chance', 'blocks', 'active', 'json', 'svg']);

/** What the command line asks for. */
export interface SimCommand {
  readonly swarm: SimCase;
  /** A file with a real run, whose case comes in place of `swarm`. */
  readonly replay: string | undefined;
  readonly json: string | undefined;
  readonly svg: string | undefined;
}

/** `npm run bench -- sim`. */
export async function simCommand(args: readonly string[]): Promise<void> {
  const command = readSimCommand(args);
  if (command === undefined) {
    console.log(simUsage);
    return;
  }
  const { replay } = command;
  const recorded = replay === undefined ? undefined : await readRecorded(replay);
  const swarm = recorded === undefined ? command.swarm : replayCase(recorded, command.swarm);
  const isLong = swarm.hosts >= LONG_HOSTS;
  const result = simulate(swarm, isLong ? (moment) => tellProgress(swarm, moment) : undefined);
  console.log(renderSim(result));
  const compared = recorded === undefined ? undefined : compareReplay(recorded, result);
  if (recorded !== undefined && compared !== undefined) {
    console.log(renderReplay(compared, { machine: machineOf(recorded) }));
  }
  if (command.svg !== undefined) await writeFile(command.svg, plotSim(result));
  if (command.json !== undefined) {
    const kept = { ...result, summary: summarizeSim(result), replay: compared };
    await writeFile(command.json, `${JSON.stringify(kept)}\n`);
  }
}

function tellProgress({ size }: SimCase, { seconds, bytes }: SimMoment): void {
  const mean = bytes.reduce((sum, each) => sum + each, 0) / Math.max(1, bytes.length);
  console.error(`… ${seconds.toFixed(2)} s: ${((mean / size) * 100).toFixed(1)} %`);
}

/** Reads the words behind `sim`; undefined for help, ERR_USAGE naming the flag that is wrong. */
export function readSimCommand(args: readonly string[]): SimCommand | undefined {
  const { values, tokens } = parseArgs({ args: [...args], options, tokens: true });
  if (values.help) return undefined;
  if (values.replay !== undefined) refuseBesideReplay(tokens);
  const size = parseSize(values.size);
  if (size === undefined || size === 0) throw usageError('--size', 'a size', values.size);
  const hosts = count('--hosts', values.hosts);
  const rate = rateOf('--rate', values.rate);
  const optional = <T>(flag: keyof typeof values, read: (name: string, text: string) => T) => {
    const text = values[flag];
    return typeof text === 'string' ? read(`--${flag}`, text) : undefined;
  };
  const common = simCase({ hosts, size, rate });
  const swarm: SimCase = {
    ...common,
    up: optional('up', rateOf) ?? rate,
    down: optional('down', rateOf) ?? rate,
    seedUp: optional('seed-rate', rateOf) ?? rate,
    originRate: optional('origin-rate', rateOf) ?? rate,
    delayMs: optional('delay', milliseconds) ?? common.delayMs,
    joinOverMs: milliseconds('--join-over', values['join-over']),
    slow: values.slow === undefined ? undefined : slowOf(values.slow),
    kill: share('--kill', values.kill),
    noticeMs: milliseconds('--notice', values.notice),
    lose: loseOf(values['lose-supernode'], values.back),
    idcs: count('--idcs', values.idcs),
    thin: optional('thin', rateOf),
    random: count('--chance', values.chance, 0),
    blocks: optional('blocks', count) ?? common.blocks,
    maxActive: optional('active', count) ?? common.maxActive,
  };
  if (swarm.slow !== undefined && swarm.slow.hosts >= hosts) {
    throw usageError('--slow', `fewer than --hosts ${hosts}`, `${swarm.slow.hosts}`);
  }
  if (swarm.thin !== undefined && swarm.idcs === 1) {
    throw usageError('--thin', 'with --idcs 2 or more', values.thin ?? '');
  }
  if (swarm.kill === 1) throw usageError('--kill', 'a share below 100%', values.kill);
  return { swarm, replay: values.replay, json: values.json, svg: values.svg };
}

/** The file says what the case was. */
function refuseBesideReplay(tokens: readonly { readonly kind: string; readonly name?: string }[]) {
  const other = tokens.find(({ name }) => name !== undefined && !BESIDE_REPLAY.has(name));
  if (other !== undefined) throw usageError(`--${other.name}`, 'not with --replay', 'both');
}

/** Bytes per second; without a rate nothing takes any time. */
function rateOf(flag: string, text: string): number {
  const rate = bitRate(flag, text) / 8;
  if (rate > 0) return rate;
  throw usageError(flag, 'a rate above 0', text);
}

function slowOf(text: string): SimCase['slow'] {
  const match = /^(\d+):(0?\.\d+)$/.exec(text);
  if (match === null) throw usageError('--slow', 'hosts and part of the rate, such as 3:0.2', text);
  return { hosts: Number(match[1]), factor: Number(match[2]) };
}

function loseOf(at: string | undefined, back: string | undefined): SimCase['lose'] {
  if (at === undefined && back === undefined) return undefined;
  // For good, nobody would have the rest: what hosts fetch of the origin themselves is not simulated.
  if (at === undefined) throw usageError('--back', 'with --lose-supernode', back ?? '');
  if (back === undefined) throw usageError('--lose-supernode', 'with --back', at);
  const atMs = milliseconds('--lose-supernode', at);
  return { atMs, backMs: milliseconds('--back', back) };
}

function usageError(flag: string, wanted: string, got: string): CodedError {
  return new CodedError('ERR_USAGE', `${flag}: ${wanted}, got ${got}`);
}
