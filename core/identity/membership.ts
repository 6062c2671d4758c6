import { seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { SignedBody } from './signed-body.ts';

/** What a member may be; `seed` and `supernode` are trusted to fetch from origins and to sign manifests. */
export const memberRoles = ['host', 'seed', 'supernode'] as const;

/** One of `memberRoles`. */
export type MemberRole = (typeof memberRoles)[number];

/** What a supernode states of a member; `issued` and `expires` in ms of cell time. */
export interface MemberRecord {
  readonly peerId: string;
  readonly role: MemberRole;
  readonly idc: string;
  /** Place inside the idc, outermost first: `a|b|c`. */
  readonly location?: string;
  readonly issued: number;
  readonly expires: number;
}

/** How long a membership record holds, ms; a host renews at half. */
export const recordTtlMs = 24 * 3_600_000;

/** The idc of a host that names none. */
export const defaultIdc = 'default';

const IDC = /^[^\p{Cc}\p{Zs}|]{1,64}$/u;
const LOCATION = /^[^\p{Cc}]{1,256}$/u;

/** True for a usable idc name: 1 to 64 characters, no spaces, no control characters, no `|`. */
export function isIdc(text: string): boolean {
  return IDC.test(text);
}

/** A membership record (envelope kind `record`), signed by a supernode; ERR_SIGNATURE when readers would refuse it. */
export function issueRecord(
  supernodeKey: HostKey,
  member: {
    peerId: string;
    role: MemberRole;
    idc: string;
    location?: string | undefined;
    now: number;
    ttlMs?: number;
  },
): string {
  const { peerId, role, idc, location, now, ttlMs = recordTtlMs } = member;
  const body = { v: 1, peerId, role, idc, location, issued: now, expires: now + ttlMs };
  parseRecord(body);
  return seal('record', body, supernodeKey);
}

/** The body of a record envelope as a `MemberRecord`; ERR_SIGNATURE naming the wrong field. */
export function parseRecord(body: Readonly<Record<string, unknown>>): MemberRecord {
  const fields = new SignedBody('record', body);
  const location = fields.optionalText('location', LOCATION);
  return {
    peerId: fields.peerId('peerId'),
    role: fields.oneOf('role', memberRoles),
    idc: fields.text('idc', IDC),
    ...(location === undefined ? {} : { location }),
    issued: fields.integer('issued'),
    expires: fields.integer('expires'),
  };
}
