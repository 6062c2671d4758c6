import { createHash } from 'node:crypto';
import { issueCallResult, openCallOrder } from '../../core/identity/call-order.ts';
import { openControlCertificate } from '../../core/identity/control-certificate.ts';
import type { CallTaker, CallWay } from '../../core/swarm/call-taker.ts';
import type { Call, CallStop, CallsHeard } from '../../core/wire/messages.ts';

const NOTHING = createHash('sha256').digest('hex');

/** Takes calls as every host does, and answers that it has run them, without a program and without a journal. */
export class LightAgent implements CallTaker {
  /** It answers at once. */
  readonly active = 0;
  readonly #way: CallWay;
  readonly #ran = new Set<string>();
  #doubled = 0;

  constructor(way: CallWay) {
    this.#way = way;
  }

  /** Calls that it ran, and orders beyond the first of a call. */
  get counts(): { readonly ran: number; readonly doubled: number } {
    return { ran: this.#ran.size, doubled: this.#doubled };
  }

  onConnected(): void {
    // What was not heard is asked for again.
  }

  take(message: Call | CallStop | CallsHeard): void {
    if (message.type !== 'call') return;
    const { key, cell = '' } = this.#way;
    const { order, signer } = openCallOrder(message.order);
    const control = controlOf(message.certificate, cell);
    if (signer !== control || order.host !== key.peerId)
      throw new Error('a call for somebody else');
    if (this.#ran.has(order.call)) this.#doubled += 1;
    this.#ran.add(order.call);
    const ended = Math.round(this.#way.now());
    const result = issueCallResult(key, {
      call: order.call,
      host: key.peerId,
      outcome: 'ok',
      exitCode: 0,
      began: ended,
      ended,
      stdoutBytes: 0,
      stdoutDigest: NOTHING,
      stderrBytes: 0,
      stderrDigest: NOTHING,
    });
    this.#way.send({ type: 'call-states', running: [], ended: [result] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing runs.
  }
}

/** Each host looks at a certificate once; those of this process share one processor. */
const known = new Map<string, string>();

function controlOf(certificate: string, cell: string): string {
  const control = known.get(certificate) ?? openControlCertificate(certificate, cell).control;
  known.set(certificate, control);
  return control;
}
