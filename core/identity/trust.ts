// What a host believes of its cell, and so whom it serves and from whom it takes. Everything rests on the cell id:
// it checks certificates; certificates say which keys are supernodes; supernodes sign the map, records and tickets.
// Link workers hold a copy made from plain data. Signatures of records and tickets are checked once and remembered;
// dates, revocations and the issuer's standing are looked at each time.
import { CodedError } from '../base/error.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import { openCellMap, openCertificate } from './cell.ts';
import type { CellMap, SupernodeCertificate } from './cell.ts';
import { parseRecord } from './membership.ts';
import type { MemberRecord } from './membership.ts';
import { publicKeyOf } from './peer-id.ts';
import { Statements } from './statements.ts';
import { parseTicket } from './ticket.ts';
import type { Ticket } from './ticket.ts';

/** How far clocks of a cell may differ: nothing expires, and nothing is too early, by less than this, ms. */
export const expiryLeewayMs = 60_000;

/** A `CellTrust` as plain data, to send to a worker or to keep on disk; all of it is signed, none of it secret. */
export interface CellTrustData {
  /** Cell id. */
  readonly cell: string;
  /** Certificate envelopes. */
  readonly certificates: readonly string[];
  /** Envelope of the cell map. */
  readonly map?: string;
}

/** More certificates than supernodes times overlap in any cell; past it the one that expires first is dropped. */
const MAX_CERTIFICATES = 1024;

/** What a host believes of its cell: supernodes, revocations, and which records and tickets hold. */
export class CellTrust {
  /** Cell id: the peer id of the cell key. */
  readonly cell: string;
  readonly #certificates = new Map<string, SupernodeCertificate>();
  readonly #records = new Statements<MemberRecord>('record', parseRecord);
  readonly #tickets = new Statements<Ticket>('ticket', parseTicket);
  #map: { envelope: string; signer: string; value: CellMap } | undefined;
  #revoked: ReadonlySet<string> = new Set();

  /** Knows nothing yet but the cell's key; ERR_SIGNATURE when `cell` is no peer id. */
  constructor(cell: string) {
    publicKeyOf(cell);
    this.cell = cell;
  }

  /** The trust that `toData()` wrote, every signature checked again, dates aside; ERR_SIGNATURE when one is wrong. */
  static fromData(data: CellTrustData): CellTrust {
    const trust = new CellTrust(data.cell);
    for (const envelope of data.certificates) trust.addCertificate(envelope);
    if (data.map !== undefined) {
      trust.#acceptMap(data.map, (signer) =>
        trust.#certificatesOf(signer).length > 0 ? undefined : 'has no certificate of this cell',
      );
    }
    return trust;
  }

  /** The envelopes this trust rests on. */
  toData(): CellTrustData {
    const base = { cell: this.cell, certificates: this.certificates() };
    return this.#map === undefined ? base : { ...base, map: this.#map.envelope };
  }

  /** The certificate envelopes that are known, expired ones among them. */
  certificates(): string[] {
    return [...this.#certificates.keys()];
  }

  /** The cell map in force, if one is known. */
  cellMap(): CellMap | undefined {
    return this.#map?.value;
  }

  /** Learns a supernode's certificate; false when it is known. ERR_SIGNATURE when the cell key did not sign it. */
  addCertificate(envelope: string): boolean {
    if (this.#certificates.has(envelope)) return false;
    this.#certificates.set(envelope, openCertificate(envelope, this.cell));
    if (this.#certificates.size > MAX_CERTIFICATES) this.#dropFirstToExpire();
    return true;
  }

  /**
   * Takes a newer cell map; false when it is not newer. ERR_SIGNATURE when its signer is neither the cell key nor a
   * supernode in good standing.
   */
  applyCellMap(envelope: string, now: number): boolean {
    return this.#acceptMap(envelope, (signer) => this.#supernodeProblem(signer, now));
  }

  /** True when the cell map in force revokes the peer. */
  isRevoked(peerId: string): boolean {
    return this.#revoked.has(peerId);
  }

  /** Throws ERR_NOT_MEMBER when the peer is not a certified, unrevoked supernode at `now` (ms of cell time). */
  verifySupernode(peerId: string, now: number): void {
    const problem = this.#supernodeProblem(peerId, now);
    if (problem !== undefined) throw refused('ERR_NOT_MEMBER', `the supernode ${problem}`, peerId);
  }

  /**
   * The record in `envelope` when it makes `peerId` a member at `now`; ERR_SIGNATURE when it is malformed or not
   * from a supernode, ERR_NOT_MEMBER when it is of somebody else, expired, or its peer is revoked.
   */
  verifyRecord(envelope: string, expected: { peerId: string; now: number }): MemberRecord {
    const { peerId, now } = expected;
    const record = this.#verified(this.#records, envelope, now);
    if (record.peerId !== peerId) {
      throw refused('ERR_NOT_MEMBER', 'the membership record is of another peer', peerId);
    }
    if (isOver(record.expires, now)) {
      throw refused('ERR_NOT_MEMBER', 'the membership record has expired', peerId);
    }
    this.#refuseRevoked(peerId);
    return record;
  }

  /**
   * The ticket in `envelope` when it lets `child` take that version of the task at `now`; ERR_SIGNATURE when it is
   * malformed or not from a supernode, ERR_TICKET when it is for something else or expired, ERR_NOT_MEMBER when
   * the child is revoked. While no supernode answers, `graceUntil` (the end of the child's record) holds in place
   * of an earlier expiry.
   */
  verifyTicket(
    envelope: string,
    expected: {
      child: string;
      task: string;
      version: string;
      now: number;
      graceUntil?: number | undefined;
    },
  ): Ticket {
    const { child, task, version, now, graceUntil = 0 } = expected;
    const ticket = this.#verified(this.#tickets, envelope, now);
    if (ticket.child !== child) throw refused('ERR_TICKET', 'the ticket is of another peer', child);
    if (ticket.task !== task) throw refused('ERR_TICKET', 'the ticket is for another task', child);
    if (ticket.version !== version) {
      throw refused('ERR_TICKET', 'the ticket is for another version of the task', child);
    }
    if (isOver(Math.max(ticket.expires, graceUntil), now)) {
      throw refused('ERR_TICKET', 'the ticket has expired', child);
    }
    this.#refuseRevoked(child);
    return ticket;
  }

  /**
   * Throws ERR_SIGNATURE unless `signer` may sign manifests at `now`: a supernode, or the holder of the membership
   * record `record` (envelope) with the role seed.
   */
  verifyManifestSigner(signer: string, now: number, record?: string): void {
    const problem = this.#supernodeProblem(signer, now);
    if (problem === undefined) return;
    if (record === undefined) {
      throw refused('ERR_SIGNATURE', `the signer of the manifest ${problem}`, signer);
    }
    const { role } = this.#seedRecord(record, { peerId: signer, now });
    if (role === 'host') {
      throw refused('ERR_SIGNATURE', 'the signer of the manifest is not a seed', signer);
    }
  }

  #seedRecord(record: string, expected: { peerId: string; now: number }): MemberRecord {
    try {
      return this.verifyRecord(record, expected);
    } catch (error) {
      const { message } = CodedError.from(error);
      throw new CodedError('ERR_SIGNATURE', `the signer of the manifest is refused: ${message}`, {
        cause: error,
        detail: { peerId: expected.peerId },
      });
    }
  }

  /** The content of a statement whose signature is right and whose signer is a supernode now. */
  #verified<T>(statements: Statements<T>, envelope: string, now: number): T {
    const verified = statements.open(envelope);
    const problem = this.#supernodeProblem(verified.signer, now);
    if (problem !== undefined) {
      throw refused(
        'ERR_SIGNATURE',
        `the issuer of the ${statements.kind} ${problem}`,
        verified.signer,
      );
    }
    // Only what a supernode signed is remembered, so strangers cannot push it out.
    statements.remember(envelope, verified);
    return verified.value;
  }

  #acceptMap(envelope: string, problemOf: (signer: string) => string | undefined): boolean {
    const { map, signer } = openCellMap(envelope);
    const problem = signer === this.cell ? undefined : problemOf(signer);
    if (problem !== undefined) {
      throw refused('ERR_SIGNATURE', `the signer of the cell map ${problem}`, signer);
    }
    if (!this.#isNewer(map, signer)) return false;
    this.#map = { envelope, signer, value: map };
    this.#revoked = new Set(map.revoked);
    return true;
  }

  /**
   * The higher epoch is newer. A stolen supernode key could set an epoch that nothing exceeds; so a map of the cell
   * key that revokes the signer of ours replaces it whatever the epochs. Such a revocation is therefore for good.
   */
  #isNewer(map: CellMap, signer: string): boolean {
    const current = this.#map;
    if (current === undefined || map.epoch > current.value.epoch) return true;
    const isRescue = signer === this.cell && current.signer !== this.cell;
    return isRescue && map.revoked.includes(current.signer);
  }

  #refuseRevoked(peerId: string): void {
    if (this.isRevoked(peerId)) throw refused('ERR_NOT_MEMBER', 'the peer is revoked', peerId);
  }

  /** Why the peer is no supernode at `now`, as the end of a sentence; undefined when it is one. */
  #supernodeProblem(peerId: string, now: number): string | undefined {
    if (this.isRevoked(peerId)) return 'is revoked';
    const certificates = this.#certificatesOf(peerId);
    if (certificates.length === 0) return 'has no certificate of this cell';
    const begun = certificates.filter(({ notBefore }) => notBefore - expiryLeewayMs <= now);
    if (begun.length === 0) return 'has a certificate that does not hold yet';
    if (begun.every(({ expires }) => isOver(expires, now))) return 'has an expired certificate';
    return undefined;
  }

  #certificatesOf(peerId: string): SupernodeCertificate[] {
    return [...this.#certificates.values()].filter(({ supernode }) => supernode === peerId);
  }

  #dropFirstToExpire(): void {
    let first: [envelope: string, expires: number] | undefined;
    for (const [envelope, { expires }] of this.#certificates) {
      if (first === undefined || expires < first[1]) first = [envelope, expires];
    }
    if (first !== undefined) this.#certificates.delete(first[0]);
  }
}

function isOver(expires: number, now: number): boolean {
  return now >= expires + expiryLeewayMs;
}

function refused(code: ErrorCode, message: string, peerId: string): CodedError {
  return new CodedError(code, message, { detail: { peerId } });
}
