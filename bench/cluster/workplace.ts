import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { install } from './installation.ts';
import type { Installation, ProgramForm } from './installation.ts';
import { ProcessGuard } from './process-guard.ts';

/** How a workplace is made. */
export interface WorkplaceOptions {
  /** Default `source`. */
  readonly form?: ProgramForm;
  /** The folder to make a temporary folder in; default that of the system. */
  readonly parent?: string;
  readonly signal?: AbortSignal | undefined;
}

/** A temporary folder, programs ready to run, and the certainty that nothing of either is left behind. */
export class Workplace implements AsyncDisposable {
  readonly folder: string;
  readonly guard: ProcessGuard;
  readonly installation: Installation;
  /** Without what a user has set up for himself, and with a home folder in here. */
  readonly env: NodeJS.ProcessEnv;

  private constructor(parts: Pick<Workplace, 'folder' | 'guard' | 'installation' | 'env'>) {
    this.folder = parts.folder;
    this.guard = parts.guard;
    this.installation = parts.installation;
    this.env = parts.env;
  }

  /** Makes the folder and, for `form: 'package'`, builds and packs the programs. */
  static async open(options: WorkplaceOptions = {}): Promise<Workplace> {
    const { form = 'source', parent = tmpdir(), signal } = options;
    const folder = await mkdtemp(join(parent, 'odonata-'));
    const guard = ProcessGuard.start(folder);
    try {
      const home = join(folder, 'home');
      await mkdir(home);
      const installation = await install(form, { folder, guard, signal });
      return new Workplace({ folder, guard, installation, env: cleanEnvironment(home, form) });
    } catch (error) {
      await guard[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A folder in here, made. */
  async subfolder(name: string): Promise<string> {
    const folder = join(this.folder, name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** Kills what still runs and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.guard[Symbol.asyncDispose]();
  }
}

/** Sources may be told where Node keeps compiled code; packed programs shall start as they do for users. */
function cleanEnvironment(home: string, form: ProgramForm): NodeJS.ProcessEnv {
  const foreign =
    form === 'source'
      ? /^(?:ODONATA_|XDG_|NODE_OPTIONS$)/
      : /^(?:ODONATA_|XDG_|NODE_OPTIONS$|NODE_COMPILE_CACHE$)/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), HOME: home };
}
