import { freemem, loadavg, uptime } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { diskSpace } from '../store/capacity.ts';
import type { DiskSpace } from '../store/capacity.ts';
import type { LiveValues } from '../wire/messages.ts';

/** A filesystem that takes longer (a mount whose server is gone) is left out. */
const LOOK_MS = 500;

/** What is told of this host besides its machine. */
export interface LiveParts {
  /** Where content is kept. */
  readonly storeDir: string;
  /** Counts of this program, by name. */
  readonly counts: () => Readonly<Record<string, number>>;
  /** The room on the filesystem of a folder; default `diskSpace`. */
  readonly space?: (path: string) => Promise<DiskSpace>;
  readonly clock: Clock;
}

/** How this machine and this program are at the moment of the call; what cannot be made out is left out. */
export class HostGauge {
  readonly #counts: LiveParts['counts'];
  readonly #root: FilesystemLook;
  readonly #store: FilesystemLook;

  constructor({ storeDir, counts, space = diskSpace, clock }: LiveParts) {
    this.#counts = counts;
    this.#root = new FilesystemLook(async () => space('/'), clock);
    this.#store = new FilesystemLook(async () => space(storeDir), clock);
  }

  async read(): Promise<LiveValues> {
    const [root, store] = await Promise.all([this.#root.space(), this.#store.space()]);
    const [load1 = 0, load5 = 0, load15 = 0] = loadavg();
    const values: Record<string, number | undefined> = {
      load1,
      load5,
      load15,
      // What the kernel calls available: free, and what it would give back.
      memoryAvailableBytes: freemem(),
      rootFreeBytes: root?.freeBytes,
      rootTotalBytes: root?.totalBytes,
      storeFreeBytes: store?.freeBytes,
      storeTotalBytes: store?.totalBytes,
      uptimeSeconds: Math.floor(uptime()),
      odonataUptimeSeconds: Math.floor(process.uptime()),
      ...this.#counts(),
    };
    const told: LiveValues = {};
    for (const [name, value] of Object.entries(values)) {
      if (value !== undefined && value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
        told[name] = value;
      }
    }
    return told;
  }
}

/** The room on a filesystem, asked for once at a time however long that takes. */
class FilesystemLook {
  readonly #ask: () => Promise<DiskSpace>;
  readonly #clock: Clock;
  #pending: Promise<DiskSpace | undefined> | undefined;

  constructor(ask: () => Promise<DiskSpace>, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** Undefined when it cannot be asked, or not in time. */
  async space(): Promise<DiskSpace | undefined> {
    this.#pending ??= this.#ask()
      .catch(() => undefined)
      .finally(() => (this.#pending = undefined));
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = this.#clock.after(LOOK_MS, () => resolve(undefined), { ref: false });
    try {
      return await Promise.race([this.#pending, late]);
    } finally {
      timer.cancel();
    }
  }
}
