import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { issueCertificate, openCertificate } from '../../core/identity/cell.ts';
import type { SupernodeCertificate } from '../../core/identity/cell.ts';
import { expiryLeewayMs } from '../../core/identity/trust.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { readCellKey } from './cell-keys.ts';

const ROW = 'certificates';
/** Renewed when so much of its life is over: the rest is for the overlap, and for fetching an offline key. */
const RENEW_AT = 2 / 3;
const CHECK_MS = 3_600_000;
/** From here on the log says each day that the key of the cell is needed. */
const WARN_BEFORE_MS = 21 * 86_400_000;
const MAX_STORED = 64;

interface CertificateParts {
  readonly dataDir: string;
  readonly state: StateStore;
  /** Cell id. */
  readonly cell: string;
  /** Peer id of this supernode. */
  readonly supernode: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onRenewed: (envelope: string) => void;
}

interface Known {
  readonly envelope: string;
  readonly certificate: SupernodeCertificate;
}

/** This supernode's certificates: issued and renewed with the cell key where it is, else kept as they are. */
export class OwnCertificate implements Disposable {
  readonly #parts: CertificateParts;
  readonly #timer: Timer;
  #known: readonly Known[];
  #lastWarningMs = -Infinity;

  private constructor(parts: CertificateParts, known: readonly Known[]) {
    this.#parts = parts;
    this.#known = known;
    this.#timer = parts.clock.every(CHECK_MS, () => {
      this.#renewIfDue().catch((error: unknown) =>
        parts.log.error({ err: error }, 'the certificate of this supernode is not renewed'),
      );
    });
  }

  /** Loads what is stored and issues what is missing; ERR_KEY_FILE when that needs a cell key that is not there. */
  static async open(parts: CertificateParts): Promise<OwnCertificate> {
    const certificate = new OwnCertificate(parts, await readStored(parts));
    try {
      await certificate.#renewIfDue();
      if (certificate.#current() === undefined) {
        throw new CodedError(
          'ERR_KEY_FILE',
          'this supernode has no valid certificate, and the key of the cell is not there to make one: put cell.key back into the identity folder',
          { detail: { cell: parts.cell, supernode: parts.supernode } },
        );
      }
      return certificate;
    } catch (error) {
      certificate[Symbol.dispose]();
      throw error;
    }
  }

  /** Envelopes that have not expired, the newest last; those of a former key of this supernode among them. */
  envelopes(): string[] {
    return this.#valid().map(({ envelope }) => envelope);
  }

  /** When the last valid one of the key in use runs out, ms; undefined when none is valid. */
  get expires(): number | undefined {
    return this.#current()?.expires;
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  async #renewIfDue(): Promise<void> {
    const { dataDir, cell, supernode, clock, onRenewed } = this.#parts;
    const now = Math.round(clock.now());
    const current = this.#current();
    if (current !== undefined && now < renewalTime(current)) return;
    const cellKey = await readCellKey(dataDir, cell);
    if (cellKey === undefined) {
      this.#warn(current, now);
      return;
    }
    const envelope = issueCertificate(cellKey, { supernode, now });
    const known = [...this.#valid(), { envelope, certificate: openCertificate(envelope, cell) }];
    await this.#store(known.slice(-MAX_STORED));
    onRenewed(envelope);
  }

  async #store(known: readonly Known[]): Promise<void> {
    const value = known.map(({ envelope }) => envelope);
    await this.#parts.state.commit([{ type: 'put', key: ROW, value }]);
    this.#known = known;
  }

  #warn(current: SupernodeCertificate | undefined, now: number): void {
    if (current === undefined || current.expires - now > WARN_BEFORE_MS) return;
    if (now - this.#lastWarningMs < 86_400_000) return;
    this.#lastWarningMs = now;
    const expires = new Date(current.expires).toISOString();
    this.#parts.log.error(
      { expires },
      'the certificate of this supernode runs out: put cell.key back into the identity folder for an hour',
    );
  }

  #valid(): Known[] {
    const now = this.#parts.clock.now();
    return this.#known.filter(({ certificate }) => certificate.expires > now);
  }

  /**
   * The valid certificate of the key this supernode has now that lasts longest. One that has yet to begin was made
   * when the clock was ahead: until then nobody would believe it.
   */
  #current(): SupernodeCertificate | undefined {
    const { supernode, clock } = this.#parts;
    const begun = clock.now() + expiryLeewayMs;
    const own = this.#valid().filter(
      ({ certificate }) => certificate.supernode === supernode && certificate.notBefore <= begun,
    );
    return own.toSorted((one, other) => other.certificate.expires - one.certificate.expires)[0]
      ?.certificate;
  }
}

async function readStored({ state, cell }: CertificateParts): Promise<Known[]> {
  const row = (await state.get(ROW))?.value ?? [];
  if (!Array.isArray(row)) throw new CodedError('ERR_STORE_IO', 'stored certificates are damaged');
  return row.map((envelope: unknown) => ({
    envelope: String(envelope),
    certificate: openCertificate(String(envelope), cell),
  }));
}

function renewalTime({ notBefore, expires }: SupernodeCertificate): number {
  return notBefore + (expires - notBefore) * RENEW_AT;
}
