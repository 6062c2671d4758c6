import { stat } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { RegistryLogins, readLogins, versionOf } from '../../core/registry/registry-logins.ts';
import type { ReadLogins } from '../../core/registry/registry-logins.ts';

/** So often the file is looked at while it is in use. */
const LOOK_MS = 1_000;

/** The logins of this host, as the file has them now. */
export class LoginFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #read: ReadLogins;
  #lookedMs: number;
  #looking: Promise<void> | undefined;

  private constructor(
    parts: { readonly path: string; readonly clock: Clock; readonly log: Log },
    read: ReadLogins,
  ) {
    this.#path = parts.path;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#read = read;
    this.#lookedMs = parts.clock.monotonic();
  }

  /** Throws ERR_CONFIG naming the file when it is missing, open to others or malformed. */
  static async open(
    path: string,
    parts: { readonly clock: Clock; readonly log: Log },
  ): Promise<LoginFile> {
    return new LoginFile({ path, ...parts }, await readLogins(path));
  }

  /** What it says, read again when it was changed. While it is not fit to be read there is no login. */
  async current(): Promise<ReadLogins> {
    const now = this.#clock.monotonic();
    if (now - this.#lookedMs >= LOOK_MS) {
      this.#looking ??= this.#look().finally(() => {
        this.#lookedMs = this.#clock.monotonic();
        this.#looking = undefined;
      });
      await this.#looking;
    }
    return this.#read;
  }

  async #look(): Promise<void> {
    let version = 'none';
    try {
      version = versionOf(await stat(this.#path));
      if (version === this.#read.version) return;
      this.#read = await readLogins(this.#path);
      const { places } = this.#read.logins;
      this.#log.info({ registries: places.length }, 'the logins for registries were read again');
    } catch (error) {
      if (version === this.#read.version) return;
      this.#read = { logins: RegistryLogins.parse('{}'), version };
      const { code, message } = CodedError.from(error);
      this.#log.error({ code, reason: message }, 'no login for registries is used until it is fit');
    }
  }
}
