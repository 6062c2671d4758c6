import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';
import type { ProgramForm } from '../cluster/installation.ts';
import { bitRate, count } from '../lab/flags.ts';

/** Pulls of images in one lab; the rate is bits per second on the wire. */
export interface RegistryCase {
  /** That pull at once; one of them pulls alone before. */
  readonly hosts: number;
  /** Bytes of an image's layers together. */
  readonly size: number;
  readonly layers: number;
  readonly rate: number;
  readonly rounds: number;
  /** Bytes of the blob whose first byte is waited for. */
  readonly blob: number;
  readonly form: ProgramForm;
  /** Where stores, images and outputs are; should be in memory. */
  readonly parent: string;
}

/** What `registry --help` prints. */
export const registryUsage = `Hosts in a lab on this machine pull images from a registry and through their mirrors.
Needs root, docker-registry, skopeo, curl, ip, tc, nft, ethtool.

  npm run bench -- registry [--hosts 8] [--size 300MB] [--layers 5] [--rate 50mbit] [--rounds 1] [--blob 100MB]

  --hosts N        hosts that pull at once; registry and supernode have hosts of their own beside them
  --size S         of an image
  --layers N       that it is made of, all of one size
  --rate R         of every host, each way, on the wire
  --rounds N       how often everything; each with images that nobody has
  --blob S         of the blob whose first byte is waited for
  --source         run the TypeScript; default: built, packed and unpacked as users get it
  --dir DIR        for stores, images and outputs; default /dev/shm
  --json FILE      every figure`;

const options = {
  hosts: { type: 'string', default: '8' },
  size: { type: 'string', default: '300MB' },
  layers: { type: 'string', default: '5' },
  rate: { type: 'string', default: '50mbit' },
  rounds: { type: 'string', default: '1' },
  blob: { type: 'string', default: '100MB' },
  source: { type: 'boolean', default: false },
  dir: { type: 'string', default: '/dev/shm' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** What the command line asks for. */
export interface RegistryCommand {
  readonly registry: RegistryCase;
  readonly json: string | undefined;
}

/** Reads the words behind `registry`; undefined for help, ERR_USAGE naming the flag that is wrong. */
export function readRegistryCommand(args: readonly string[]): RegistryCommand | undefined {
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) return undefined;
  const rate = bitRate('--rate', values.rate);
  // Without a rate there is no limit to compare with.
  if (rate === 0) {
    throw new CodedError('ERR_USAGE', `--rate: a rate above 0, got ${values.rate}`);
  }
  const registry: RegistryCase = {
    hosts: count('--hosts', values.hosts, 2),
    size: sizeOf('--size', values.size),
    layers: count('--layers', values.layers),
    rate,
    rounds: count('--rounds', values.rounds),
    blob: sizeOf('--blob', values.blob),
    form: values.source ? 'source' : 'package',
    parent: values.dir,
  };
  return { registry, json: values.json };
}

function sizeOf(flag: string, text: string): number {
  const size = parseSize(text);
  if (size !== undefined && size > 0) return size;
  throw new CodedError('ERR_USAGE', `${flag}: a size, got ${text}`);
}
