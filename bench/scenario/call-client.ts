import { Agent, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { CodedError } from '../../core/base/error.ts';

/** Hosts of a call. */
export type CallCounts = Readonly<
  Record<'hosts' | 'waiting' | 'running' | 'ok' | 'failed' | 'refused' | 'unknown', number>
>;

/** Calls and all else of the HTTP API of a supernode, over connections that are kept, as a program of operators asks. */
export class CallClient implements Disposable {
  readonly #base: URL;
  readonly #key: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 512 });

  constructor(base: string, key: string) {
    this.#base = new URL(base);
    this.#key = key;
  }

  /** Makes a call; its id. */
  async begin(body: object): Promise<string> {
    const answer = await this.#ask('POST', '/api/v1/calls', JSON.stringify(body));
    const { id } = JSON.parse(answer) as { id?: string };
    if (id === undefined) throw new CodedError('ERR_INTERNAL', answer);
    return id;
  }

  /** Ends a call. */
  async stop(id: string): Promise<void> {
    await this.#ask('DELETE', `/api/v1/calls/${id}`);
  }

  /** Asks all hosts how they are; on how many it was, and how many answered. */
  async query(where: string): Promise<{ readonly hosts: number; readonly answered: number }> {
    const answer = await this.#ask('POST', '/api/v1/ops/hosts/query', JSON.stringify({ where }));
    const last = JSON.parse(answer.trimEnd().split('\n').at(-1) ?? '') as {
      readonly type: string;
      readonly counts: { readonly hosts: number; readonly answered: number };
    };
    if (last.type !== 'ended') throw new CodedError('ERR_INTERNAL', answer.slice(0, 200));
    return last.counts;
  }

  /** Resolves when the call has ended: on how many hosts it was, and how many ended how. */
  async ended(id: string): Promise<CallCounts> {
    const lines = (await this.#ask('GET', `/api/v1/calls/${id}/events`)).trimEnd().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '') as {
      readonly type: string;
      readonly counts: CallCounts;
    };
    if (last.type !== 'ended') throw new CodedError('ERR_INTERNAL', `no end: ${lines.at(-1)}`);
    return last.counts;
  }

  /** The JSON that answers; ERR_INTERNAL with what was said otherwise. */
  async json(method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> {
    const answer = await this.#ask(method, path, body === undefined ? '' : JSON.stringify(body));
    const said: unknown = answer === '' ? undefined : JSON.parse(answer);
    if (typeof said === 'object' && said !== null && 'error' in said) {
      throw new CodedError('ERR_INTERNAL', `${method} ${path}: ${answer}`);
    }
    return said;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #ask(method: string, path: string, body = ''): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = {
      authorization: `Bearer ${this.#key}`,
      'content-length': Buffer.byteLength(body),
      ...(body === '' ? {} : { 'content-type': 'application/json' }),
    };
    const sent = request(new URL(path, this.#base), { method, headers, agent: this.#agent });
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.end(body);
    const response = await promise;
    response.setEncoding('utf8');
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return text;
  }
}
