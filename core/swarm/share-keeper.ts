import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Demand, Share } from '../wire/messages.ts';
import type { CellShare, HostLimits, Passage } from './host-limits.ts';
import { NamedDemand } from './named-demand.ts';
import type { NamedLimits } from './named-demand.ts';

/** What the limits of this host did that the cell has budgets for. */
interface Passages {
  readonly download: Passage;
  readonly origin: Passage;
}

export interface ShareKeeperParts {
  readonly limits: Pick<HostLimits, 'alone' | 'share' | 'setShare' | 'passage'>;
  /** Those for one host of origins or idc. */
  readonly named: NamedLimits;
  readonly send: (demand: Demand) => void;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_MS = 500;
/** A host that moves bytes reports so often; one that begins to want more, or stops, does at the next look. */
const REPORT_MS = 1_000;
/** One that moves nothing. */
const IDLE_REPORT_MS = 10_000;

/**
 * This host's share of the cell's budgets: taken from the supernode, told of, and when nothing is heard for the length
 * of its lease, lowered to what it then still has. Never lifted but by the supernode.
 */
export class ShareKeeper implements Disposable {
  readonly #parts: ShareKeeperParts;
  #share: Share | undefined;
  #lease: Timer | undefined;
  #leaseEndMs = 0;
  #look: Timer | undefined;
  #reportedMs = 0;
  #last: Passages | undefined;
  /** At the last look. */
  #looked: Passages | undefined;
  #wanted = false;
  /** Of that, what has no name. */
  #limitsWanted = false;
  readonly #named: NamedDemand;

  constructor(parts: ShareKeeperParts) {
    this.#parts = parts;
    this.#named = new NamedDemand(parts.named);
  }

  /** A new share from the supernode: in force at once, and answered. */
  take(share: Share): void {
    const { clock } = this.#parts;
    this.#share = share;
    this.#lease?.cancel();
    this.#leaseEndMs = clock.monotonic() + share.leaseMs;
    const { download, origin, named = {} } = share;
    const hasNamed = Object.keys(named).length > 0;
    const isLimited = download !== undefined || origin !== undefined || hasNamed;
    this.#lease = isLimited ? clock.after(share.leaseMs, () => this.#lapse(), UNREF) : undefined;
    this.#parts.limits.setShare({ download: download?.rate, origin: origin?.rate });
    this.#named.share(named, 'rate');
    this.#look ??= clock.every(LOOK_MS, () => this.#lookAgain());
    this.#report({ isDue: true });
    if (isLimited) return;
    this.#look.cancel();
    this.#look = undefined;
  }

  /** Connected anew: tells what this host still holds, of a supernode that may have forgotten. */
  onConnected(): void {
    if (this.#share === undefined || this.#parts.clock.monotonic() >= this.#leaseEndMs) return;
    this.#report({ isDue: true, isReturn: true });
  }

  [Symbol.dispose](): void {
    this.#lease?.cancel();
    this.#look?.cancel();
  }

  #lapse(): void {
    const { download, origin, named = {} } = this.#share ?? {};
    this.#parts.log.warn(
      { download: download?.after, origin: origin?.after },
      'the supernode was not heard for the length of a lease: the share of the cell is down to its least',
    );
    this.#parts.limits.setShare({ download: download?.after, origin: origin?.after });
    this.#named.share(named, 'after');
  }

  #lookAgain(): void {
    const now = this.#passages();
    const looked = this.#looked ?? now;
    this.#looked = now;
    const hasStopped = isQuiet(now.download, looked.download) && isQuiet(now.origin, looked.origin);
    // Its share is for others, and until the next report it would be taken for one that wants more.
    const ends = this.#limitsWanted && hasStopped && !this.#named.wantsMore;
    if (ends) this.#last = now;
    this.#report({ isDue: ends });
  }

  #passages(): Passages {
    const { limits } = this.#parts;
    return { download: limits.passage('download'), origin: limits.passage('origin') };
  }

  #report({ isDue, isReturn = false }: { isDue: boolean; isReturn?: boolean }): void {
    const { clock, limits, send } = this.#parts;
    const now = this.#passages();
    const last = this.#last ?? now;
    const wants = {
      download: wantsMore(now.download, last.download),
      origin: wantsMore(now.origin, last.origin),
    };
    const hasMoved =
      now.download.passed > last.download.passed ||
      now.origin.passed > last.origin.passed ||
      this.#named.hasMoved;
    const atMs = clock.monotonic();
    const sinceMs = atMs - this.#reportedMs;
    const isWanting = wants.download || wants.origin || this.#named.wantsMore;
    const begins = isWanting && !this.#wanted;
    const isTime = sinceMs >= (hasMoved || isWanting || this.#wanted ? REPORT_MS : IDLE_REPORT_MS);
    if (!isDue && !begins && !isTime) return;
    const seconds = Math.max(sinceMs, LOOK_MS) / 1_000;
    const rate = (name: keyof Passages): number =>
      Math.round((now[name].passed - last[name].passed) / seconds);
    const { alone, share } = limits;
    send({
      type: 'demand',
      seq: this.#share?.seq ?? 0,
      download: { rate: rate('download'), wantsMore: wants.download, most: alone.download },
      origin: { rate: rate('origin'), wantsMore: wants.origin, most: alone.origin },
      ...this.#named.told(seconds),
      ...(isReturn ? { holds: { ...holdsOf(share), ...this.#named.holds } } : {}),
    });
    this.#last = now;
    this.#reportedMs = atMs;
    this.#wanted = isWanting;
    this.#limitsWanted = wants.download || wants.origin;
  }
}

const UNREF = { ref: false };

function wantsMore(now: Passage, last: Passage): boolean {
  return now.isHolding || now.held > last.held;
}

/** Nothing passed, and nothing waits. */
function isQuiet(now: Passage, before: Passage): boolean {
  return !now.isHolding && now.passed === before.passed && now.held === before.held;
}

function holdsOf({ download, origin }: CellShare): NonNullable<Demand['holds']> {
  return {
    ...(download === undefined ? {} : { download }),
    ...(origin === undefined ? {} : { origin }),
  };
}
