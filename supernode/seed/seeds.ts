import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { abortable } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import { versionOf } from '../../core/piece/version.ts';
import type { Validators } from '../../core/piece/version.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { contentLength, openerOf } from '../../core/swarm/origin-request.ts';
import type { RemoteOrigin } from '../../core/swarm/transfer-pool.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';
import { SeedTask } from './seed-task.ts';
import type { SeedContext } from './seed-task.ts';
import { proveSameContent } from './prove-scope.ts';

/**
 * A version that is being handed out is joined without asking the origin again for this long after the
 * origin last confirmed it; a download that begins later, or when none is running, always asks.
 */
const JOIN_MS = 5_000;
/** Content named by its digest cannot change; that an asker may have it is remembered for this long. */
const RIGHTS_MS = 60_000;
/** Small contents kept ready for replies. */
const INLINE_CACHE_BYTES = 32 * 1024 * 1024;
const MAX_ENTRIES = 10_000;
const MAX_FINGERPRINTS = 64;

export interface SeedsContext extends SeedContext {
  /** True while some host downloads this version. */
  isInDemand(seed: SeedTask): boolean;
  /** Takes over digests that hosts know of a version, before the origin is asked for what is missing. */
  adopt(seed: SeedTask): Promise<void>;
}

interface Entry {
  current: SeedTask | undefined;
  /** Origin requests under way, by credentials. */
  readonly checks: Map<string, Promise<SeedTask>>;
  /** When the origin last confirmed the current version, by credentials and scope. */
  readonly confirmed: LRUCache<string, number>;
}

/** All tasks of the seed: finds the version that is valid now, asking the origin once for all who wait. */
export class Seeds {
  readonly #context: SeedsContext;
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_ENTRIES });
  readonly #inline = new LRUCache<string, string>({
    maxSize: INLINE_CACHE_BYTES,
    sizeCalculation: (content) => content.length + 1,
  });
  readonly #running = new Set<SeedTask>();
  #requests = 0;

  constructor(context: SeedsContext) {
    this.#context = context;
  }

  /** Requests made to origins by this run of the program. */
  get requests(): number {
    return this.#requests;
  }

  /** The version in memory, if there is one. */
  find(task: string, version: string): SeedTask | undefined {
    const seed = this.#entries.get(task)?.current;
    return seed?.stored.version === version ? seed : undefined;
  }

  /** The version of the task that the origin has now; throws the origin's refusal or failure. */
  async resolve(task: string, spec: TaskSpec, options: { signal: AbortSignal }): Promise<SeedTask> {
    const entry = this.#entry(task);
    const asker = fingerprintOf(spec);
    const joined = this.#join(entry, asker);
    if (joined !== undefined) return joined;
    const running = entry.checks.get(asker);
    if (running !== undefined) return running;
    if (entry.checks.size >= MAX_FINGERPRINTS) {
      throw new CodedError('ERR_BUSY', 'too many credentials are being checked for this task');
    }
    const check = this.#check({ task, spec, entry, asker }, options.signal);
    entry.checks.set(asker, check);
    try {
      return await check;
    } finally {
      entry.checks.delete(asker);
    }
  }

  /** Content for replies, base64; undefined when it is not small or not there. */
  async inline(seed: SeedTask): Promise<string | undefined> {
    if (!seed.isTiny) return undefined;
    await seed.settled;
    if (seed.failure !== undefined) throw seed.failure;
    const key = `${seed.stored.taskId}/${seed.stored.version}`;
    const known = this.#inline.get(key);
    if (known !== undefined) return known;
    const content = await seed.inlineContent();
    this.#inline.set(key, content);
    return content;
  }

  /** Takes up a version that hosts announced after a restart, from what this store still has of it. */
  async revive(announced: {
    readonly task: string;
    readonly shape: TaskShape;
    readonly spec: TaskSpec;
  }): Promise<SeedTask> {
    const { task, shape, spec } = announced;
    const entry = this.#entry(task);
    if (entry.current?.stored.version === shape.version) return entry.current;
    if (entry.current?.state === 'fetching') {
      throw new CodedError('ERR_ORIGIN_CHANGED', 'another version is being fetched');
    }
    if (!isOfKnownLength(shape, spec)) {
      throw new CodedError('ERR_ORIGIN_CHANGED', 'its length was not known: it begins anew');
    }
    const stored = await this.#create(task, spec, shape);
    return this.#track(entry, await this.#revive(stored, spec));
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#running].map(async (seed) => seed.stop()));
  }

  #entry(task: string): Entry {
    const known = this.#entries.get(task);
    if (known !== undefined) return known;
    const entry: Entry = {
      current: undefined,
      checks: new Map(),
      confirmed: new LRUCache<string, number>({ max: MAX_FINGERPRINTS }),
    };
    this.#entries.set(task, entry);
    return entry;
  }

  /** The current version, when it may be joined without a question to the origin. */
  #join(entry: Entry, asker: string): SeedTask | undefined {
    const seed = entry.current;
    if (seed === undefined || seed.state === 'failed') return undefined;
    const confirmedMs = entry.confirmed.get(asker);
    if (confirmedMs === undefined) return undefined;
    const ageMs = this.#context.clock.monotonic() - confirmedMs;
    if (wholeDigest(seed.spec) !== undefined) return ageMs < RIGHTS_MS ? seed : undefined;
    if (seed.isTiny || ageMs > JOIN_MS) return undefined;
    return seed.isReading || this.#context.isInDemand(seed) ? seed : undefined;
  }

  async #check(
    asked: { readonly task: string; readonly spec: TaskSpec; entry: Entry; readonly asker: string },
    signal: AbortSignal,
  ): Promise<SeedTask> {
    const { task, spec, entry, asker } = asked;
    if (wholeDigest(spec) !== undefined) return this.#checkNamed(asked, signal);
    const known = this.#known(task, entry);
    const { pool } = this.#context;
    this.#requests += 1;
    const condition = known === undefined ? {} : { condition: conditionOf(known) };
    // Not the asker's signal: others may wait for the same answer when he goes away.
    const origin = await pool.openOrigin(
      { ...openerOf(spec).whole(), ...condition },
      { signal: NEVER },
    );
    const isSame =
      known !== undefined && (origin.head.status === 304 || sameVersion(known, origin, spec));
    if (!isSame) {
      const seed = await this.#fetch(task, spec, origin);
      entry.confirmed.clear();
      this.#confirm(entry, asker);
      return this.#track(entry, seed);
    }
    await origin[Symbol.asyncDispose]();
    this.#confirm(entry, asker);
    if (known.seed !== undefined) return known.seed;
    return this.#track(entry, await this.#revive(known.stored, spec));
  }

  /**
   * Content named by its digest: whoever asks from a URL or with credentials that were not seen yet has to
   * be served by it, either as the one who brings the whole, or by samples of what is held already.
   */
  async #checkNamed(
    asked: { readonly task: string; readonly spec: TaskSpec; entry: Entry; readonly asker: string },
    signal: AbortSignal,
  ): Promise<SeedTask> {
    const { task, spec, entry, asker } = asked;
    const { pool } = this.#context;
    if (entry.current?.state === 'fetching') await abortable(entry.current.settled, signal);
    const known = this.#known(task, entry);
    this.#requests += 1;
    if (known?.stored.isComplete === true) {
      await proveSameContent({ pool, stored: known.stored, spec }, signal);
      this.#confirm(entry, asker);
      return known.seed ?? this.#track(entry, await this.#revive(known.stored, spec));
    }
    const origin = await pool.openOrigin(openerOf(spec).whole(), { signal: NEVER });
    const seed = await this.#fetch(task, spec, origin);
    entry.confirmed.clear();
    this.#confirm(entry, asker);
    return this.#track(entry, seed);
  }

  #confirm(entry: Entry, asker: string): void {
    entry.confirmed.set(asker, this.#context.clock.monotonic());
  }

  #track(entry: Entry, seed: SeedTask): SeedTask {
    entry.current = seed;
    this.#running.add(seed);
    void seed.settled.then(() => this.#running.delete(seed));
    return seed;
  }

  /** What is held of the task's newest version, in memory or in the store. */
  #known(
    task: string,
    entry: Entry,
  ): { readonly stored: StoredTask; readonly seed: SeedTask | undefined } | undefined {
    const seed = entry.current;
    if (seed !== undefined && seed.state !== 'failed') return { stored: seed.stored, seed };
    const stored = this.#context.store.find(task);
    if (stored === undefined) return undefined;
    // Half of a version can only be finished where ranges of the very same version can be asked for.
    const hasRanges = stored.validators.etag !== undefined && stored.length !== undefined;
    const canContinue = stored.isComplete || hasRanges;
    return canContinue ? { stored, seed: undefined } : undefined;
  }

  async #fetch(task: string, spec: TaskSpec, origin: RemoteOrigin): Promise<SeedTask> {
    const { validators, acceptsRanges } = origin.head;
    const length = contentLength(spec, origin.head.length);
    const version = versionOf({ digest: wholeDigest(spec), validators, length });
    const shape: TaskShape = {
      version,
      pieceLength: pieceLengthFor(length),
      validators: plain(validators),
      acceptsRanges,
      ...(length === undefined ? {} : { length }),
      ...(Object.keys(spec.headers ?? {}).length === 0 ? {} : { isPrivate: true }),
    };
    try {
      const stored = await this.#create(task, spec, shape);
      const seed = new SeedTask(this.#context, { stored, spec, shape });
      await seed.fetchWhole(origin);
      return seed;
    } catch (error) {
      await origin[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #revive(stored: StoredTask, spec: TaskSpec): Promise<SeedTask> {
    await stored.recover();
    const { version, pieceLength, length, validators } = stored;
    const shape: TaskShape = {
      version,
      pieceLength,
      validators: plain(validators),
      acceptsRanges: true,
      ...(length === undefined ? {} : { length }),
      ...(stored.isPrivate ? { isPrivate: true } : {}),
    };
    const seed = new SeedTask(this.#context, { stored, spec, shape });
    if (stored.isComplete && stored.isManifestFinal) await seed.serveStored();
    else {
      await seed.publish();
      await this.#context.adopt(seed);
      await seed.fetchMissing();
    }
    return seed;
  }

  async #create(task: string, spec: TaskSpec, shape: TaskShape): Promise<StoredTask> {
    const { version, pieceLength, length, validators } = shape;
    const url = new URL(spec.url);
    return this.#context.store.create({
      taskId: task,
      version,
      pieceLength,
      ...(length === undefined ? {} : { length }),
      validators,
      url: `${url.protocol}//${url.host}${url.pathname}`,
      isPrivate: shape.isPrivate === true,
    });
  }
}

const NEVER = new AbortController().signal;

/** Who asks, as far as the origin can tell: scope and headers. Headers are hashed, never kept. */
function fingerprintOf(spec: TaskSpec): string {
  const headers = Object.entries(spec.headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    value,
  ]);
  const scope = spec.digest === undefined ? '' : spec.url;
  return createHash('sha256')
    .update(JSON.stringify([scope, headers.toSorted(([a = ''], [b = '']) => a.localeCompare(b))]))
    .digest('hex');
}

function wholeDigest(spec: TaskSpec): string | undefined {
  return spec.range === undefined ? spec.digest : undefined;
}

function conditionOf(known: { readonly stored: StoredTask }): Validators {
  return plain(known.stored.validators);
}

/** True when the origin told the length at once, so that the version says it: what hosts say of it may be believed. */
function isOfKnownLength(shape: TaskShape, spec: TaskSpec): boolean {
  const { version, length, validators } = shape;
  if (length === undefined) return false;
  return versionOf({ digest: wholeDigest(spec), validators, length }) === version;
}

/** True when an origin that ignores conditions answered with the version that is held already. */
function sameVersion(
  known: { readonly stored: StoredTask },
  origin: RemoteOrigin,
  spec: TaskSpec,
): boolean {
  const { validators } = origin.head;
  const length = contentLength(spec, origin.head.length);
  if (
    wholeDigest(spec) === undefined &&
    validators.etag === undefined &&
    validators.lastModified === undefined
  ) {
    return false;
  }
  return versionOf({ digest: wholeDigest(spec), validators, length }) === known.stored.version;
}

function plain(validators: Validators): { etag?: string; lastModified?: string } {
  const { etag, lastModified } = validators;
  return {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  };
}
