import { CodedError } from '../base/error.ts';
import type { Account } from '../net/fair-line.ts';
import { pieceRange } from '../piece/piece-length.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Ledger } from './ledger.ts';
import type { ParentLink } from './parent-link.ts';
import type { Ask } from './piece-picker.ts';
import type { TurnRequest } from './request-turns.ts';
import type { SwarmContext } from './swarm-context.ts';
import type { TaskRate } from './task-rate.ts';

/** What pieces of one task are taken with. */
export interface PieceTakerParts {
  readonly stored: StoredTask;
  readonly ledger: Ledger;
  readonly rate: TaskRate;
  /** Ends with the task. */
  readonly signal: AbortSignal;
  /** On whose account its bytes pass; the class may rise. */
  account(): Account;
  /** True when another parent may have written to the place of a piece that came. */
  came(peer: string, piece: number, ms: number): Promise<boolean>;
  /** True for a piece that somebody reads while it comes in. */
  isReadEarly(piece: number): boolean;
  /** Such a piece: so many bytes are in the file, not verified yet. */
  onCame(piece: number, bytes: number): void;
  onHad(piece: number, peer: string, bytes: number): void;
  /** The parent did not give it. */
  onFailed(parent: ParentLink, piece: { index: number; bytes: number }, error: CodedError): void;
  onNoSpace(error: CodedError): void;
  /** The own store is broken. */
  onBroken(error: CodedError): void;
}

type TakerContext = Pick<SwarmContext, 'pool' | 'store' | 'turns' | 'farTurns'>;

/** Takes pieces of one task from parents, one a call: in its turn, verified, journalled. */
export class PieceTaker {
  readonly #context: TakerContext;
  readonly #parts: PieceTakerParts;

  constructor(context: TakerContext, parts: PieceTakerParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Throws nothing: what fails is told to those whom it concerns, unless `signal` was aborted. */
  async take(parent: ParentLink, ask: Ask, signal: AbortSignal): Promise<void> {
    const parts = this.#parts;
    const { stored } = parts;
    const { piece: index } = ask;
    const digest = stored.digestOf(index);
    if (digest === undefined) return;
    const { length, pieceLength } = stored;
    const range = length === undefined ? undefined : pieceRange(index, { length, pieceLength });
    const bytes = range === undefined ? pieceLength : range.end - range.start;
    try {
      await this.#take(parent, { ...ask, length: bytes, digest }, signal);
    } catch (error) {
      if (signal.aborted) return;
      const coded = CodedError.from(error);
      if (coded.code === 'ERR_NO_SPACE') parts.onNoSpace(coded);
      else if (coded.code !== 'ERR_INTERRUPTED') parts.onFailed(parent, { index, bytes }, coded);
    }
  }

  async #take(
    parent: ParentLink,
    piece: Ask & { readonly length: number; readonly digest: string },
    signal: AbortSignal,
  ): Promise<void> {
    const parts = this.#parts;
    const { stored } = parts;
    const { piece: index, length, digest, isUrgent } = piece;
    const onYield = (): void => void parent.takeBack(index);
    const request = { bytes: length, signal, onYield };
    using _far = await this.#farTurn(parent, request);
    using _own = await parts.rate.turns.take({ ...request, account: parts.account() });
    using _turn = await this.#context.turns.take({ ...request, account: parts.account() });
    using _room = await this.#context.store.grow(stored, [index]);
    const { priority } = parts.account();
    // Of the cell's own seed alone, which signed the digest, too: what a host sends may be wrong.
    const isTold = parent.role === 'seed' && parts.isReadEarly(index);
    const onCame = isTold ? (bytes: number) => parts.onCame(index, bytes) : undefined;
    const asked = { index, length, digest, isUrgent, priority, onCame };
    const fetched = await parent.fetch(asked, { signal });
    const isDoubtful = await parts.came(parent.peer, index, fetched.ms);
    // It was restated meanwhile.
    if (stored.digestOf(index) !== digest) return parts.ledger.duplicated(fetched.bytes);
    if (isDoubtful) await this.#checkPlace({ piece: index, length }, digest);
    await this.#keep(index);
    parts.ledger.saved(parent.peer, fetched.bytes - fetched.wireBytes);
    parts.onHad(index, parent.peer, fetched.bytes);
  }

  /** ERR_BUSY when it stands in another idc and its turn would take long. */
  async #farTurn(
    { otherIdc }: ParentLink,
    request: Omit<TurnRequest, 'account'>,
  ): Promise<Disposable | undefined> {
    if (otherIdc === undefined) return undefined;
    return this.#context.farTurns?.take(otherIdc, { ...request, account: this.#parts.account() });
  }

  /** Two parents wrote the piece to its place at the same time, and one of them may have lied. */
  async #checkPlace(about: { piece: number; length: number }, digest: string): Promise<void> {
    const { stored, signal } = this.#parts;
    const actual = await this.#context.pool.pieceDigest(stored, about, { signal });
    if (actual === digest) return;
    const message = `piece ${about.piece} was written over; it is fetched again`;
    throw new CodedError('ERR_INTERRUPTED', message);
  }

  /** Journals a piece; what is wrong with the own store is no parent's fault. */
  async #keep(index: number): Promise<void> {
    try {
      await this.#parts.stored.markHad(index);
    } catch (error) {
      const coded = CodedError.from(error);
      if (coded.code !== 'ERR_NO_SPACE') this.#parts.onBroken(coded);
      throw coded;
    }
  }
}
