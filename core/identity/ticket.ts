import { seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { SignedBody } from './signed-body.ts';

/** What `child` may take from any member until `expires` (ms of cell time); useless without the child's key. */
export interface Ticket {
  /** Task id, 64 hex digits. */
  readonly task: string;
  /** Version of the content, 16 hex digits. */
  readonly version: string;
  /** Where the right to these bytes was checked: a registry and repository, or a URL prefix. */
  readonly scope: string;
  /** Peer id of the holder. */
  readonly child: string;
  readonly issued: number;
  readonly expires: number;
}

/** How long a ticket holds, ms; a child renews at half. */
export const ticketTtlMs = 15 * 60_000;

const TASK = /^[0-9a-f]{64}$/;
const VERSION = /^[0-9a-f]{16}$/;
const SCOPE = /^[^\p{Cc}]{0,1024}$/u;

/** A ticket (envelope kind `ticket`), signed by a supernode; ERR_SIGNATURE when readers would refuse it. */
export function issueTicket(
  supernodeKey: HostKey,
  grant: {
    task: string;
    version: string;
    scope: string;
    child: string;
    now: number;
    ttlMs?: number;
  },
): string {
  const { task, version, scope, child, now, ttlMs = ticketTtlMs } = grant;
  const body = { v: 1, task, version, scope, child, issued: now, expires: now + ttlMs };
  parseTicket(body);
  return seal('ticket', body, supernodeKey);
}

/** The body of a ticket envelope as a `Ticket`; ERR_SIGNATURE naming the wrong field. */
export function parseTicket(body: Readonly<Record<string, unknown>>): Ticket {
  const fields = new SignedBody('ticket', body);
  return {
    task: fields.text('task', TASK),
    version: fields.text('version', VERSION),
    scope: fields.text('scope', SCOPE),
    child: fields.peerId('child'),
    issued: fields.integer('issued'),
    expires: fields.integer('expires'),
  };
}
