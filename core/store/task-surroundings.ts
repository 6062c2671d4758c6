import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Journal } from './journal.ts';

/** What the store lends its tasks. */
export interface TaskSurroundings {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  /** Identity of this boot of the machine; undefined when it cannot be known. */
  readonly bootId: string | undefined;
  /** A manifest row cannot be read and is dropped. */
  readonly onMalformed: (key: string) => void;
}
