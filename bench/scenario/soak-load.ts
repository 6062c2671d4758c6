/** What a soaked cell is asked for: content of all sizes, of all classes, private, by range, slowly; and is it right. */
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import type { Random } from '../../core/base/random.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { seededBytes } from '../origin/content.ts';
import type { FaultOrigin } from '../origin/fault-origin.ts';

const MIB = 1024 * 1024;
const SIZES = [1, 100_000, 300_000, MIB, 3 * MIB + 1, 7 * MIB, 12 * MIB];
const CLASSES = ['release', 'interactive', 'normal', 'warm-up'];
const AUTHORIZATION = 'Bearer soak';
const SECONDS_EACH = 60;

const clock = new SystemClock();

/** One content of the origin. */
export interface SoakContent {
  readonly path: string;
  readonly seed: number;
  readonly length: number;
  readonly isPrivate: boolean;
}

/** How one download ended; `wrong` is never to be. */
export interface SoakOutcome {
  readonly host: string;
  readonly kind: string;
  readonly result: 'right' | 'wrong' | 'failed';
  /** Of a failure; what it says in words. */
  readonly code?: string;
  readonly message?: string;
  readonly seconds: number;
  readonly bytes: number;
}

/** Puts `count` contents on the origin: every fourth private, every fifth of a length that is not told. */
export function soakContents(origin: FaultOrigin, count: number): SoakContent[] {
  return Array.from({ length: count }, (_none, seed) => {
    const length = SIZES[seed % SIZES.length] ?? 1;
    const path = `/soak/${seed}`;
    const isPrivate = seed % 4 === 3;
    origin.set(path, {
      content: { seed, length },
      ...(isPrivate ? { authorization: AUTHORIZATION } : {}),
      ...(seed % 5 === 4 ? { framing: 'chunked' as const } : {}),
    });
    return { path, seed, length, isPrivate };
  });
}

/** Words of one dfget by chance: class, range, rate. */
export function anyWords(
  content: SoakContent,
  random: Random,
): {
  readonly kind: string;
  readonly args: string[];
  readonly start: number;
  readonly end: number;
} {
  const args = ['--priority', CLASSES[random.below(CLASSES.length)] ?? 'normal'];
  if (random.below(4) === 0) args.push('--limit-rate', '8MB/s');
  if (content.length > 1 && random.below(4) === 0) {
    const start = random.below(content.length - 1);
    const end = start + 1 + random.below(content.length - start);
    return { kind: 'range', args: [...args, '--range', `${start}-${end - 1}`], start, end };
  }
  return { kind: content.isPrivate ? 'private' : 'whole', args, start: 0, end: content.length };
}

/** Downloads by a dfget process, and looks at every byte of the output. */
export async function downloadOne(
  host: ClusterHost,
  what: {
    readonly content: SoakContent;
    readonly url: string;
    readonly words: ReturnType<typeof anyWords>;
    readonly output: string;
  },
  signal: AbortSignal,
): Promise<SoakOutcome> {
  const { content, url, words } = what;
  const { kind, start, end } = words;
  const output = join(host.folder, what.output);
  const args = [...words.args, '--timeout', `${SECONDS_EACH}s`];
  if (content.isPrivate) args.push('-H', `Authorization: ${AUTHORIZATION}`);
  const startMs = clock.monotonic();
  const run = await host.dfget(url, { output, args, signal });
  const facts = { host: host.name, kind, seconds: (clock.monotonic() - startMs) / 1000 };
  const bytes = end - start;
  try {
    if (run.exitCode !== 0) {
      const { code, message } = run.failed ?? {
        code: `exit ${run.exitCode ?? run.signal}`,
        message: run.stderr.slice(-500),
      };
      return { ...facts, result: 'failed', code, message, bytes };
    }
    const isRight =
      sha256(await readFile(output)) === sha256(seededBytes(content.seed, start, end));
    return { ...facts, result: isRight ? 'right' : 'wrong', bytes };
  } finally {
    await rm(output, { force: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
