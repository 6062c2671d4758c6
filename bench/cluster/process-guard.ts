import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/**
 * A shell that outlives us by a moment: its standard input ends when this process does, however it ends, and
 * then it kills what is still on its list and removes the folder. Numbers of ended processes are taken off the
 * list, since the kernel gives them to others.
 */
const SCRIPT = `
pids=
while read -r op pid; do
  case $op in
    +) pids="$pids $pid " ;;
    -) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1"; }
`;

/** Sees to it that processes and a temporary folder are gone when this process is, even after `kill -9`. */
export class ProcessGuard implements AsyncDisposable {
  readonly #shell: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(shell: ChildProcess) {
    this.#shell = shell;
    this.#ended = once(shell, 'exit');
    // The shell may be killed by somebody else; what is written to it then goes nowhere.
    shell.stdin?.on('error', () => undefined);
  }

  /** Guards `folder`, which is removed at the end. */
  static start(folder: string): ProcessGuard {
    // A session of its own: Ctrl-C in a terminal is for us, and the guard must live to see us end.
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'guard', folder], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    return new ProcessGuard(shell);
  }

  /** Kills `pid` at the end unless it was removed by then. */
  add(pid: number): void {
    this.#tell(`+ ${pid}\n`);
  }

  /** The process has ended. */
  remove(pid: number): void {
    this.#tell(`- ${pid}\n`);
  }

  /** Kills what is left and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.stdin?.end();
    await this.#ended;
  }

  #tell(line: string): void {
    const { stdin } = this.#shell;
    if (stdin !== null && stdin.writable) stdin.write(line);
  }
}
