import type { Log } from '../base/log.ts';
import type { Repair } from './open-folder.ts';

const MAX_REPAIRS_TOLD = 1000;

/** Tells repairs to the log, and remembers a bounded number of them. */
export class RepairLog {
  readonly told: Repair[] = [];
  readonly #log: Log;
  #count = 0;
  #isOpened = false;

  constructor(log: Log) {
    this.#log = log;
  }

  add(repair: Repair): void {
    this.#count += 1;
    if (this.told.length < MAX_REPAIRS_TOLD) this.told.push(repair);
    if (this.#isOpened) this.#log.warn(repair, 'data folder repaired');
    else this.#log.debug(repair, 'data folder repaired');
  }

  /** How many there were. */
  get count(): number {
    return this.#count;
  }

  /** Tells of all there were at opening in one line; what comes later is told one by one. */
  summarise(): void {
    this.#isOpened = true;
    if (this.#count === 0) return;
    this.#log.warn(
      { repairs: this.#count, first: this.told[0] },
      'the data folder had to be repaired',
    );
  }
}
