import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/**
 * A shell that outlives us by a moment, to clean up after us: its standard input ends when this process does, however
 * that ends, also by `kill -9`. What its script reads from there is what it was told.
 */
export class OutlivingShell {
  readonly #shell: ChildProcess;
  readonly #ended: Promise<unknown>;

  /** `args` are `$1` and so on in the script. */
  constructor(script: string, ...args: readonly string[]) {
    // A session of its own: Ctrl-C in a terminal is for us, and the shell must live to see us end.
    this.#shell = spawn('/bin/sh', ['-c', script, 'guard', ...args], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#ended = once(this.#shell, 'exit');
    // It may be killed by somebody else; what is written to it then goes nowhere.
    this.#shell.stdin?.on('error', () => undefined);
  }

  tell(line: string): void {
    const { stdin } = this.#shell;
    if (stdin !== null && stdin.writable) stdin.write(`${line}\n`);
  }

  /** Lets it do its work; resolves when that is done. */
  async end(): Promise<void> {
    this.#shell.stdin?.end();
    await this.#ended;
  }
}
