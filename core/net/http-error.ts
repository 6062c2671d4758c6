import { abortReason } from '../base/clock.ts';
import { CodedError, systemCode } from '../base/error.ts';

/** The part of a request that its failures speak of. */
interface Asked {
  readonly url: URL;
  readonly signal: AbortSignal;
}

/** The other side sent nothing for too long. */
export function stalled({ url }: Pick<Asked, 'url'>, what: string): CodedError {
  const host = target(url);
  return new CodedError('ERR_ORIGIN_STALLED', `${host} ${what}`, { detail: { host } });
}

/** No connection came about in time. */
export function connectTimeout(): Error {
  return Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' });
}

/** The host and port of a URL, fit for messages. */
function target(url: URL): string {
  return url.host;
}

/** Why no connection could be made; a guard's refusal stays as it is. */
export function unreachable(error: Error, origin: URL): CodedError {
  if (error instanceof CodedError) return error;
  const reason = systemCode(error) ?? error.message;
  const tls = /^(ERR_SSL|ERR_TLS|EPROTO|CERT_|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|HOSTNAME)/.test(
    reason,
  );
  const text = error.message === '' ? reason : error.message.slice(0, 200);
  return new CodedError(
    'ERR_ORIGIN_UNREACHABLE',
    `cannot connect to ${target(origin)}: ${tls ? 'TLS: ' : ''}${text}`,
    { cause: error, detail: { host: target(origin), reason, tls } },
  );
}

/** What a failure of undici or of the socket means to the one who asked. */
export function codedError(
  error: unknown,
  { request, phase }: { request: Asked; phase: 'head' | 'body' },
): CodedError {
  if (request.signal.aborted) return CodedError.from(abortReason(request.signal));
  if (error instanceof CodedError) return error;
  const host = target(request.url);
  const reason = systemCode(error) ?? messageOf(error);
  const options = { cause: error, detail: { host, reason } };
  switch (reason) {
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_ABORTED':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return new CodedError('ERR_INTERRUPTED', 'the connection was closed on this side', options);
    case 'UND_ERR_INVALID_ARG':
      return new CodedError('ERR_REQUEST', `cannot ask ${host}: ${messageOf(error)}`, options);
    default:
  }
  const broken =
    reason === 'UND_ERR_SOCKET' ||
    reason === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' ||
    reason === 'HPE_INVALID_EOF_STATE' ||
    reason.startsWith('E');
  if (phase === 'body' && broken) {
    return new CodedError('ERR_ORIGIN_SHORT', `${host} broke off the body`, options);
  }
  const what = broken ? 'closed the connection without an answer' : 'sent an unusable answer';
  return new CodedError('ERR_ORIGIN_FAILING', `${host} ${what} (${reason.slice(0, 100)})`, options);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
