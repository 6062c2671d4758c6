import type { Clock } from '../../core/base/clock.ts';
import type { CrowdProcess } from './crowd-process.ts';

/** A host that went, and how long others were still told of it. */
export interface Cut {
  readonly kind: 'killed' | 'silent';
  /** Milliseconds from what its first child noticed to the last time that somebody was offered it; undefined: never. */
  readonly lastOfferMs: number | undefined;
  /** Newcomers that were offered it before, of those that asked: that it would have been offered at all. */
  readonly offeredBefore: number;
  readonly askedBefore: number;
  readonly askedAfter: number;
}

/** What a cut is made of. */
export interface CutParts {
  readonly url: string;
  /** A process with the one host that goes. */
  readonly victim: CrowdProcess;
  /** A process with hosts that take the same URL: those in `range`; those in `askers` come, ask and leave. */
  readonly children: CrowdProcess;
  readonly range: { readonly start: number; readonly end: number };
  readonly askers: { readonly start: number; readonly end: number };
  readonly clock: Clock;
}

const ASK_EVERY_MS = 50;
const ASKED_BEFORE = 20;
const WATCHED_MS = 6_000;
/** Children notice silence after 3 s, each counted from what it heard last. */
const SILENCE_MS = 3_000;
const NOTICE_EVERY_MS = 200;

/** The host's process is killed: its connections are reset, and whoever had one notices at once. */
export async function killedHost(parts: CutParts): Promise<Cut> {
  return measure(parts, 'killed', async () => {
    parts.victim.signal('SIGKILL');
  });
}

/** The host's process stands still: its connections stay and nothing comes. Resolves when the first child notices. */
export async function cutHost(parts: CutParts): Promise<Cut> {
  const { url, victim, children, range, clock } = parts;
  const [parent = ''] = (await victim.order({ do: 'peers' })).peers;
  return measure(parts, 'silent', async () => {
    victim.signal('SIGSTOP');
    await clock.sleep(SILENCE_MS);
    const { parents } = await children.order({ do: 'parents', url });
    const its = parents.flatMap((each, host) => (each.includes(parent) ? [host] : []));
    const inRange = its.filter((host) => host >= range.start && host < range.end);
    void blameInTurn(inRange, parts, parent).catch(() => undefined);
  });
}

async function blameInTurn(
  hosts: readonly number[],
  parts: CutParts,
  parent: string,
): Promise<void> {
  const { url, children, clock } = parts;
  for (const host of hosts) {
    await children.order({ do: 'blame', url, host, parent });
    await clock.sleep(NOTICE_EVERY_MS);
  }
}

async function measure(parts: CutParts, kind: Cut['kind'], cut: () => Promise<void>): Promise<Cut> {
  const { victim, clock } = parts;
  const [peer = ''] = (await victim.order({ do: 'peers' })).peers;
  const asker = new Asker(parts, peer);
  for (let asked = 0; asked < ASKED_BEFORE; asked += 1) await asker.ask();
  const { offered: offeredBefore } = asker;
  await cut();
  const noticedMs = clock.monotonic();
  let lastOfferMs: number | undefined;
  let askedAfter = 0;
  for (; clock.monotonic() - noticedMs < WATCHED_MS; askedAfter += 1) {
    const atMs = clock.monotonic() - noticedMs;
    if (await asker.ask()) lastOfferMs = atMs;
    await clock.sleep(ASK_EVERY_MS);
  }
  return { kind, lastOfferMs, offeredBefore, askedBefore: ASKED_BEFORE, askedAfter };
}

/** Hosts that come in turn, ask for parents, and leave again. */
class Asker {
  readonly #parts: CutParts;
  readonly #peer: string;
  #next: number;
  offered = 0;

  constructor(parts: CutParts, peer: string) {
    this.#parts = parts;
    this.#peer = peer;
    this.#next = parts.askers.start;
  }

  /** True when the host was among the parents. */
  async ask(): Promise<boolean> {
    const { url, children, askers } = this.#parts;
    const host = this.#next;
    this.#next = host + 1 < askers.end ? host + 1 : askers.start;
    const { parents } = await children.order({ do: 'ask', url, host });
    const isOffered = parents.includes(this.#peer);
    if (isOffered) this.offered += 1;
    return isOffered;
  }
}
