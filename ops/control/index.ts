import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { CallDesk } from './call-desk.ts';
import type { CallRecord, CallRequest } from './call-record.ts';
import { CallStore } from './call-store.ts';
import { ControlKey } from './control-key.ts';

export interface OpsControlOptions {
  readonly dataDir: string;
  /** Cell id. */
  readonly cell: string;
  /** The key of the cell, or undefined while it is kept elsewhere. */
  readonly cellKey: () => Promise<HostKey | undefined>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const LOCK_WAIT_MS = 5_000;
const RENEWAL_CHECK_MS = 3_600_000;

/** The control side of the ops plane: what is asked of hosts, by whom, and what became of it. */
export class OpsControl implements AsyncDisposable {
  readonly desk: CallDesk;
  readonly calls: CallStore;
  readonly #state: LevelStateStore;
  readonly #resources: AsyncDisposableStack;

  private constructor(parts: {
    readonly desk: CallDesk;
    readonly calls: CallStore;
    readonly state: LevelStateStore;
    readonly resources: AsyncDisposableStack;
  }) {
    this.desk = parts.desk;
    this.calls = parts.calls;
    this.#state = parts.state;
    this.#resources = parts.resources;
  }

  /** Opens the state of a data folder, with its own key; ERR_STORE_LOCKED when another process has it. */
  static async open(options: OpsControlOptions): Promise<OpsControl> {
    const { dataDir, cell, cellKey, clock, random, log } = options;
    await using stack = new AsyncDisposableStack();
    const directory = join(dataDir, 'ops');
    const waitMs = LOCK_WAIT_MS;
    const state = stack.use(await LevelStateStore.openWhenFree(directory, { clock, waitMs }));
    const control = await ControlKey.open({ dataDir, state, cell, clock, cellKey });
    const renewal = clock.every(RENEWAL_CHECK_MS, () => {
      control
        .renewIfDue()
        .catch((error: unknown) => log.error({ err: error }, 'the control key is not certified'));
    });
    stack.defer(() => renewal.cancel());
    const calls = await CallStore.open(state);
    const desk = stack.use(
      await CallDesk.open({ store: calls, control, cell, clock, random, log }),
    );
    return new OpsControl({ desk, calls, state, resources: stack.move() });
  }

  /** Begins a call, or finds the one that was begun with the same word; it is on the disk before any host hears of it. */
  async submit(request: CallRequest, principal: string): Promise<CallRecord> {
    const word = request.idempotencyKey;
    if (word !== undefined) {
      const known = await this.calls.withWord(principal, word);
      if (known !== undefined) return known;
    }
    const { record, changes, expect } = this.desk.plan(request, principal);
    try {
      await this.#state.commit(changes, { expect });
    } catch (error) {
      const { code } = CodedError.from(error);
      const known =
        code === 'ERR_CONFLICT' && word !== undefined
          ? await this.calls.withWord(principal, word)
          : undefined;
      if (known === undefined) throw error;
      return known;
    }
    this.desk.begin(record);
    return record;
  }

  /** Stops a call; harmless when it has ended. */
  async stop(id: string): Promise<void> {
    if (this.desk.find(id) === undefined) return;
    await this.#state.commit(this.desk.planStop(id));
    await this.desk.stop(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
