import { CodedError } from '../../core/base/error.ts';
import { openCallOrder } from '../../core/identity/call-order.ts';
import type { CallOrder } from '../../core/identity/call-order.ts';
import { openControlCertificate } from '../../core/identity/control-certificate.ts';
import { isRecord, parseBody } from '../../core/identity/envelope.ts';
import { expiryLeewayMs } from '../../core/identity/trust.ts';
import type { CallWay } from '../../core/swarm/call-taker.ts';
import type { Call } from '../../core/wire/messages.ts';

/**
 * The order in a message when the cell's control key gave it to this very host for now. ERR_SIGNATURE when anything of
 * it is not so; the one who passed it on need not be trusted in any way.
 */
export function verifyOrder(
  { order: envelope, certificate: certified }: Pick<Call, 'order' | 'certificate'>,
  way: CallWay,
): CallOrder {
  const { cell } = way;
  if (cell === undefined) throw refused('this host has joined no cell');
  const now = way.now();
  const certificate = openControlCertificate(certified, cell);
  if (way.isRevoked(certificate.control)) throw refused('the control key is revoked');
  if (isEarly(certificate.notBefore, now)) throw refused('the control certificate is not yet good');
  if (isOver(certificate.expires, now)) throw refused('the control certificate has expired');
  const { order, signer } = openCallOrder(envelope);
  if (signer !== certificate.control) {
    throw refused('the call is signed by another key than the certificate is of');
  }
  if (order.cell !== cell) throw refused('the call is for another cell');
  if (order.host !== way.key.peerId) throw refused('the call is for another host');
  if (isEarly(order.issued, now)) throw refused('the call was issued in the future');
  if (isOver(order.expires, now)) throw refused('the call has expired');
  return order;
}

/** True when it is too late to begin what expires then, ms of cell time. */
export function isOver(expires: number, now: number): boolean {
  return now >= expires + expiryLeewayMs;
}

function isEarly(from: number, now: number): boolean {
  return now < from - expiryLeewayMs;
}

/** The call that an order claims to be, if it claims to be for `host`; nothing of this is proven. */
export function claimedCall(envelope: string, host: string): string | undefined {
  const [, , payload = ''] = envelope.split('.', 4);
  const body = parseBody(payload);
  if (!isRecord(body) || body['host'] !== host) return undefined;
  const call = body['call'];
  return typeof call === 'string' && /^[0-9a-z]{8,32}$/.test(call) ? call : undefined;
}

function refused(message: string): CodedError {
  return new CodedError('ERR_SIGNATURE', message, { detail: { kind: 'call' } });
}
