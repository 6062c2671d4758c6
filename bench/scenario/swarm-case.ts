import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import type { ProgramForm } from '../cluster/installation.ts';
import { bitRate, count, milliseconds, share } from '../lab/flags.ts';

/** Who takes the same content in the same lab, to compare with. */
export const besides = ['curl', 'bittorrent'] as const;

/** The name of one. */
export type Beside = (typeof besides)[number];

/** One swarm in one lab; rates are bits per second on the wire. */
export interface SwarmCase {
  readonly hosts: number;
  readonly size: number;
  readonly rate: number;
  readonly delayMs: number;
  readonly loss: number;
  /** Share of the hosts killed when the middle one of them all has half. */
  readonly kill: number;
  /** Milliseconds over which hosts join, one after the other; 0: at once. */
  readonly joinOverMs: number;
  /** So many hosts, the last ones, at this part of the rate. */
  readonly slow: { readonly hosts: number; readonly factor: number } | undefined;
  readonly idcs: number;
  /** Of the link between the first idc and each other one; 0: no limit. */
  readonly thin: number;
  readonly beside: readonly Beside[];
  readonly form: ProgramForm;
  /** Where stores and outputs are; should be in memory. */
  readonly parent: string;
}

/** What `swarm --help` prints. */
export const swarmUsage = `Many hosts in a lab on this machine take one file. Needs root, ip, tc, nft, ethtool.

  npm run bench -- swarm [--hosts 16] [--size 256MiB] [--rate 50mbit] [--beside curl,bittorrent] [case] [output]

  --hosts N        hosts that take it; supernode and origin have hosts of their own beside them
  --size S         how much
  --rate R         of every host, each way, on the wire
  --beside LIST    the same with curl on all hosts, and with BitTorrent (aria2c), in the same lab
  --source         run the TypeScript; default: built, packed and unpacked as users get it
  --dir DIR        for stores and outputs; default /dev/shm

cases:
  --delay D        one way between any two hosts, such as 20ms
  --loss P         of the packets that come in at a host, such as 1%
  --kill P         so many of the hosts are killed when the middle one has half
  --join-over D    hosts join one after the other within this time
  --slow N:F       N hosts at the part F of the rate; run without and with them
  --idcs N         hosts stand in N places in turn, joined by links of --thin R

output:
  --json FILE      every figure
  --svg FILE       completion of every host over time, and copies of pieces`;

const options = {
  hosts: { type: 'string', default: '16' },
  size: { type: 'string', default: '256MiB' },
  rate: { type: 'string', default: '50mbit' },
  beside: { type: 'string', default: '' },
  delay: { type: 'string', default: '0' },
  loss: { type: 'string', default: '0' },
  kill: { type: 'string', default: '0' },
  'join-over': { type: 'string', default: '0' },
  slow: { type: 'string' },
  idcs: { type: 'string', default: '1' },
  thin: { type: 'string', default: '0' },
  source: { type: 'boolean', default: false },
  dir: { type: 'string', default: '/dev/shm' },
  json: { type: 'string' },
  svg: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** What the command line asks for. */
export interface SwarmCommand {
  readonly swarm: SwarmCase;
  readonly json: string | undefined;
  readonly svg: string | undefined;
}

/** Reads the words behind `swarm`; undefined for help, ERR_USAGE naming the flag that is wrong. */
export function readSwarmCommand(args: readonly string[]): SwarmCommand | undefined {
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) return undefined;
  const size = parseSize(values.size);
  if (size === undefined || size === 0) throw usageError('--size', 'a size', values.size);
  const rate = bitRate('--rate', values.rate);
  // Without a rate there is no limit to compare with.
  if (rate === 0) throw usageError('--rate', 'a rate above 0', values.rate);
  const swarm: SwarmCase = {
    hosts: count('--hosts', values.hosts, 2),
    size,
    rate,
    delayMs: milliseconds('--delay', values.delay),
    loss: share('--loss', values.loss),
    kill: share('--kill', values.kill),
    joinOverMs: milliseconds('--join-over', values['join-over']),
    slow: values.slow === undefined ? undefined : slowOf(values.slow),
    idcs: count('--idcs', values.idcs),
    thin: bitRate('--thin', values.thin),
    beside: besideOf(values.beside),
    form: values.source ? 'source' : 'package',
    parent: values.dir,
  };
  refuseContradictions(swarm);
  return { swarm, json: values.json, svg: values.svg };
}

function slowOf(text: string): SwarmCase['slow'] {
  const match = /^(\d+):(0?\.\d+)$/.exec(text);
  if (match === null) throw usageError('--slow', 'hosts and part of the rate, such as 3:0.2', text);
  return { hosts: Number(match[1]), factor: Number(match[2]) };
}

function besideOf(text: string): Beside[] {
  const names = text.split(',').filter((name) => name !== '');
  return names.map((name) => {
    const known = besides.find((each) => each === name);
    if (known === undefined) throw usageError('--beside', besides.join(' or '), name);
    return known;
  });
}

function refuseContradictions({ hosts, slow, kill, joinOverMs, beside, ...rest }: SwarmCase): void {
  if (slow !== undefined && slow.hosts >= hosts) {
    throw usageError('--slow', `fewer than --hosts ${hosts}`, `${slow.hosts}`);
  }
  const troubles = [kill > 0, joinOverMs > 0, slow !== undefined, rest.idcs > 1];
  if (troubles.filter(Boolean).length > 1) {
    throw new CodedError('ERR_USAGE', '--kill, --join-over, --slow, --idcs: one at a time');
  }
  if (beside.length > 0 && (kill > 0 || joinOverMs > 0 || slow !== undefined)) {
    throw new CodedError('ERR_USAGE', '--beside: not with --kill, --join-over or --slow');
  }
}

function usageError(flag: string, wanted: string, got: string): CodedError {
  return new CodedError('ERR_USAGE', `${flag}: ${wanted}, got ${got}`);
}
