/**
 * The piece link by itself: one parent process, one child process, loopback, every piece verified; to /dev/null and to
 * a file, over TLS and in the clear; beside curl from nginx. Everything takes turns, round by round, so that what slows
 * the machine down slows all of them.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { open, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { pieceLengthFor, pieceRange } from '../../core/piece/piece-length.ts';
import { runCommand } from '../cluster/command.ts';
import { Workplace } from '../cluster/workplace.ts';
import { isInstalled } from '../lab/lab-tools.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { CpuUse } from '../measure/process-usage.ts';
import { seededBytes } from '../origin/content.ts';
import { makeMembers } from './link-member.ts';
import { LinkNginx } from './link-nginx.ts';
import { LinkPeerProcess } from './link-peer-process.ts';
import { fileDigest } from './swarm-output.ts';

/** What is compared: the link twice, then curl. openssl stands where coreutils has no fast sha256 of its own. */
export const linkContenders = [
  'link to null',
  'link to file',
  'curl | sha256sum',
  'curl | openssl sha256',
  'curl to file',
] as const;

/** The name of one. */
export type LinkContender = (typeof linkContenders)[number];

/** How bytes are protected on the wire. */
export const linkWays = ['clear', 'tls'] as const;

/** One of `linkWays`. */
export type LinkWay = (typeof linkWays)[number];

/** One transfer. */
export interface LinkSample {
  readonly contender: LinkContender;
  readonly way: LinkWay;
  readonly round: number;
  readonly seconds: number;
  /** CPU seconds of the side that sends: the parent, or nginx. */
  readonly sender: number;
  /** CPU seconds of the side that takes and verifies: the child, or curl and what it is piped to. */
  readonly receiver: number;
  /** Share of the processors that others took meanwhile, 0 to 1. */
  readonly others: number;
}

/** Everything one run found. */
export interface LinkResult {
  /** Bytes. */
  readonly size: number;
  readonly pieceLength: number;
  readonly samples: readonly LinkSample[];
}

/** What to run. */
export interface LinkOptions {
  /** Bytes. */
  readonly size: number;
  readonly rounds: number;
  /** Nothing beside the link. */
  readonly isAlone: boolean;
  /** Folder on the filesystem to measure; default the system's for temporary files. */
  readonly parent?: string | undefined;
  /** Folder for CPU profiles of both sides. */
  readonly profile?: string | undefined;
  readonly signal: AbortSignal;
  /** Told what is being done. */
  readonly onStep: (text: string) => void;
}

/** The content, and what everybody must arrive at. */
interface LinkContent {
  readonly path: string;
  readonly length: number;
  readonly pieceLength: number;
  /** sha256 of each piece, hex. */
  readonly digests: readonly string[];
  /** `sha256:HEX` of all. */
  readonly whole: string;
}

interface Pair extends AsyncDisposable {
  readonly parent: LinkPeerProcess;
  readonly child: LinkPeerProcess;
  readonly ticket: string;
}

/** What one transfer is part of. */
interface Turn {
  readonly contender: LinkContender;
  readonly way: LinkWay;
  readonly round: number;
}

const TASK = { task: '0'.repeat(64), version: '0'.repeat(16) };
const SEED = 1;
const WRITE_BYTES = 1024 * 1024;

/** Runs the benchmark; ERR_DIGEST_MISMATCH or ERR_PIECE_DIGEST when anybody got something else than was sent. */
export async function runLink(options: LinkOptions): Promise<LinkResult> {
  const { size, rounds, isAlone, parent, profile, signal, onStep } = options;
  await using workplace = await Workplace.open(parent === undefined ? {} : { parent, signal });
  onStep('writing the content');
  const content = await writeContent(await workplace.subfolder('content'), size);
  await using stack = new AsyncDisposableStack();
  const pairs = new Map<LinkWay, Pair>();
  for (const way of linkWays) {
    pairs.set(way, stack.use(await startPair(way, { workplace, content, profile })));
  }
  const folder = join(workplace.folder, 'content');
  const served = { folder, file: content.path };
  const nginx = isAlone ? undefined : stack.use(await LinkNginx.start(workplace, served, signal));
  const bench = new LinkBench({ workplace, content, pairs, nginx, signal });
  const samples: LinkSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const way of linkWays) {
      // Who writes first in a while pays for memory that the host of a virtual machine took back meanwhile.
      const { contenders } = bench;
      for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
        onStep(`round ${round} of ${rounds}: ${contender}, ${way}`);
        samples.push(await bench.sample({ contender, way, round }));
      }
    }
  }
  return { size, pieceLength: content.pieceLength, samples };
}

class LinkBench {
  readonly contenders: readonly LinkContender[];
  readonly #workplace: Workplace;
  readonly #content: LinkContent;
  readonly #pairs: ReadonlyMap<LinkWay, Pair>;
  readonly #nginx: LinkNginx | undefined;
  readonly #signal: AbortSignal;
  readonly #output: string;

  constructor(parts: {
    readonly workplace: Workplace;
    readonly content: LinkContent;
    readonly pairs: ReadonlyMap<LinkWay, Pair>;
    readonly nginx: LinkNginx | undefined;
    readonly signal: AbortSignal;
  }) {
    this.#workplace = parts.workplace;
    this.#content = parts.content;
    this.#pairs = parts.pairs;
    this.#nginx = parts.nginx;
    this.#signal = parts.signal;
    this.#output = join(parts.workplace.folder, 'output');
    this.contenders = linkContenders.filter((contender) => {
      if (contender.startsWith('link')) return true;
      if (parts.nginx === undefined) return false;
      return contender !== 'curl | openssl sha256' || isInstalled('openssl');
    });
  }

  async sample(turn: Turn): Promise<LinkSample> {
    const { contender } = turn;
    await rm(this.#output, { force: true });
    // What was written before must not be written out during this.
    await runCommand(['sync'], this.#running());
    const taken = await (contender === 'link to null' || contender === 'link to file'
      ? this.#byLink(turn)
      : this.#byCurl(turn));
    if (contender.endsWith('to file')) {
      const digest = await fileDigest(this.#output);
      if (digest !== this.#content.whole) throw mismatch(contender);
      await rm(this.#output);
    }
    return { ...turn, ...taken };
  }

  async #byLink({ contender, way }: Turn): Promise<Omit<LinkSample, keyof Turn>> {
    const { length, pieceLength, digests } = this.#content;
    const pair = this.#pairs.get(way);
    if (pair === undefined) throw new TypeError(`no hosts for ${way}`);
    const { parent, child, ticket } = pair;
    if (contender === 'link to file') await makeSparse(this.#output, length);
    const path = contender === 'link to file' ? this.#output : '/dev/null';
    const order = { ...TASK, path, length, pieceLength, digests };
    const { peer, address } = parent;
    const pids = { sender: parent.pid, receiver: child.pid };
    const { result, cpu } = await withCpuUse(pids, async () =>
      child.calls.call('take', { ...order, peer, address, ticket }, { signal: this.#signal }),
    );
    return { seconds: result.seconds, ...sides(cpu) };
  }

  async #byCurl({ contender, way }: Turn): Promise<Omit<LinkSample, keyof Turn>> {
    const nginx = this.#nginx;
    if (nginx === undefined) throw new TypeError('nginx was not started');
    const curl = nginx.curl(way, this.#content.path);
    // The pipe is a shell's, as a person would type it; what it runs is in "$@".
    const piped = (sum: string): string[] => ['sh', '-c', `"$@" | ${sum}`, 'sh', ...curl];
    const argv = {
      'curl | sha256sum': piped('sha256sum'),
      'curl | openssl sha256': piped('openssl dgst -sha256 -r'),
      'curl to file': [...curl, '-o', this.#output],
    }[contender as Exclude<LinkContender, 'link to null' | 'link to file'>];
    const { result, cpu } = await withCpuUse({ sender: nginx.pid }, async () =>
      runCommand(argv, this.#running()),
    );
    if (result.exitCode !== 0 || result.stderr !== '') {
      throw new CodedError('ERR_INTERNAL', `${contender}, ${way}: ${result.stderr}`);
    }
    const digest = `sha256:${result.stdout.slice(0, 64)}`;
    if (contender !== 'curl to file' && digest !== this.#content.whole) throw mismatch(contender);
    return { seconds: result.seconds, ...sides(cpu) };
  }

  #running(): Parameters<typeof runCommand>[1] {
    const { guard, env } = this.#workplace;
    return { guard, env, signal: this.#signal };
  }
}

function sides({ programs, commands, others }: CpuUse): Omit<LinkSample, keyof Turn | 'seconds'> {
  const receiver = programs['receiver'] ?? commands;
  return { sender: programs['sender'] ?? 0, receiver, others };
}

async function startPair(
  way: LinkWay,
  parts: {
    readonly workplace: Workplace;
    readonly content: LinkContent;
    readonly profile: string | undefined;
  },
): Promise<Pair> {
  const { content } = parts;
  const members = makeMembers(way, TASK);
  await using stack = new AsyncDisposableStack();
  const parent = stack.use(await LinkPeerProcess.start(members.parent, parts));
  const child = stack.use(await LinkPeerProcess.start(members.child, parts));
  const { path, length, pieceLength } = content;
  await parent.calls.call('serve', { ...TASK, path, length, pieceLength });
  const kept = stack.move();
  const dispose = async (): Promise<void> => kept.disposeAsync();
  return { parent, child, ticket: members.ticket, [Symbol.asyncDispose]: dispose };
}

async function writeContent(folder: string, length: number): Promise<LinkContent> {
  const pieceLength = pieceLengthFor(length);
  const path = join(folder, 'content');
  await using file = await open(path, 'wx', 0o600);
  const whole = createHash('sha256');
  const digests: string[] = [];
  for (let start = 0; start < length; start = digests.length * pieceLength) {
    const range = pieceRange(digests.length, { length, pieceLength });
    const piece = createHash('sha256');
    await writeRange(file, range, [whole, piece]);
    digests.push(piece.digest('hex'));
  }
  return { path, length, pieceLength, digests, whole: `sha256:${whole.digest('hex')}` };
}

async function writeRange(
  file: Awaited<ReturnType<typeof open>>,
  range: { readonly start: number; readonly end: number },
  hashes: readonly Hash[],
): Promise<void> {
  for (let at = range.start; at < range.end; at += WRITE_BYTES) {
    const bytes = seededBytes(SEED, at, Math.min(range.end, at + WRITE_BYTES));
    for (const hash of hashes) hash.update(bytes);
    await file.writeFile(bytes);
  }
}

/** As a store makes it before the first piece comes. */
async function makeSparse(path: string, length: number): Promise<void> {
  await writeFile(path, '', { mode: 0o600 });
  await truncate(path, length);
}

function mismatch(contender: LinkContender): CodedError {
  return new CodedError('ERR_DIGEST_MISMATCH', `${contender} got something else than was sent`);
}
