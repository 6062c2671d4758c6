import { createHash } from 'node:crypto';
import type { CallOutcome, CallResult } from '../../core/identity/call-order.ts';
import type { CallOutput } from '../../core/wire/messages.ts';
import { digestOfTargets } from './call-record.ts';
import type { CallCounts, CallEvent, CallRecord, CallTarget, HostResult } from './call-record.ts';

/** Bytes of output that all running calls together hold here; what is more is on the host alone. */
export interface OutputRoom {
  left: number;
}

interface Stream {
  readonly chunks: Buffer[];
  bytes: number;
}

interface Part {
  readonly target: CallTarget;
  /** From `sent` on it may have reached the host. */
  state: 'waiting' | 'sent' | 'running' | 'over';
  readonly stdout: Stream;
  readonly stderr: Stream;
}

/** One call that has not ended on all its hosts. */
export class ActiveCall {
  readonly record: CallRecord;
  isStopped = false;
  /** True once its end is being kept. */
  isEnding = false;
  readonly #parts: ReadonlyMap<string, Part>;
  readonly #room: OutputRoom;
  readonly #watchers = new Set<(event: CallEvent) => void>();
  readonly #outcomes: Record<CallOutcome, number> = { ok: 0, failed: 0, refused: 0, unknown: 0 };
  #running = 0;

  constructor(record: CallRecord, room: OutputRoom) {
    this.record = record;
    this.#room = room;
    const parts = record.hosts.map((target): [string, Part] => [
      target.peer,
      {
        target,
        state: 'waiting',
        stdout: { chunks: [], bytes: 0 },
        stderr: { chunks: [], bytes: 0 },
      },
    ]);
    this.#parts = new Map(parts);
  }

  /** Of all hosts of the call. */
  get hostsDigest(): string {
    return digestOfTargets(this.record.hosts);
  }

  get id(): string {
    return this.record.id;
  }

  get counts(): CallCounts {
    const over = Object.values(this.#outcomes).reduce((sum, count) => sum + count, 0);
    const hosts = this.#parts.size;
    const running = this.#running;
    return { hosts, waiting: hosts - running - over, running, ...this.#outcomes };
  }

  get isOver(): boolean {
    const { waiting, running } = this.counts;
    return waiting + running === 0;
  }

  /** Hosts of which there is no result yet. */
  unfinished(): string[] {
    return [...this.#parts].flatMap(([peer, { state }]) => (state === 'over' ? [] : [peer]));
  }

  /** True when the host is one of those that have not ended. */
  awaits(peer: string): boolean {
    const state = this.#parts.get(peer)?.state;
    return state !== undefined && state !== 'over';
  }

  /** True when the host may have begun it. */
  maybeBegan(peer: string): boolean {
    const state = this.#parts.get(peer)?.state;
    return state !== undefined && state !== 'waiting';
  }

  sent(peer: string): void {
    const part = this.#parts.get(peer);
    if (part?.state === 'waiting') part.state = 'sent';
  }

  began(peer: string): void {
    const part = this.#parts.get(peer);
    if (part === undefined || part.state === 'over' || part.state === 'running') return;
    part.state = 'running';
    this.#running += 1;
    this.#tell({ type: 'begun', ...nameOf(part.target) });
  }

  wrote(peer: string, { stream, at, data }: CallOutput): void {
    const part = this.#parts.get(peer);
    if (part === undefined || part.state === 'over') return;
    const held = part[stream];
    // A host that came back tells again from the beginning.
    const fresh = Buffer.from(data, 'base64').subarray(Math.max(0, held.bytes - at));
    if (at > held.bytes || fresh.length === 0) return;
    const room = Math.min(this.record.maxOutputBytes - held.bytes, this.#room.left);
    const kept = fresh.subarray(0, Math.max(0, room));
    if (kept.length === 0) return;
    held.chunks.push(kept);
    held.bytes += kept.length;
    this.#room.left -= kept.length;
    this.#tell({ type: 'output', ...nameOf(part.target), stream, data: kept.toString('base64') });
  }

  /** What is kept of a result, with the output that came before it. */
  resultOf(result: CallResult, signed: string): HostResult | undefined {
    const part = this.#parts.get(result.host);
    if (part === undefined) return undefined;
    const { call: _call, host: peer, stdoutDigest, stderrDigest, ...said } = result;
    const stdout = Buffer.concat(part.stdout.chunks);
    const stderr = Buffer.concat(part.stderr.chunks);
    const isWhole = isOf(stdout, stdoutDigest) && isOf(stderr, stderrDigest);
    return {
      ...nameOf(part.target),
      peer,
      ...said,
      stdout: stdout.toString('base64'),
      stderr: stderr.toString('base64'),
      ...(isWhole ? {} : { isOutputLost: true }),
      signed,
    };
  }

  /** What is kept of a host that said nothing. */
  silence(
    peer: string,
    said: Pick<HostResult, 'outcome' | 'code' | 'message' | 'ended'>,
  ): HostResult | undefined {
    const part = this.#parts.get(peer);
    if (part === undefined) return undefined;
    return {
      ...nameOf(part.target),
      ...said,
      stdoutBytes: part.stdout.bytes,
      stderrBytes: part.stderr.bytes,
      stdout: Buffer.concat(part.stdout.chunks).toString('base64'),
      stderr: Buffer.concat(part.stderr.chunks).toString('base64'),
    };
  }

  /** The result is on the disk. */
  over(kept: HostResult): void {
    const part = this.#parts.get(kept.peer);
    if (part === undefined || part.state === 'over') return;
    if (part.state === 'running') this.#running -= 1;
    part.state = 'over';
    for (const stream of [part.stdout, part.stderr]) {
      this.#room.left += stream.bytes;
      stream.chunks.length = 0;
    }
    this.#outcomes[kept.outcome] += 1;
    const { stdout: _stdout, stderr: _stderr, signed: _signed, ...told } = kept;
    this.#tell({ type: 'result', ...told });
  }

  /** What is known of hosts that have not ended: that they have begun, and what they wrote. */
  *held(): Generator<CallEvent, void, undefined> {
    for (const { target, state, ...streams } of this.#parts.values()) {
      if (state !== 'running' && state !== 'sent') continue;
      const host = nameOf(target);
      if (state === 'running') yield { type: 'begun', ...host };
      for (const stream of ['stdout', 'stderr'] as const) {
        const data = Buffer.concat(streams[stream].chunks).toString('base64');
        if (data !== '') yield { type: 'output', ...host, stream, data };
      }
    }
  }

  /** Everything that happens from now on. */
  watch(watcher: (event: CallEvent) => void): Disposable {
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  end(): void {
    this.#tell({ type: 'ended', counts: this.counts });
    this.#watchers.clear();
  }

  #tell(event: CallEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }
}

function nameOf({ peer, hostname }: CallTarget): { peer: string; hostname?: string } {
  return hostname === undefined ? { peer } : { peer, hostname };
}

function isOf(bytes: Buffer, digest: string): boolean {
  return createHash('sha256').update(bytes).digest('hex') === digest;
}
