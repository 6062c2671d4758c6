import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { parseRate } from '../../core/base/units.ts';
import { bitRate, count } from '../lab/flags.ts';

/** What of a host others use besides us. */
export const usedParts = ['receive', 'send', 'disk'] as const;
export type UsedPart = (typeof usedParts)[number];

/** What is measured. */
export interface AdaptiveCase {
  readonly parts: readonly UsedPart[];
  /** Bits per second on the wire, of every host each way. */
  readonly rate: number;
  /** Hosts that send to the one that is watched, or take from it. */
  readonly hosts: number;
  /** For how long others use it. */
  readonly seconds: number;
  /** Where stores are, for the line: should be in memory. */
  readonly parent: string;
  /** On the disk that is watched. */
  readonly diskParent: string;
  /** Bytes a second at which a host downloads to it. */
  readonly diskRate: number;
}

const usage = `What another program of a host keeps of its line or its disk while the host downloads: alone, with us and
adaptive control off, with us and it on; and how soon we are back when it is gone. The line needs root, ip, tc, nft.

  npm run bench -- adaptive [--parts LIST] [--rate R] [--hosts N] [--seconds S] [--json FILE]

  --parts LIST    of ${usedParts.join(', ')}; default receive,send
  --rate R        of every host, each way, default 50mbit
  --hosts N       that send to the host, or take from it, default 4
  --seconds S     for which the other program runs, default 20
  --dir DIR       for stores when the line is measured, default /dev/shm
  --disk-dir DIR  on the disk that is measured, default /var/tmp
  --disk-rate R   at which the host downloads to it, default 80MB/s
  --json FILE     also write every figure there`;

/** Reads the words behind `adaptive`; the usage for --help, ERR_USAGE naming the flag that is wrong. */
export function readAdaptiveCommand(
  args: readonly string[],
): string | { readonly about: AdaptiveCase; readonly json: string | undefined } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      parts: { type: 'string', default: 'receive,send' },
      rate: { type: 'string', default: '50mbit' },
      hosts: { type: 'string', default: '4' },
      seconds: { type: 'string', default: '20' },
      dir: { type: 'string', default: '/dev/shm' },
      'disk-dir': { type: 'string', default: '/var/tmp' },
      'disk-rate': { type: 'string', default: '80MB/s' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return usage;
  const rate = bitRate('--rate', values.rate);
  if (rate === 0) throw new CodedError('ERR_USAGE', '--rate: a rate above 0');
  const diskRate = parseRate(values['disk-rate']);
  if (diskRate === undefined || diskRate === 0) {
    throw new CodedError('ERR_USAGE', '--disk-rate: a rate above 0, such as 80MB/s');
  }
  const about = {
    parts: values.parts.split(',').map(partOf),
    rate,
    hosts: count('--hosts', values.hosts),
    seconds: count('--seconds', values.seconds, 5),
    parent: values.dir,
    diskParent: values['disk-dir'],
    diskRate,
  };
  return { about, json: values.json };
}

function partOf(text: string): UsedPart {
  const known = usedParts.find((name) => name === text.trim());
  if (known !== undefined) return known;
  throw new CodedError('ERR_USAGE', `--parts: of ${usedParts.join(', ')}, got ${text}`);
}
