import { createHash } from 'node:crypto';
import { issueCallResult } from '../../core/identity/call-order.ts';
import type { CallResult } from '../../core/identity/call-order.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { Call, CallStop, CallsHeard } from '../../core/wire/messages.ts';
import type { CallHost, CallListener } from '../../ops/control/call-host.ts';

/** The other end of calls in the hands of a test: it has a key, notes what it is told, and says what it is told to. */
export class AnsweringHost implements CallHost {
  readonly key = HostKey.generate();
  readonly hostname: string;
  readonly idc: string;
  readonly takesCalls = true;
  readonly orders: Call[] = [];
  readonly stops: string[] = [];
  readonly heard: string[] = [];
  readonly #written = new Map<string, string>();
  #listener: CallListener | undefined;

  constructor(hostname: string, idc = 'default') {
    this.hostname = hostname;
    this.idc = idc;
  }

  get peer(): string {
    return this.key.peerId;
  }

  connect(listener: CallListener): void {
    this.#listener = listener;
    listener.connected(this);
  }

  disconnect(): void {
    this.#listener?.disconnected(this);
  }

  call(message: Call | CallStop | CallsHeard): void {
    if (message.type === 'call') this.orders.push(message);
    else if (message.type === 'call-stop') this.stops.push(...message.calls);
    else this.heard.push(...message.calls);
  }

  begin(call: string): void {
    this.#listener?.told(this, { type: 'call-states', running: [call], ended: [] });
  }

  write(call: string, text: string, at = this.#written.get(call)?.length ?? 0): void {
    const before = this.#written.get(call) ?? '';
    this.#written.set(call, before.slice(0, at) + text);
    const data = Buffer.from(text).toString('base64');
    this.#listener?.wrote(this, { type: 'call-output', call, stream: 'stdout', at, data });
  }

  /** Says how it ended; of another host when `of` is given, with this output when `output` is. */
  end(
    call: string,
    said: Pick<CallResult, 'outcome'> & Partial<CallResult>,
    { of: host = this.peer, output = this.#written.get(call) ?? '' } = {},
  ): void {
    const result: CallResult = {
      call,
      host,
      ended: 1_700_000_000_000,
      stdoutBytes: output.length,
      stdoutDigest: digestOf(output),
      stderrBytes: 0,
      stderrDigest: digestOf(''),
      ...said,
    };
    const ended = [issueCallResult(this.key, result)];
    this.#listener?.told(this, { type: 'call-states', running: [], ended });
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
