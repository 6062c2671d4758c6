import { parseHostPort } from '../../base/addresses.ts';
import type { HostPort } from '../../base/addresses.ts';
import { abortable } from '../../base/clock.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Link } from './link.ts';
import type { LinkLimits } from './limits.ts';

/** A peer and where it may be reached: `host:port`, `[v6]:port`. */
export interface PeerAddresses {
  readonly peerId: string;
  readonly addresses: readonly string[];
}

/** Dials one address of a peer. */
export type DialAttempt = (
  peer: { readonly address: HostPort; readonly expected: string },
  options: { signal: AbortSignal },
) => Promise<Link>;

/** Addresses of one peer that are tried; a host has few. */
const MAX_ADDRESSES = 8;

interface Dial {
  readonly link: Promise<Link>;
  readonly controller: AbortController;
  waiters: number;
}

/** Dials peers: one dial a peer however many ask, given up when nobody waits for it any more. */
export class Dialler {
  readonly #clock: Clock;
  readonly #limits: LinkLimits;
  readonly #attempt: DialAttempt;
  readonly #dials = new Map<string, Dial>();

  constructor(options: { clock: Clock; limits: LinkLimits; attempt: DialAttempt }) {
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#attempt = options.attempt;
  }

  /** A link to the peer, by the first of its addresses that answers as the peer. */
  async dial(peer: PeerAddresses, options: { signal?: AbortSignal | undefined }): Promise<Link> {
    const dial = this.#dials.get(peer.peerId) ?? this.#begin(peer);
    dial.waiters += 1;
    try {
      return await abortable(dial.link, options.signal);
    } catch (error) {
      throw CodedError.from(error);
    } finally {
      dial.waiters -= 1;
      if (dial.waiters === 0) dial.controller.abort();
    }
  }

  /** Gives up all dials. */
  close(): void {
    const error = new CodedError('ERR_LINK', 'the endpoint is closed');
    for (const { controller } of this.#dials.values()) controller.abort(error);
  }

  #begin(peer: PeerAddresses): Dial {
    if (this.#dials.size >= this.#limits.maxDials) {
      throw new CodedError('ERR_BUSY', `${this.#limits.maxDials} dials are under way`);
    }
    const controller = new AbortController();
    const link = this.#race(peer, controller.signal).finally(() => this.#dials.delete(peer.peerId));
    // Nobody may be left to hear of the failure.
    link.catch(() => undefined);
    const dial = { link, controller, waiters: 0 };
    this.#dials.set(peer.peerId, dial);
    return dial;
  }

  /** Tries the addresses, the next one when one fails or takes its time; the others are given up when one answers. */
  async #race(peer: PeerAddresses, signal: AbortSignal): Promise<Link> {
    const addresses = parseAddresses(peer.addresses);
    const { promise, resolve, reject } = Promise.withResolvers<Link>();
    const losers = new AbortController();
    const both = AbortSignal.any([signal, losers.signal]);
    const failures: CodedError[] = [];
    let next: Timer | undefined;
    let begun = 0;
    const begin = (): void => {
      next?.cancel();
      const address = addresses[begun];
      if (address === undefined || both.aborted) return;
      begun += 1;
      this.#attempt({ address, expected: peer.peerId }, { signal: both }).then(resolve, lose);
      if (begun < addresses.length) next = this.#clock.after(this.#limits.dialStaggerMs, begin);
    };
    const lose = (error: unknown): void => {
      failures.push(CodedError.from(error));
      if (failures.length === addresses.length || both.aborted) reject(worst(failures));
      else begin();
    };
    begin();
    try {
      return await promise;
    } finally {
      next?.cancel();
      losers.abort();
    }
  }
}

function parseAddresses(texts: readonly string[]): HostPort[] {
  const addresses = texts.slice(0, MAX_ADDRESSES).flatMap((text) => parseHostPort(text) ?? []);
  if (addresses.length === 0) {
    const given = texts.slice(0, MAX_ADDRESSES).join(' ');
    throw new CodedError('ERR_LINK', 'the peer has no usable address', { detail: { given } });
  }
  return addresses;
}

/** What says most: an answer that refused us, before an address where nobody answered. */
function worst(failures: readonly CodedError[]): CodedError {
  const told = failures.find(({ code }) => code !== 'ERR_LINK') ?? failures[0];
  return told ?? new CodedError('ERR_LINK', 'the peer is not reached');
}
