import { parseArgs } from 'node:util';
import { count } from '../lab/flags.ts';

/** One crowd on one supernode. */
export interface CrowdCase {
  readonly hosts: number;
  readonly hostsPerProcess: number;
  /** Of the task that all take; 256 KiB each. */
  readonly pieces: number;
  /** How long a host needs for all pieces. */
  readonly takeSeconds: number;
  /** How long each window is that is measured. */
  readonly windowSeconds: number;
  readonly parent: string;
}

/** What `crowd --help` prints. */
export const crowdUsage = `Many hosts without a data plane on one real supernode: joined, connected, registered, reporting.

  npm run bench -- crowd [--hosts 1000] [--json FILE]

  --hosts N          hosts in all
  --per-process N    hosts that share a process
  --pieces N         pieces of the task that all of them take
  --seconds S        how long a host needs for them
  --window S         how long the supernode is watched in each state
  --dir DIR          for stores; default /dev/shm
  --json FILE        every figure`;

const options = {
  hosts: { type: 'string', default: '1000' },
  'per-process': { type: 'string', default: '250' },
  pieces: { type: 'string', default: '512' },
  seconds: { type: 'string', default: '40' },
  window: { type: 'string', default: '10' },
  dir: { type: 'string', default: '/dev/shm' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** What the command line asks for. */
export interface CrowdCommand {
  readonly crowd: CrowdCase;
  readonly json: string | undefined;
}

/** Reads the words behind `crowd`; undefined for help, ERR_USAGE naming the flag that is wrong. */
export function readCrowdCommand(args: readonly string[]): CrowdCommand | undefined {
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) return undefined;
  const crowd = {
    hosts: count('--hosts', values.hosts, 20),
    hostsPerProcess: count('--per-process', values['per-process']),
    pieces: count('--pieces', values.pieces, 2),
    takeSeconds: count('--seconds', values.seconds),
    windowSeconds: count('--window', values.window),
    parent: values.dir,
  };
  return { crowd, json: values.json };
}
