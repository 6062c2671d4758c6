import { CodedError } from '../../base/error.ts';
import type { Announcement } from './outbox.ts';
import type { ServedChannel } from './served-channel.ts';
import { keyOf } from './task-version.ts';
import type { TaskVersion } from './task-version.ts';

/** The channels that others have opened here, by task: whom to tell what. */
export class ServedIndex {
  readonly #byTask = new Map<string, Set<ServedChannel>>();

  add(channel: ServedChannel): void {
    const key = keyOf(channel);
    const channels = this.#byTask.get(key) ?? new Set();
    this.#byTask.set(key, channels.add(channel));
  }

  remove(channel: ServedChannel): void {
    const key = keyOf(channel);
    const channels = this.#byTask.get(key);
    if (channels?.delete(channel) === true && channels.size === 0) this.#byTask.delete(key);
  }

  /** Tells the children, or the one named by `to`, of pieces they may or may no longer ask for. */
  announce(
    about: TaskVersion & { readonly pieces: readonly number[]; readonly to?: string | undefined },
    what: Announcement,
  ): void {
    for (const channel of this.#of(about)) {
      if (about.to === undefined || about.to === channel.peerId) {
        channel.announce(about.pieces, what);
      }
    }
  }

  /** Passes manifest batches to the children. */
  offer(about: TaskVersion, batches: readonly string[]): void {
    for (const channel of this.#of(about)) channel.offer(batches);
  }

  /** Closes every channel on the task. */
  withdraw(about: TaskVersion): void {
    const error = new CodedError('ERR_NOT_FOUND', 'the task is no longer served');
    for (const channel of this.#of(about)) channel.close(error);
  }

  #of(about: TaskVersion): ServedChannel[] {
    return [...(this.#byTask.get(keyOf(about)) ?? [])];
  }
}
