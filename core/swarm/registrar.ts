import type { Clock } from '../base/clock.ts';
import { Coalescer } from '../base/coalescer.ts';
import { CodedError } from '../base/error.ts';
import { DEFAULT_PRIORITY } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import { isNamedByDigest, taskIdOf, withoutSecrets } from '../piece/task-id.ts';
import { plainValidators } from '../piece/version.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { Parent, TaskShape, TaskSpec } from '../wire/messages.ts';
import { holdingOf } from './announcement.ts';
import type { CellMember } from './cell-member.ts';
import type { DownloadRequest } from './download-events.ts';
import { isJoinRefusal } from './join-refusal.ts';
import { openerOf } from './origin-request.ts';
import type { OriginPolicy } from './origin-turn.ts';
import { compareSamples, notServed, servesDigest } from './prove-scope.ts';
import { shapeOf, shapeOfAnswer } from './task-shape.ts';
import type { SwarmTasks } from './swarm-tasks.ts';
import type { RemoteOrigin } from './origin-bodies.ts';
import type { TransferPool } from './transfer-pool.ts';

/** What a request turned out to mean. */
export type Registration =
  | {
      readonly kind: 'inline';
      readonly task: string;
      readonly version: string;
      readonly shape: TaskShape;
      /** Base64. */
      readonly content: string;
      readonly digest: string | undefined;
    }
  | {
      readonly kind: 'swarm';
      readonly task: string;
      readonly spec: TaskSpec;
      readonly shape: TaskShape;
      readonly manifest: readonly string[];
      readonly parents: readonly Parent[];
      readonly ticket: string;
      readonly policy: OriginPolicy;
      readonly limitRate: number;
      readonly priority: Priority;
      /** The origin's answer to the first request, body unread. */
      readonly initial?: RemoteOrigin;
    };

/** How a download is to be treated. */
interface Wish {
  readonly limitRate: number;
  readonly priority: Priority;
}

/** Content that came with the reply. */
export type InlineRegistration = Extract<Registration, { kind: 'inline' }>;

/** A version to take part in. */
export type SwarmRegistration = Extract<Registration, { kind: 'swarm' }>;

/** What an origin says a task is, and its body, unread, until somebody takes it. */
interface OriginAnswer {
  readonly shape: TaskShape;
  readonly standing: Standing;
  initial: RemoteOrigin | undefined;
}

/** How long a download waits for a first connection to the supernode before it does without. */
const CONNECT_PATIENCE_MS = 4_000;
/** A supernode that goes away while it is asked is asked once more when it is back. */
const MAX_ASKED = 2;

/** Failures of the seed that this host may not share: another network path, another disk. */
const WORTH_ALONE = new Set([
  'ERR_ORIGIN_UNREACHABLE',
  'ERR_ORIGIN_FORBIDDEN',
  'ERR_ORIGIN_STALLED',
  'ERR_NO_SPACE',
  'ERR_BUSY',
  'ERR_MESH_UNAVAILABLE',
  'ERR_WORKER',
]);

/** True for a failure of the seed that need not stop a host. */
export function isWorthAlone(error: unknown): boolean {
  return WORTH_ALONE.has(CodedError.from(error).code);
}

/** Turns requests into registrations: at the supernode, or at the origin where there is none. */
export class Registrar {
  readonly #store: PieceStore;
  readonly #pool: TransferPool;
  readonly #clock: Clock;
  readonly #member: CellMember | undefined;
  readonly #tasks: Pick<SwarmTasks, 'running'>;
  readonly #answers = new Coalescer<OriginAnswer>(({ initial }) => void closeUnread(initial));

  constructor(parts: {
    readonly store: PieceStore;
    readonly pool: TransferPool;
    readonly clock: Clock;
    readonly member: CellMember | undefined;
    readonly tasks: Pick<SwarmTasks, 'running'>;
  }) {
    this.#store = parts.store;
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#member = parts.member;
    this.#tasks = parts.tasks;
  }

  async register(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): Promise<Registration> {
    const task = taskIdOf(request);
    const spec = specOf(request);
    const { limitRate = 0, priority = DEFAULT_PRIORITY } = request;
    const client = this.#member?.client;
    const mayGoAlone = request.backToSource !== false;
    if (request.pattern === 'source' || client === undefined) {
      if (!mayGoAlone) throw meshUnavailable('back-to-source is forbidden');
      return this.#atOrigin(task, spec, { limitRate, priority, signal: options.signal });
    }
    const { signal } = options;
    const wish = { limitRate, priority, mayGoAlone, signal };
    for (let asked = 1; ; asked += 1) {
      const running = client.isConnected ? undefined : this.#tasks.running(task, spec);
      if (running !== undefined) return joining(running, { task, spec, limitRate, priority });
      if (!(await client.whenConnected(CONNECT_PATIENCE_MS, options))) {
        const refusal = client.lastError ?? meshUnavailable('no supernode answers');
        if (!mayGoAlone) throw refusal;
        if (isJoinRefusal(refusal)) return this.#kept(task, spec, { refusal, signal });
        return this.#atOrigin(task, spec, wish);
      }
      try {
        return await this.#atSupernode(task, spec, wish);
      } catch (error) {
        const { code, message } = CodedError.from(error);
        // It went away while it was asked: who waited for the answer does as those do who come now.
        if (code === 'ERR_MESH_UNAVAILABLE' && !client.isConnected && asked < MAX_ASKED) continue;
        if (!mayGoAlone || !isWorthAlone(error)) throw error;
        if (client.isConnected) {
          const answer = await client.askSource(task, `${code}: ${message}`, options);
          if (!answer.granted) throw error;
        }
        return this.#atOrigin(task, spec, wish);
      }
    }
  }

  async #atSupernode(
    task: string,
    spec: TaskSpec,
    options: Wish & { mayGoAlone: boolean; signal: AbortSignal },
  ): Promise<Registration> {
    const client = this.#member?.client;
    if (client === undefined) throw meshUnavailable('no supernode is configured');
    const { limitRate, priority } = options;
    const stored = this.#store.find(task);
    const reply = await client.register(
      { task, spec, priority, ...(stored === undefined ? {} : { holding: holdingOf(stored) }) },
      options,
    );
    const { shape, manifest, parents, ticket = '', content, digest } = reply;
    if (content !== undefined) {
      return { kind: 'inline', task, version: shape.version, shape, content, digest };
    }
    const policy = options.mayGoAlone ? 'when-orphaned' : 'never';
    const common = { kind: 'swarm', task, spec, limitRate, priority } as const;
    return { ...common, shape, manifest, parents, ticket, policy };
  }

  /** What is complete here and, by the origin's word, still valid: a host that its cell refuses fetches nothing else. */
  async #kept(
    task: string,
    spec: TaskSpec,
    options: { refusal: CodedError; signal: AbortSignal },
  ): Promise<Registration> {
    const { refusal, signal } = options;
    if (this.#store.find(task)?.isComplete !== true) throw refusal;
    const wish = { limitRate: 0, priority: DEFAULT_PRIORITY };
    const found = await this.#atOrigin(task, spec, { ...wish, signal });
    if (found.kind === 'swarm') {
      if (this.#store.find(task, found.shape.version)?.isComplete === true) return found;
      await closeUnread(found.initial);
    }
    throw refusal;
  }

  /** Asks the origin itself what the task is, once for all who want to know it at the same time. */
  async #atOrigin(
    task: string,
    spec: TaskSpec,
    options: Wish & { signal: AbortSignal },
  ): Promise<Registration> {
    const { limitRate, priority, signal } = options;
    // The whole of the request, headers too: an answer to one user's credentials is not another's.
    const key = JSON.stringify([task, spec]);
    const answer = await this.#answers.run(
      key,
      async (own) => this.#askOrigin({ spec, task, priority }, own),
      {
        signal,
      },
    );
    // There is one body, and the first to come gets it.
    const { shape, initial, standing } = answer;
    standing.raise(priority);
    answer.initial = undefined;
    const common = { kind: 'swarm', task, spec, manifest: [], parents: [], ticket: '' } as const;
    const body = initial === undefined ? {} : { initial };
    return { ...common, shape, policy: 'alone', limitRate, priority, ...body };
  }

  /** What is stored of the same version is kept. */
  async #askOrigin(
    {
      spec,
      task,
      priority,
    }: { readonly spec: TaskSpec; readonly task: string; readonly priority: Priority },
    signal: AbortSignal,
  ): Promise<OriginAnswer> {
    const standing = new Standing(priority);
    const known = this.#store.find(task);
    if (known?.isComplete === true && isNamedByDigest(spec)) {
      // The URL it was kept from is asked as ever; any other has to show that it serves the same.
      if (known.url !== withoutSecrets(spec.url))
        return this.#prove({ spec, stored: known, standing }, signal);
    }
    const probe = await this.#probe({ spec, known, standing }, signal);
    if (probe === 'unchanged' && known !== undefined) {
      return { shape: shapeOf(known), standing, initial: undefined };
    }
    if (probe === 'unchanged')
      throw new CodedError('ERR_ORIGIN_FAILING', 'a 304 to a plain request');
    const { validators, length, status } = probe.head;
    const facts = { validators, length, acceptsRanges: status === 206 };
    return { shape: shapeOfAnswer(spec, facts), standing, initial: probe };
  }

  /** Content kept under a digest, for an asker whose URL really serves it. */
  async #prove(
    about: { readonly spec: TaskSpec; readonly stored: StoredTask; readonly standing: Standing },
    signal: AbortSignal,
  ): Promise<OriginAnswer> {
    const { stored, standing } = about;
    const proof = { pool: this.#pool, clock: this.#clock, ...about };
    const verdict = await compareSamples(proof, { signal });
    const isSame =
      verdict === 'unknown' ? await servesDigest(proof, { signal }) : verdict === 'same';
    if (isSame) return { shape: shapeOf(stored), standing, initial: undefined };
    throw notServed();
  }

  /** The origin's answer from the first byte on, unread: a 206 tells that it has ranges. */
  async #probe(
    {
      spec,
      known,
      standing,
    }: {
      readonly spec: TaskSpec;
      readonly known: StoredTask | undefined;
      readonly standing: Standing;
    },
    signal: AbortSignal,
  ): Promise<RemoteOrigin | 'unchanged'> {
    const opener = openerOf(spec);
    // Of a part, the answer has to tell whether the rest can be had by ranges; a 304 does not.
    const validators = plainValidators(known?.isComplete === true ? known.validators : {});
    const hasValidators = Object.keys(validators).length > 0;
    const condition = hasValidators ? { condition: validators } : {};
    const first = opener.part(0, undefined);
    let origin: RemoteOrigin;
    try {
      origin = await this.#pool.openOrigin({ ...first, ...condition }, { signal, standing });
    } catch (error) {
      // Empty content has no first byte; a plain request tells it from a range that lies outside.
      if (CodedError.from(error).code !== 'ERR_ORIGIN_RANGE' || spec.range !== undefined)
        throw error;
      origin = await this.#pool.openOrigin(
        { ...opener.whole(), ...condition },
        { signal, standing },
      );
    }
    if (origin.head.status !== 304) return origin;
    await origin[Symbol.asyncDispose]();
    return 'unchanged';
  }
}

/** The part of a request that says what is fetched, as it goes to the supernode. */
export function specOf(request: DownloadRequest): TaskSpec {
  const { url, headers, tag, application, filteredQueryParams, digest, range } = request;
  return {
    url,
    ...(headers === undefined ? {} : { headers: { ...headers } }),
    ...(tag === undefined ? {} : { tag }),
    ...(application === undefined ? {} : { application }),
    ...(filteredQueryParams === undefined ? {} : { filteredQueryParams: [...filteredQueryParams] }),
    ...(digest === undefined ? {} : { digest: digest.toLowerCase() }),
    ...(range === undefined ? {} : { range: { ...range } }),
  };
}

/** Closes an answer whose body nobody reads. */
export async function closeUnread(origin: RemoteOrigin | undefined): Promise<void> {
  try {
    await origin?.[Symbol.asyncDispose]();
  } catch {
    // The worker that held it is gone, and the body with it.
  }
}

/** The part in a download that runs already: with whom it is shared it goes on, supernode or not. */
function joining(
  running: { readonly shape: TaskShape },
  request: Wish & { readonly task: string; readonly spec: TaskSpec },
): SwarmRegistration {
  const { shape } = running;
  const nothing = { manifest: [], parents: [], ticket: '' };
  return { kind: 'swarm', ...request, ...nothing, shape, policy: 'when-orphaned' };
}

function meshUnavailable(reason: string): CodedError {
  return new CodedError('ERR_MESH_UNAVAILABLE', reason);
}
