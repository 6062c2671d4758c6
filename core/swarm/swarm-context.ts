import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { HostKey } from '../identity/host-key.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { FarTurns } from './far-turns.ts';
import type { Reporter } from './reporter.ts';
import type { RequestTurns } from './request-turns.ts';
import type { TransferPool } from './transfer-pool.ts';

/** What every task of a host shares. */
export interface SwarmContext {
  readonly pool: TransferPool;
  readonly store: PieceStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly key: HostKey;
  readonly reporter: Reporter;
  readonly downloadLimiter: RateLimiter;
  readonly turns: RequestTurns;
  /** Of what comes from hosts of each other idc; absent: no limit. */
  readonly farTurns?: FarTurns | undefined;
  /** Throws when the peer id is not a certified supernode of the cell. */
  readonly verifySupernode: (signer: string) => void;
  /** The idc of this host; undefined: not known. */
  readonly idc: () => string | undefined;
  /** True while a supernode answers. */
  readonly isSupervised: () => boolean;
  /** Asks the supernode for other parents. */
  readonly askParents: (task: StoredTask, reason: string) => void;
  /** Asks the supernode whether this host may fetch from the origin itself; false when it does not answer. */
  readonly askSource: (task: StoredTask, reason: string) => Promise<boolean>;
}
