import { OutlivingShell } from './outliving-shell.ts';

/**
 * Kills what is still on its list, takes down what is mounted in the folder, and removes that. Numbers of ended
 * processes are taken off the list, since the kernel gives them to others.
 */
const SCRIPT = `
pids=
while read -r op pid; do
  case $op in
    +) pids="$pids $pid" ;;
    -)
      left=
      for one in $pids; do [ "$one" = "$pid" ] || left="$left $one"; done
      pids=$left
      ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
while read -r _ mount _; do
  case $mount in "$1"/*) umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null ;; esac
done < /proc/mounts
rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1"; }
`;

/** Sees to it that processes and a temporary folder are gone when this process is, even after `kill -9`. */
export class ProcessGuard implements AsyncDisposable {
  readonly #shell: OutlivingShell;

  private constructor(folder: string) {
    this.#shell = new OutlivingShell(SCRIPT, folder);
  }

  /** Guards `folder`, which is removed at the end. */
  static start(folder: string): ProcessGuard {
    return new ProcessGuard(folder);
  }

  /** Kills `pid` at the end unless it was removed by then. */
  add(pid: number): void {
    this.#shell.tell(`+ ${pid}`);
  }

  /** The process has ended. */
  remove(pid: number): void {
    this.#shell.tell(`- ${pid}`);
  }

  /** Kills what is left and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shell.end();
  }
}
