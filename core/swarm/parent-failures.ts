import type { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Ledger } from './ledger.ts';
import type { ParentLink } from './parent-link.ts';
import type { Reporter } from './reporter.ts';

/** A busy parent that names no time is left alone for so long. */
const BUSY_MS = 100;

export interface ParentFailuresParts {
  readonly stored: StoredTask;
  readonly ledger: Ledger;
  readonly reporter: Reporter;
  readonly log: Log;
}

/** What follows for a parent when it did not give what it was asked for, and who is told. */
export class ParentFailures {
  readonly #parts: ParentFailuresParts;

  constructor(parts: ParentFailuresParts) {
    this.#parts = parts;
  }

  /** A request failed, and not because of this host's own disk. */
  failed(
    parent: ParentLink,
    { index, bytes }: { readonly index: number; readonly bytes: number },
    error: CodedError,
  ): void {
    const { stored, ledger, log } = this.#parts;
    const { peer, address } = parent;
    const facts = { task: stored.taskId, piece: index, peer, code: error.code };
    switch (error.code) {
      case 'ERR_PIECE_DIGEST':
        parent.sentWrong();
        ledger.wrongPiece(peer);
        // They have to come once more.
        ledger.duplicated(bytes);
        ledger.note(`wrong piece ${index} from ${peer} at ${address ?? 'unknown'}`);
        log.warn({ ...facts, address }, 'wrong piece, its sender is dropped for this task');
        this.#report(peer, index, error.code);
        break;
      case 'ERR_BUSY':
        parent.busyFor(retryAfterOf(error));
        break;
      case 'ERR_NOT_FOUND':
        parent.lacks(index);
        break;
      case 'ERR_WORKER':
        // A thread of this program ended; another opens the link again.
        break;
      default:
        parent.lacks(index);
        ledger.failure(peer);
        log.debug({ ...facts, reason: error.message }, 'piece not received');
        this.#report(peer, index, error.code);
    }
  }

  /** It is alive, was asked for the piece, and brings next to nothing. */
  stalled({ peer, address }: ParentLink, piece: number): void {
    const { ledger } = this.#parts;
    ledger.failure(peer);
    ledger.note(`${peer} at ${address ?? 'unknown'} brings nothing although it is asked`);
    this.#report(peer, piece, 'ERR_TIMEOUT');
  }

  #report(parent: string, piece: number, code: string): void {
    const { reporter, stored } = this.#parts;
    reporter.failure(stored, { parent, piece, code });
  }
}

function retryAfterOf({ detail }: CodedError): number {
  const { retryAfterMs } = detail;
  return typeof retryAfterMs === 'number' ? retryAfterMs : BUSY_MS;
}
