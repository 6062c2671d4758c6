import { openCallOrder } from '../../core/identity/call-order.ts';
import type { CallOrder, CallResult } from '../../core/identity/call-order.ts';
import type { Call, CallStop, CallsHeard } from '../../core/wire/messages.ts';
import { AnsweringHost } from './answering-host.ts';

/** How a host takes a command; undefined: it begins it and never says what became of it. */
export type Manner = (order: CallOrder) => 'ok' | 'failed' | 'refused' | undefined;

/** A host that installs and switches packages as the real commands do: a call twice is done once and told twice. */
export class ReleasingHost extends AnsweringHost {
  manner: Manner = () => 'ok';
  /** What was done, as `package.switch 2`. */
  readonly done: string[] = [];
  readonly #running = new Map<string, string>([['web', '1']]);
  readonly #ended = new Map<string, () => void>();
  readonly #begun = new Set<string>();

  /** Of the application `web`, what runs; null: nothing. */
  get current(): string | null {
    return this.#running.get('web') ?? null;
  }

  set current(version: string | null) {
    this.#switch('web', version ?? 'none');
  }

  override call(message: Call | CallStop | CallsHeard): void {
    super.call(message);
    if (message.type === 'call-stop') for (const call of message.calls) this.#interrupt(call);
    if (message.type !== 'call') return;
    const { order } = openCallOrder(message.order);
    // Never in the middle of what the other end does.
    setImmediate(() => this.#take(order));
  }

  #take(order: CallOrder): void {
    const { call } = order;
    const known = this.#ended.get(call);
    if (known !== undefined) {
      known();
      return;
    }
    if (this.#begun.has(call)) return;
    this.#begun.add(call);
    const manner = this.manner(order);
    if (manner === 'refused') this.#end(call, { outcome: 'refused', code: 'ERR_FORBIDDEN' });
    else this.#run(order, manner);
  }

  #run({ call, command, args }: CallOrder, manner: 'ok' | 'failed' | undefined): void {
    const [name = '', version = ''] = args;
    this.done.push(`${command} ${version}`);
    if (manner === undefined) {
      this.begin(call);
    } else if (manner === 'failed') {
      this.#end(call, { outcome: 'failed', exitCode: command === 'package.switch' ? 3 : 1 });
    } else if (command === 'package.install') {
      const said = JSON.stringify({ name, version, current: this.#running.get(name) ?? null });
      this.#end(call, { outcome: 'ok', exitCode: 0 }, `${said}\n`);
    } else {
      this.#switch(name, version);
      this.#end(call, { outcome: 'ok', exitCode: 0 });
    }
  }

  #switch(name: string, version: string): void {
    if (version === 'none') this.#running.delete(name);
    else this.#running.set(name, version);
  }

  #interrupt(call: string): void {
    if (!this.#ended.has(call)) this.#end(call, { outcome: 'failed', code: 'ERR_INTERRUPTED' });
  }

  #end(call: string, said: Pick<CallResult, 'outcome'> & Partial<CallResult>, text = ''): void {
    const tell = (): void => {
      if (text !== '') this.write(call, text, 0);
      this.end(call, said);
    };
    this.#ended.set(call, tell);
    tell();
  }
}
