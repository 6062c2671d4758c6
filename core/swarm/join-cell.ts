import { abortable } from '../base/clock.ts';
import type { Clock, Deadline } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { CellTrust } from '../identity/trust.ts';
import type { JoinToken } from '../identity/join-token.ts';
import type { MeshNode } from '../net/mesh/mesh-node.ts';
import { Credentials, Membership, Refused, protocols } from '../wire/messages.ts';
import type { Join } from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';

const parseCredentials = parser(Credentials);
const parseMembership = parser(Membership);
const parseRefused = parser(Refused);

/** Longest that joining may take, from connecting to the record. */
const JOIN_TIMEOUT_MS = 10_000;

/**
 * Joins the cell that the token names: the secret is said only to a supernode that shows a certificate of
 * that cell for the very key it speaks with. Throws ERR_TOKEN, ERR_TOKEN_GRANT, ERR_NOT_MEMBER or
 * ERR_MESH_UNAVAILABLE.
 */
export async function joinCell(
  mesh: MeshNode,
  address: string,
  options: {
    readonly token: JoinToken;
    readonly wants: Pick<Join, 'role' | 'idc'>;
    readonly now: number;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<Membership> {
  const { token, wants, now, clock, signal } = options;
  using deadline = clock.deadline(JOIN_TIMEOUT_MS);
  const session = await mesh.dial(address, protocols.join, { signal, timeoutMs: JOIN_TIMEOUT_MS });
  try {
    const messages = session.receive()[Symbol.asyncIterator]();
    const next = async (): Promise<unknown> => nextOf(messages, { signal, deadline });
    const credentials = parseCredentials(await next());
    const trust = new CellTrust(token.cell);
    for (const certificate of credentials.certificates) trust.addCertificate(certificate);
    // Wall time only, as there is no cell time yet: a wrong clock here is the user's to mend.
    trust.verifySupernode(session.remotePeerId, now);
    session.send({ type: 'join', token: token.id, secret: token.secret, ...wants } satisfies Join);
    return readReply(await next());
  } finally {
    await session.close();
  }
}

function readReply(reply: unknown): Membership {
  if (isRefusal(reply)) throw CodedError.fromObject(parseRefused(reply).error);
  return parseMembership(reply);
}

function isRefusal(reply: unknown): boolean {
  return typeof reply === 'object' && reply !== null && 'type' in reply && reply.type === 'refused';
}

async function nextOf(
  messages: AsyncIterator<unknown>,
  { signal, deadline }: { readonly signal: AbortSignal; readonly deadline: Deadline },
): Promise<unknown> {
  const either = AbortSignal.any([signal, deadline.signal]);
  const { done, value } = await abortable(messages.next(), either).catch((error: unknown) => {
    if (signal.aborted || !deadline.signal.aborted) throw error;
    const message = `the supernode did not let this host join within ${JOIN_TIMEOUT_MS / 1000} s`;
    throw new CodedError('ERR_MESH_UNAVAILABLE', message, { cause: error });
  });
  if (done === true) {
    throw new CodedError(
      'ERR_MESH_UNAVAILABLE',
      'the supernode closed the connection while joining',
    );
  }
  return value;
}
