import { abortable } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { MeshSession } from '../../core/net/mesh/mesh-session.ts';
import { Join } from '../../core/wire/messages.ts';
import type { Credentials, Membership, Refused } from '../../core/wire/messages.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Authority } from './authority.ts';

/** Longest that a stranger may take to show its token. */
const JOIN_TIMEOUT_MS = 5_000;

const parseJoin = parser(Join);

/** What the join protocol needs of a session. */
export type JoinSession = Pick<
  MeshSession,
  'remotePeerId' | 'remoteAddress' | 'send' | 'receive' | 'close'
>;

/** Answers the join protocol, the only one that is open to strangers: one token shown, one answer, and out. */
export function joinService(
  authority: Authority,
  parts: { readonly clock: Clock; readonly log: Log },
): (session: JoinSession) => Promise<void> {
  const { clock, log } = parts;
  return async (session) => {
    using deadline = clock.deadline(JOIN_TIMEOUT_MS);
    const { remotePeerId: peer, remoteAddress: address } = session;
    try {
      const { cell } = authority;
      const certificates = authority.certificates();
      session.send({ type: 'credentials', cell, certificates } satisfies Credentials);
      const join = parseJoin(await abortable(first(session.receive()), deadline.signal));
      const { membership, role, idc } = await admit(authority, session, join);
      session.send(membership);
      authority.noteJoin('ok');
      log.info({ peer, address, role, idc, token: join.token }, 'host joined');
    } catch (error) {
      const refusal = CodedError.from(error);
      authority.noteJoin(refusal.code);
      note(log, refusal, { peer, address });
      tell(session, refusal);
    } finally {
      await session.close();
    }
  };
}

async function admit(
  authority: Authority,
  session: JoinSession,
  join: Join,
): Promise<{ readonly membership: Membership; readonly role: string; readonly idc: string }> {
  const { remotePeerId: peerId, remoteAddress: address } = session;
  const { token: id, secret, role, idc } = join;
  const granted = await authority.redeem({ id, secret, peerId, address, role, idc });
  return { membership: authority.membershipFor({ peerId, ...granted }), ...granted };
}

async function first(messages: AsyncIterable<unknown>): Promise<unknown> {
  const { done, value } = await messages[Symbol.asyncIterator]().next();
  if (done === true) throw new CodedError('ERR_LINK', 'the host left before it showed a token');
  return value;
}

/** A stranger must not be able to fill the log: only refusals that are counted, or of a token's holder, are told. */
function note(log: Log, refusal: CodedError, who: { peer: string; address: string }): void {
  const { code, message } = refusal;
  if (isOurs(refusal)) log.error({ ...who, err: refusal }, 'a host could not be admitted');
  else if (code !== 'ERR_TOKEN' && code !== 'ERR_TOKEN_GRANT') {
    log.debug({ ...who, code, reason: message }, 'nobody joined');
  } else log.warn({ ...who, code, reason: message }, 'join refused');
}

function tell(session: JoinSession, refusal: CodedError): void {
  const { code, message, detail } = isOurs(refusal)
    ? new CodedError('ERR_MESH_UNAVAILABLE', 'the supernode cannot admit hosts now; see its log')
    : refusal;
  try {
    session.send({ type: 'refused', error: { code, message, detail } } satisfies Refused);
  } catch {
    // It has gone: nobody is left to be told.
  }
}

/** True for a failure of this machine, whose facts are not a stranger's business. */
function isOurs({ code }: CodedError): boolean {
  return code === 'ERR_INTERNAL' || code === 'ERR_STORE_IO';
}
