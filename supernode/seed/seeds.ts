import { LRUCache } from 'lru-cache';
import { abortable } from '../../core/base/clock.ts';
import { Coalescer } from '../../core/base/coalescer.ts';
import { CodedError } from '../../core/base/error.ts';
import { DEFAULT_PRIORITY } from '../../core/base/priority.ts';
import type { Priority } from '../../core/base/priority.ts';
import { Standing } from '../../core/base/standing.ts';
import { FairLimiter } from '../../core/net/fair-limiter.ts';
import { withoutSecrets } from '../../core/piece/task-id.ts';
import { hasStrongEtag, plainValidators, versionOf } from '../../core/piece/version.ts';
import type { PieceStore, StoredTask } from '../../core/store/piece-store.ts';
import { openerOf } from '../../core/swarm/origin-request.ts';
import {
  compareSamples,
  isProvable,
  notServed,
  servesDigest,
} from '../../core/swarm/prove-scope.ts';
import { shapeOf, shapeOfAnswer, wholeDigest } from '../../core/swarm/task-shape.ts';
import type { RemoteOrigin } from '../../core/swarm/origin-bodies.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';
import { fingerprintOf } from './asker.ts';
import { KeptSeeds } from './kept-seeds.ts';
import { SeedTask } from './seed-task.ts';
import type { SeedContext } from './seed-task.ts';
import { TaskVersions } from './task-versions.ts';
import type { Held } from './task-versions.ts';

/**
 * A version that is being handed out is joined without asking the origin again for this long after the
 * origin last confirmed it; a download that begins later, or when none is running, always asks.
 */
const JOIN_MS = 5_000;
/** Content named by its digest cannot change; that an asker may have it is remembered for this long. */
const RIGHTS_MS = 60_000;
/** Small contents kept ready for replies. */
const INLINE_CACHE_BYTES = 32 * 1024 * 1024;
const MAX_TASKS = 10_000;
/** Questions to origins at a time; the others wait. */
const MAX_QUESTIONS = 256;
const MAX_WAITING = 10_000;
/** How often an answer may turn out to be of no use because things changed meanwhile. */
const MAX_TRIES = 4;
/** How long an asker waits for enough of what others fetch to compare it with what his own origin serves. */
const GROW_PATIENCE_MS = 5_000;
const GROW_MS = 50;

export interface SeedsContext extends SeedContext {
  /** True while some host downloads this version. */
  isInDemand(seed: SeedTask): boolean;
  /** Takes over digests that hosts know of a version, before the origin is asked for what is missing. */
  adopt(seed: SeedTask): Promise<void>;
  /** Resolves when hosts have had time to tell what they hold of it. */
  hostsBack(stored: StoredTask, signal: AbortSignal): Promise<void>;
}

/** One question to the origin, for all who ask it at the same time. */
interface Question {
  readonly task: string;
  readonly spec: TaskSpec;
  readonly asker: string;
  readonly versions: TaskVersions;
  /** That of the most important who asks, and then of the version that comes of it. */
  readonly standing: Standing;
}

/** All tasks of the seed: finds the version that is valid now, asking the origin once for all who wait. */
export class Seeds {
  readonly #context: SeedsContext;
  /** Least recently used first. */
  readonly #tasks = new Map<string, TaskVersions>();
  readonly #questions = new Coalescer<SeedTask>();
  /** Of the questions that are being asked. */
  readonly #standings = new Map<string, Standing>();
  readonly #slots = new FairLimiter({
    mayEnter: (_priority, { all }) => all < MAX_QUESTIONS,
    maxWaiting: MAX_WAITING,
  });
  readonly #inline = new LRUCache<string, string>({
    maxSize: INLINE_CACHE_BYTES,
    sizeCalculation: (content) => content.length + 1,
  });
  readonly #kept: KeptSeeds;
  #requests = 0;
  #isClosed = false;

  constructor(context: SeedsContext) {
    this.#context = context;
    this.#kept = new KeptSeeds({
      clock: context.clock,
      isInDemand: (seed) => context.isInDemand(seed),
      onReleased: (seed) => this.#tasks.get(seed.stored.taskId)?.forgetFormer(seed),
    });
  }

  /** Requests made to origins by this run of the program. */
  get requests(): number {
    return this.#requests;
  }

  /** The version, if it is alive here. */
  find(task: string, version: string): SeedTask | undefined {
    return this.#tasks.get(task)?.alive(version);
  }

  /**
   * The version of the task that the origin has now; throws the origin's refusal or failure. `priority`: how important
   * it is to who asks; the origin is read in that order.
   */
  async resolve(
    task: string,
    spec: TaskSpec,
    options: { readonly signal: AbortSignal; readonly priority?: Priority | undefined },
  ): Promise<SeedTask> {
    const { priority = DEFAULT_PRIORITY } = options;
    const versions = this.#versions(task);
    const asker = fingerprintOf(spec);
    const joined = this.#joinable({ spec, asker, versions });
    const seed =
      joined ?? (await this.#question({ task, spec, asker, versions }, priority, options));
    seed.standing.raise(priority);
    return this.#kept.keep(seed);
  }

  /** Content for replies, base64; undefined when it is not small or not there. */
  async inline(seed: SeedTask, { signal }: { signal: AbortSignal }): Promise<string | undefined> {
    if (!seed.isTiny) return undefined;
    await abortable(seed.settled, signal);
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
    const versions = this.#versions(task);
    return versions.turns.run(async () => {
      const alive = versions.alive(shape.version);
      if (alive !== undefined) return alive;
      if (versions.newest()?.state === 'fetching') {
        throw new CodedError('ERR_ORIGIN_CHANGED', 'another version is being fetched');
      }
      if (!isOfKnownLength(shape, spec)) {
        throw new CodedError('ERR_ORIGIN_CHANGED', 'its length was not known: it begins anew');
      }
      const stored = await this.#create(task, spec, shape);
      return this.#revive(versions, stored, { spec, acceptsRanges: shape.acceptsRanges !== false });
    });
  }

  /** Hashes a version again because somebody doubts it; `key` is task and version. */
  recheck(key: string): void {
    const [task = '', version = ''] = key.split('/');
    this.find(task, version)
      ?.recheck()
      .catch((error: unknown) => this.#context.log.error({ err: error, task }, 'rehash failed'));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#kept[Symbol.asyncDispose]();
  }

  #versions(task: string): TaskVersions {
    const known = this.#tasks.get(task);
    const versions = known ?? new TaskVersions(task, this.#context.store);
    this.#tasks.delete(task);
    if (known === undefined && this.#tasks.size >= MAX_TASKS) this.#forgetOne();
    this.#tasks.set(task, versions);
    return versions;
  }

  #forgetOne(): void {
    for (const [task, versions] of this.#tasks) {
      const isUsed =
        versions.questions > 0 || versions.seeds().some((seed) => this.#kept.has(seed));
      if (isUsed) continue;
      this.#tasks.delete(task);
      return;
    }
    throw new CodedError('ERR_BUSY', `${MAX_TASKS} tasks are being seeded`);
  }

  /** Asks the origin, once for all who ask the same at the same time. */
  async #question(
    about: Omit<Question, 'standing'>,
    priority: Priority,
    options: { readonly signal: AbortSignal },
  ): Promise<SeedTask> {
    const key = `${about.task}/${about.asker}`;
    const standing = this.#standings.get(key) ?? new Standing(priority);
    this.#standings.set(key, standing);
    standing.raise(priority);
    const ask = async (signal: AbortSignal): Promise<SeedTask> => {
      try {
        return await this.#ask({ ...about, standing }, signal);
      } finally {
        if (this.#standings.get(key) === standing) this.#standings.delete(key);
      }
    };
    return this.#questions.run(key, ask, options);
  }

  /** A version that may be joined without a question to the origin. */
  #joinable({
    versions,
    spec,
    asker,
  }: Pick<Question, 'versions' | 'spec' | 'asker'>): SeedTask | undefined {
    const confirmation = versions.confirmation(asker);
    if (confirmation === undefined) return undefined;
    const seed = versions.alive(confirmation.version);
    if (seed === undefined || seed.state === 'failed') return undefined;
    const ageMs = this.#context.clock.monotonic() - confirmation.atMs;
    if (wholeDigest(spec) !== undefined) return ageMs < RIGHTS_MS ? seed : undefined;
    if (seed.isTiny || ageMs > JOIN_MS) return undefined;
    return seed.isReading || this.#context.isInDemand(seed) ? seed : undefined;
  }

  /** Not the signal of one asker: others may wait for the same answer when he goes away. */
  async #ask(question: Question, signal: AbortSignal): Promise<SeedTask> {
    const { versions, spec, standing } = question;
    using _slot = await this.#slots.acquire({ signal, standing });
    versions.questions += 1;
    try {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        signal.throwIfAborted();
        const seed =
          wholeDigest(spec) === undefined
            ? await this.#askCurrent(question, signal)
            : await this.#askNamed(question, signal);
        if (seed !== undefined) return seed;
      }
      throw new CodedError('ERR_BUSY', 'the content of the task keeps changing');
    } finally {
      versions.questions -= 1;
    }
  }

  /** Asks the origin for what it has now; undefined when the answer came too late to be of use. */
  async #askCurrent(question: Question, signal: AbortSignal): Promise<SeedTask | undefined> {
    const { spec, versions, standing } = question;
    const before = versions.held();
    this.#requests += 1;
    const condition =
      before === undefined ? {} : { condition: plainValidators(before.stored.validators) };
    const request = { ...openerOf(spec).whole(), ...condition };
    const origin = await this.#context.pool.openOrigin(request, { signal, standing });
    return versions.turns.run(async () => this.#takeUp(question, origin, before));
  }

  async #takeUp(
    question: Question,
    origin: RemoteOrigin,
    before: Held | undefined,
  ): Promise<SeedTask | undefined> {
    const { spec, versions, standing } = question;
    const { head } = origin;
    const isUnchanged = head.status === 304;
    const version = isUnchanged ? before?.stored.version : versionOfAnswer(spec, origin);
    // Asked again: what was held when the question left may be gone, and others may have been faster.
    const held = version === undefined ? undefined : versions.heldOf(version);
    if (held === undefined && !isUnchanged) return this.#fetch(question, origin);
    await origin[Symbol.asyncDispose]();
    if (held === undefined) return undefined;
    const facts = { spec, acceptsRanges: isUnchanged || head.acceptsRanges, standing };
    return this.#confirm(question, held.seed ?? (await this.#revive(versions, held.stored, facts)));
  }

  /**
   * Content named by its digest: whoever asks from a URL or with credentials that were not seen yet has to be served
   * it by his own origin. That is asked at once and on its own, whatever the state of what others fetch.
   */
  async #askNamed(question: Question, signal: AbortSignal): Promise<SeedTask | undefined> {
    const { spec, versions, standing } = question;
    const { pool, clock } = this.#context;
    const held = versions.held();
    if (held !== undefined && (await this.#isConfirmed(held, question, signal))) {
      return versions.turns.run(async () => this.#admit(question, held));
    }
    if (held?.seed?.state === 'fetching') await this.#grown(held.seed, signal);
    this.#requests += 1;
    if (held === undefined) return this.#askToBegin(question, signal);
    const proof = { pool, clock, stored: held.stored, spec, standing };
    const verdict = await compareSamples(proof, { signal });
    if (verdict === 'same') return versions.turns.run(async () => this.#admit(question, held));
    // A part that nobody fetches now is worth less than an origin that is ready to send the whole.
    if (held.seed === undefined && !held.stored.isComplete) {
      return this.#askToBegin(question, signal);
    }
    // What is here is known to have the digest once all of it is signed together.
    const isProven = held.stored.isComplete && held.stored.isManifestFinal;
    if ((isProven && verdict === 'differs') || !(await servesDigest(proof, { signal }))) {
      throw notServed();
    }
    if (verdict === 'unknown') return versions.turns.run(async () => this.#admit(question, held));
    // Their origin serves the digest, and what is held is something else.
    if (held.seed !== undefined) await abortable(held.seed.refute(), signal);
    return undefined;
  }

  /** Whether the URL that the content came from says, to these credentials, that it has the very same still. */
  async #isConfirmed(
    { stored, seed }: Held,
    { spec, standing }: Question,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { validators, length, url } = stored;
    const isServed = seed !== undefined || stored.isComplete;
    const isSameUrl = url === withoutSecrets(spec.url) && hasStrongEtag(validators);
    if (!isServed || !isSameUrl || length === 0) return false;
    this.#requests += 1;
    const condition = plainValidators(validators);
    const request = { ...openerOf(spec).part(0, 1), condition };
    await using origin = await this.#context.pool.openOrigin(request, { signal, standing });
    return origin.head.status === 304;
  }

  async #askToBegin(question: Question, signal: AbortSignal): Promise<SeedTask | undefined> {
    const { spec, versions, standing } = question;
    const request = openerOf(spec).whole();
    const origin = await this.#context.pool.openOrigin(request, { signal, standing });
    return versions.turns.run(async () => this.#begin(question, origin));
  }

  /** Fetches named content from its first byte on; undefined when others were faster. */
  async #begin(question: Question, origin: RemoteOrigin): Promise<SeedTask | undefined> {
    const { task, versions } = question;
    if (versions.newest() !== undefined) {
      await origin[Symbol.asyncDispose]();
      return undefined;
    }
    // A part that this origin does not serve may be anybody's.
    const part = this.#context.store.find(task);
    if (part !== undefined && !part.isComplete) await this.#context.store.remove(part);
    return this.#fetch(question, origin);
  }

  async #admit(question: Question, held: Held): Promise<SeedTask | undefined> {
    const { spec, versions, standing } = question;
    const now = versions.heldOf(held.stored.version);
    if (now?.stored !== held.stored) return undefined;
    const facts = { spec, acceptsRanges: true, standing };
    return this.#confirm(question, now.seed ?? (await this.#revive(versions, now.stored, facts)));
  }

  /** Resolves when enough of a version is here to be compared with what another origin serves, or it takes too long. */
  async #grown(seed: SeedTask, signal: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    using patience = clock.deadline(GROW_PATIENCE_MS);
    while (seed.state === 'fetching' && !isProvable(seed.stored) && !patience.signal.aborted) {
      await clock.sleep(GROW_MS, { signal });
    }
  }

  #confirm({ versions, asker, standing }: Question, seed: SeedTask): SeedTask {
    seed.standing.raise(standing.priority);
    versions.confirm(asker, seed, this.#context.clock.monotonic());
    this.#forgetFormers(versions);
    return this.#kept.keep(seed);
  }

  async #fetch(question: Question, origin: RemoteOrigin): Promise<SeedTask> {
    const { task, spec, versions, standing } = question;
    try {
      const shape = shapeOfAnswer(spec, origin.head);
      const stored = await this.#create(task, spec, shape);
      const version = { stored, spec, shape, standing };
      const seed = this.#track(versions, new SeedTask(this.#context, version));
      seed.fetchWhole(origin);
      versions.renew();
      return this.#confirm(question, seed);
    } catch (error) {
      await origin[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #revive(
    versions: TaskVersions,
    stored: StoredTask,
    facts: {
      readonly spec: TaskSpec;
      readonly acceptsRanges: boolean;
      readonly standing?: Standing | undefined;
    },
  ): Promise<SeedTask> {
    await stored.recover();
    const shape = shapeOf(stored, facts.acceptsRanges);
    const version = { stored, spec: facts.spec, shape, standing: facts.standing };
    const seed = this.#track(versions, new SeedTask(this.#context, version));
    if (stored.isComplete && stored.isManifestFinal) await seed.serveStored();
    else {
      seed.continueStored({
        adopt: async () => this.#context.adopt(seed),
        back: async (signal) => this.#context.hostsBack(stored, signal),
      });
    }
    return seed;
  }

  async #create(task: string, spec: TaskSpec, shape: TaskShape): Promise<StoredTask> {
    if (this.#isClosed) throw new CodedError('ERR_INTERRUPTED', 'the seed is stopping');
    const { version, pieceLength, length, validators } = shape;
    const stored = await this.#stored({
      taskId: task,
      version,
      pieceLength,
      ...(length === undefined ? {} : { length }),
      validators,
      url: withoutSecrets(spec.url),
      isPrivate: shape.isPrivate === true,
    });
    await stored.recover();
    return stored;
  }

  async #stored(spec: Parameters<PieceStore['create']>[0]): Promise<StoredTask> {
    const { store } = this.#context;
    try {
      return await store.create(spec);
    } catch (error) {
      if (CodedError.from(error).code !== 'ERR_NO_SPACE') throw error;
      this.#kept.releaseIdle();
      return store.create(spec);
    }
  }

  #track(versions: TaskVersions, seed: SeedTask): SeedTask {
    versions.add(seed);
    this.#forgetFormers(versions);
    return this.#kept.keep(seed);
  }

  /** Those that were the newest when the last host had them, and are not any more. */
  #forgetFormers(versions: TaskVersions): void {
    for (const seed of versions.seeds()) {
      if (!this.#kept.has(seed)) versions.forgetFormer(seed);
    }
  }
}

/** True when the origin told the length at once, so that the version says it: what hosts say of it may be believed. */
function isOfKnownLength(shape: TaskShape, spec: TaskSpec): boolean {
  const { version, length, validators } = shape;
  if (length === undefined) return false;
  return versionOf({ digest: wholeDigest(spec), validators, length }) === version;
}

/** The version that an answer is of; undefined when nothing in it tells one version from another. */
function versionOfAnswer(spec: TaskSpec, { head }: RemoteOrigin): string | undefined {
  const { etag, lastModified } = head.validators;
  if (etag === undefined && lastModified === undefined) return undefined;
  return shapeOfAnswer(spec, head).version;
}
