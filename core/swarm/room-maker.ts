import type { PieceStore, StoredTask } from '../store/piece-store.ts';

/** Room is made so often for one piece: a limit that the system does not count as free space is met again and again. */
const MAX_ROOMS = 3;

/** Makes room for one task that meets a full disk, once for all of it that needs room at the same time. */
export class RoomMaker {
  readonly #store: PieceStore;
  readonly #stored: StoredTask;
  #making: Promise<boolean> | undefined;
  /** Since the last piece. */
  #made = 0;

  constructor(store: PieceStore, stored: StoredTask) {
    this.#store = store;
    this.#stored = stored;
  }

  /** A piece came, so room was of use. */
  progressed(): void {
    this.#made = 0;
  }

  /** False when there is none to be had. */
  async make(): Promise<boolean> {
    this.#making ??= this.#make().finally(() => (this.#making = undefined));
    return this.#making;
  }

  async #make(): Promise<boolean> {
    this.#made += 1;
    if (this.#made > MAX_ROOMS) return false;
    return this.#store.makeRoom(this.#stored.pieceLength).catch(() => false);
  }
}
