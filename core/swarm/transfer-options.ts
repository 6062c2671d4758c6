import type { OptionTable } from '../base/options.ts';

/** Options of every program that keeps a piece link and talks to origins. */
export const transferOptions = {
  'origin-allow': {
    kind: 'cidr',
    list: true,
    help: 'Network that origins may be in although it is refused by default (loopback, link-local)',
  },
  'upload-limit': { kind: 'rate', default: 0, help: 'Most payload sent to other hosts' },
  'origin-limit': { kind: 'rate', default: 0, help: 'Most payload taken from origins' },
  'origin-host-limit': {
    kind: 'string',
    list: true,
    separator: ';',
    valueName: 'HOST=RATE,CONNECTIONS',
    defaultHelp: 'no rate, 16 connections to each host',
    help: 'Most payload taken from one host of origins, and most connections to it; HOST * is every host not named',
  },
  encryption: {
    kind: 'choice',
    choices: ['tls', 'none'],
    default: 'tls',
    help: 'Of piece links; none is for networks that are trusted',
  },
  compression: {
    kind: 'choice',
    choices: ['auto', 'off'],
    default: 'off',
    help: 'Of pieces: auto on slow links, off sends and takes them raw (docs/compression.md)',
  },
  'link-workers': {
    kind: 'integer',
    min: 1,
    max: 64,
    defaultHelp: 'a quarter of the processors, from 1 to 4',
    help: 'Threads that move and verify bytes',
  },
} as const satisfies OptionTable;
