import { abortReason } from '../../base/clock.ts';
import { CodedError, systemCode } from '../../base/error.ts';

/** True when the other side is a mesh node that does not know the protocol. */
export function isUnsupportedProtocol(error: unknown): boolean {
  return nameOf(error) === 'UnsupportedProtocolError';
}

/**
 * Why no session could be opened, as ERR_MESH_UNAVAILABLE with a word for the reason in `detail.reason`; the
 * caller's own abort is given back as such.
 */
export function openError(
  error: unknown,
  context: { address: string; protocol: string | undefined; signal: AbortSignal },
): CodedError {
  const { address, protocol, signal } = context;
  if (signal.aborted) return CodedError.from(abortReason(signal));
  if (error instanceof CodedError) return error;
  if (nameOf(error) === 'ConnectionInterceptedError') {
    return new CodedError('ERR_NOT_MEMBER', `the key of the node at ${address} is revoked`, {
      cause: error,
      detail: { address },
    });
  }
  const { reason, text } = explain(error, protocol);
  return new CodedError('ERR_MESH_UNAVAILABLE', `no session with ${address}: ${text}`, {
    cause: error,
    detail: { address, reason },
  });
}

function explain(error: unknown, protocol: string | undefined): { reason: string; text: string } {
  const code = systemCode(error);
  if (code !== undefined && /^E[A-Z]+$/.test(code)) {
    return { reason: code, text: code === 'ECONNREFUSED' ? 'nobody listens there' : code };
  }
  if (isUnsupportedProtocol(error)) {
    return { reason: 'protocol', text: `it does not speak ${protocol ?? 'the protocol'}` };
  }
  switch (nameOf(error)) {
    case 'AbortError':
    case 'TimeoutError':
      return { reason: 'timeout', text: 'no answer in time' };
    case 'InvalidPeerIdError':
      return { reason: 'self', text: 'that is this node itself' };
    case 'EncryptionFailedError':
    case 'MuxerUnavailableError':
      return { reason: 'handshake', text: 'the handshake failed' };
    default:
      // Whoever has too many connections says nothing: it just closes.
      return protocol === undefined
        ? { reason: 'connect', text: 'the connection could not be made' }
        : {
            reason: 'closed',
            text: 'it closed the connection at once: it has as many as it takes, or is stopping',
          };
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}
