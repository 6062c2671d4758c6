import type { Writable } from 'node:stream';
import { CodedError } from '../../core/base/error.ts';
import { EventLines } from './event-lines.ts';
import { selectKnown } from './host-changes.ts';
import type { HostParts } from './host-changes.ts';
import { parseExpression } from './host-expression.ts';
import type { HostExpression } from './host-expression.ts';
import type { KnownHost } from './host-record.ts';
import { isValueName, valueNames, valuesOf } from './host-values.ts';
import type { HostValues, ValueName } from './host-values.ts';
import type { Caller } from './principal.ts';
import type { HostAnswer, QueryDesk } from './query-desk.ts';
import { queryLimits } from './query-host.ts';
import type { VerbInput } from './verbs.ts';

/** Asked at a stretch: everything else of this program waits meanwhile. */
const TOGETHER = 100;
/** A reader who takes longer to make room for what the hosts of a stretch say is cut off. */
const READER_MS = 30_000;
const MAX_SHOWN = 200;
/** With a query that names no value. */
const USUAL: readonly ValueName[] = [
  'load1',
  'memoryAvailableBytes',
  'rootFreeBytes',
  'storeFreeBytes',
  'calls',
  'tasks',
  'odonata',
];

/** A query that may be made, with the hosts that it is for; dispose it when it is over. */
export interface QueryPlan extends Disposable {
  readonly hosts: readonly KnownHost[];
  readonly expression: HostExpression | undefined;
  readonly columns: readonly ValueName[];
  readonly timeoutMs: number;
  readonly desk: QueryDesk;
}

/** Hosts of a query: the sum of `answered`, `silent` and `refused`; what answered, of the three others. */
export interface QueryCounts {
  readonly hosts: number;
  answered: number;
  silent: number;
  refused: number;
  matched: number;
  unmatched: number;
  /** What would decide is not known of them. */
  unknown: number;
}

/** Freezes the hosts; ERR_REQUEST, ERR_NOT_FOUND, ERR_BUSY, and what the door refuses. */
export async function planQuery(
  { door, hosts, queries }: HostParts & { readonly queries: QueryDesk },
  { input, caller }: { readonly input: VerbInput<'host.query'>; readonly caller: Caller },
): Promise<QueryPlan> {
  const { where, on = 'all', columns, timeoutMs = queryLimits.timeoutMs } = input;
  const asked = { verb: 'host.query', caller, input } as const;
  const id = on.slice(0, MAX_SHOWN);
  const meant = await door.lookUp({ ...asked, object: { id } }, () => selectKnown(hosts, { on }));
  return door.read({ ...asked, object: { id, hosts: meant } }, async () => {
    const expression = where === undefined ? undefined : parseExpression(where);
    const shown = columns === undefined ? (expression?.names ?? USUAL) : columnsOf(columns);
    const place = await queries.enter();
    const end = (): void => place[Symbol.dispose]();
    const plan = { hosts: meant, expression, columns: shown, timeoutMs, desk: queries };
    return { ...plan, [Symbol.dispose]: end };
  });
}

/**
 * Writes what the hosts say as lines of JSON: `begun`, then of each host as it is known `host` when it fits or may fit,
 * `silent` or `refused`, and `ended` with the counts. Ends `reader`.
 */
export async function runQuery(plan: QueryPlan, reader: Writable): Promise<void> {
  const query = new RunningQuery(plan, reader);
  try {
    await query.run();
    reader.end();
  } catch (error) {
    // The head of the answer is sent: there is no other way to say that this is not all.
    reader.destroy(CodedError.from(error));
  }
}

class RunningQuery {
  readonly #plan: QueryPlan;
  readonly #reader: Writable;
  readonly #lines: EventLines;
  readonly #counts: QueryCounts;
  /** Asked and not answered, by peer id. */
  readonly #open = new Map<string, { readonly host: KnownHost; readonly question: Disposable }>();
  readonly #over = Promise.withResolvers<void>();
  #isAsking = true;

  constructor(plan: QueryPlan, reader: Writable) {
    this.#plan = plan;
    this.#reader = reader;
    this.#lines = new EventLines(reader);
    const nothing = { answered: 0, silent: 0, refused: 0, matched: 0, unmatched: 0, unknown: 0 };
    this.#counts = { hosts: plan.hosts.length, ...nothing };
  }

  async run(): Promise<void> {
    const { hosts, columns, desk, timeoutMs } = this.#plan;
    const beganMs = desk.clock.monotonic();
    this.#lines.write({ type: 'begun', hosts: hosts.length, columns });
    this.#reader.once('close', () => this.#over.resolve());
    try {
      for (let at = 0; at < hosts.length && !this.#reader.destroyed; at += TOGETHER) {
        for (const host of hosts.slice(at, at + TOGETHER)) this.#ask(host);
        await this.#readerKeepsUp();
      }
      this.#isAsking = false;
      this.#endIfOver();
      // Those that were asked first have somewhat longer.
      const late = desk.clock.after(timeoutMs, () => this.#over.resolve());
      await this.#over.promise.finally(() => late.cancel());
      if (this.#reader.destroyed) return;
      for (const { host } of this.#open.values()) {
        this.#take(host, { type: 'silent', reason: `no answer within ${timeoutMs} ms` });
      }
    } finally {
      for (const { question } of this.#open.values()) question[Symbol.dispose]();
    }
    const ms = Math.round(desk.clock.monotonic() - beganMs);
    this.#lines.write({ type: 'ended', counts: this.#counts, ms });
  }

  #ask(host: KnownHost): void {
    const { desk } = this.#plan;
    let isTold = false;
    const question = desk.ask(host.peer, (answer) => {
      isTold = true;
      this.#take(host, answer);
    });
    if (!isTold) this.#open.set(host.peer, { host, question });
  }

  async #readerKeepsUp(): Promise<void> {
    const { clock } = this.#plan.desk;
    const tired = clock.after(READER_MS, () => this.#reader.destroy());
    await new Promise((resolve) => setImmediate(resolve));
    await this.#lines.taken().finally(() => tired.cancel());
  }

  #take(host: KnownHost, answer: HostAnswer): void {
    const { peer, hostname } = host;
    const { desk } = this.#plan;
    this.#open.get(peer)?.question[Symbol.dispose]();
    this.#open.delete(peer);
    this.#counts[answer.type] += 1;
    desk.outcomes.set(answer.type, (desk.outcomes.get(answer.type) ?? 0) + 1);
    const named = hostname === undefined ? { peer } : { peer, hostname };
    switch (answer.type) {
      case 'answered':
        this.#judge(named, valuesOf(host, answer.values));
        break;
      case 'silent': {
        const { reason } = answer;
        const seen = host.isConnected ? {} : { lastSeen: host.lastSeen };
        this.#lines.write({ type: 'silent', ...named, reason, ...seen });
        break;
      }
      case 'refused': {
        const { code, message } = answer;
        this.#lines.write({ type: 'refused', ...named, code, message });
        break;
      }
    }
    this.#endIfOver();
  }

  #judge(named: object, values: HostValues): void {
    const { expression, columns } = this.#plan;
    const truth = expression === undefined ? true : expression.test(values);
    if (truth === false) {
      this.#counts.unmatched += 1;
      return;
    }
    const shown = Object.fromEntries(columns.map((name) => [name, values[name]]));
    const missing = columns.filter((name) => values[name] === undefined);
    const unknown = missing.length === 0 ? {} : { unknown: missing };
    this.#counts[truth === true ? 'matched' : 'unknown'] += 1;
    const matches = truth === true ? 'yes' : 'unknown';
    this.#lines.write({ type: 'host', ...named, matches, values: shown, ...unknown });
  }

  #endIfOver(): void {
    if (!this.#isAsking && this.#open.size === 0) this.#over.resolve();
  }
}

function columnsOf(columns: readonly string[]): readonly ValueName[] {
  if (columns.length === 1 && columns[0] === 'all') return valueNames;
  const known = new Set<ValueName>();
  for (const [at, name] of columns.entries()) {
    if (!isValueName(name)) {
      const path = `columns/${at}`;
      const shown = JSON.stringify(name);
      const message = `${path}: no value has the name ${shown}. There are all, ${valueNames.join(', ')}`;
      throw new CodedError('ERR_REQUEST', message, { detail: { path } });
    }
    known.add(name);
  }
  return [...known];
}
