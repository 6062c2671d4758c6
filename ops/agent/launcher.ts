import { execFile } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { CallGroup } from './call-group.ts';
import { inheritedFiles } from './inherited-files.ts';
import { findUser } from './local-user.ts';
import type { LocalUser } from './local-user.ts';
import { markerVariable } from './process-tree.ts';

const run = promisify(execFile);

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'];
/** The only variables that a program sees, besides those of its user and our mark. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
};
/** Nothing that is run gains rights by a set-uid file; where it can be asked for, nor by capabilities it inherits. */
const PRIVILEGES = [
  ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all'],
  ['--no-new-privs', '--inh-caps=-all'],
  ['--no-new-privs'],
];

/**
 * Node cannot start anything in another cgroup than its own, so a shell goes there and becomes the program. It gets
 * all of it as positional parameters, which are data to it, and leaves nothing of its own in the environment.
 */
const ENTER = `unset PWD OLDPWD SHLVL; echo 0 >"$0" || exit 125; exec "$@"`;

/** What is started for a command. */
export interface Launch {
  readonly argv: readonly [string, ...string[]];
  /** Default: `/`. */
  readonly cwd?: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Open files of this process that it would have as well; it is given /dev/null in their place. */
  readonly covered: readonly number[];
}

/** What a program sees of its user. */
export function environmentOf({ name, home }: LocalUser): Readonly<Record<string, string>> {
  return { ...ENVIRONMENT, HOME: home, USER: name, LOGNAME: name };
}

/**
 * Changes the user of what is started. Node's own `uid` and `gid` leave out the groups of the user, so `setpriv` of
 * util-linux does it: user, all his groups, no new privileges.
 */
export class Launcher {
  /** As whom this program runs. */
  readonly self: LocalUser;
  /** `setpriv` and what it always is told; undefined where there is none. */
  readonly #setpriv: readonly [string, ...string[]] | undefined;

  private constructor(self: LocalUser, setpriv: readonly [string, ...string[]] | undefined) {
    this.self = self;
    this.#setpriv = setpriv;
  }

  /** Looks for `setpriv`, and says in the log what cannot be done without it. */
  static async find(
    self: LocalUser,
    options: { readonly log: Log; readonly candidates?: readonly string[] },
  ): Promise<Launcher> {
    const { log, candidates = SETPRIV } = options;
    for (const path of candidates) {
      const setpriv = await workingSetpriv(path);
      if (setpriv !== undefined) return new Launcher(self, setpriv);
    }
    log.warn(
      { looked: candidates },
      'setpriv (util-linux) is missing: commands run only as the user of this program, and set-uid files keep their effect',
    );
    return new Launcher(self, undefined);
  }

  /** The user of that name, as whom this program can start something; ERR_FORBIDDEN otherwise. */
  async userOf(name: string): Promise<LocalUser> {
    // Its own user need not stand in /etc/passwd.
    const user = name === this.self.name ? this.self : await findUser(name);
    this.check(user);
    return user;
  }

  /** ERR_FORBIDDEN when this host cannot run anything as `user`. */
  check(user: LocalUser): void {
    if (user.uid === this.self.uid) return;
    if (this.self.uid !== 0) {
      const message = `this program runs as ${this.self.name} and can start nothing as ${user.name}`;
      throw new CodedError('ERR_FORBIDDEN', message);
    }
    if (this.#setpriv === undefined) {
      const message = `nothing can be started as ${user.name} without setpriv (util-linux)`;
      throw new CodedError('ERR_FORBIDDEN', message);
    }
  }

  /** How to start `argv` as `user`, in `group` from its first instruction on; ERR_FORBIDDEN as `check()`, ERR_COMMAND_START when there is no such program. */
  async launch(
    argv: readonly [string, ...string[]],
    options: {
      readonly user: LocalUser;
      readonly marker: string;
      readonly group?: CallGroup | undefined;
    },
  ): Promise<Launch> {
    const { user, marker, group } = options;
    this.check(user);
    await checkProgram(argv[0]);
    const wrapped = this.#wrapped(argv, user);
    return {
      argv: group === undefined ? wrapped : argvInGroup(wrapped, group),
      environment: { ...environmentOf(user), [markerVariable]: marker },
      covered: inheritedFiles(),
    };
  }

  #wrapped(
    argv: readonly [string, ...string[]],
    { name, gid }: LocalUser,
  ): readonly [string, ...string[]] {
    if (this.#setpriv === undefined) return argv;
    const change =
      this.self.uid === 0 ? [`--reuid=${name}`, `--regid=${gid}`, '--init-groups'] : [];
    return [...this.#setpriv, ...change, '--', ...argv];
  }
}

/** How to start `argv` in that group; it ends with 125, and nothing is started, when it cannot be entered. */
export function argvInGroup(
  argv: readonly [string, ...string[]],
  { entry }: CallGroup,
): readonly [string, ...string[]] {
  return ['/bin/sh', '-c', ENTER, entry, ...argv];
}

/** The longest form of the command line that this machine's `setpriv` and kernel take. */
async function workingSetpriv(path: string): Promise<readonly [string, ...string[]] | undefined> {
  for (const privileges of PRIVILEGES) {
    try {
      await run(path, [...privileges, '--', path, '--version'], { env: ENVIRONMENT, cwd: '/' });
      return [path, ...privileges];
    } catch {
      // The next shorter one, or none.
    }
  }
  return undefined;
}

/** ERR_COMMAND_START when it is no program. Before it is started: `setpriv` would only end with a status that the program may as well have ended with. */
export async function checkProgram(program: string): Promise<void> {
  let problem: string | undefined;
  try {
    const found = await stat(program);
    if (!found.isFile()) problem = 'is no file';
    else await access(program, constants.X_OK);
  } catch {
    problem = 'is missing or not executable';
  }
  if (problem !== undefined) {
    throw new CodedError('ERR_COMMAND_START', `the program ${program} ${problem}`);
  }
}
