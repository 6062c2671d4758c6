import type { Log } from '../base/log.ts';
import type { Repair } from './open-folder.ts';

const MAX_REPAIRS_TOLD = 1000;

/** Tells repairs to the log, and remembers a bounded number of them. */
export class RepairLog {
  readonly told: Repair[] = [];
  readonly #log: Log;
  #count = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  add(repair: Repair): void {
    this.#count += 1;
    if (this.told.length < MAX_REPAIRS_TOLD) this.told.push(repair);
    this.#log.debug(repair, 'data folder repaired');
  }

  summarise(): void {
    if (this.#count === 0) return;
    this.#log.warn(
      { repairs: this.#count, first: this.told[0] },
      'the data folder had to be repaired',
    );
  }
}
