import { readdir } from 'node:fs/promises';
import { OutlivingShell } from '../cluster/outliving-shell.ts';
import { LAB_PREFIX, STATE_DIR, harnessDevice } from './lab-names.ts';
import { runTool } from './lab-tools.ts';

/**
 * Removes one lab, whatever there is of it: in shell, since it is also what is left of us after `kill -9`. A
 * namespace lives as long as a process in it, whatever becomes of its name, so these are killed first.
 */
const TEARDOWN = `
export PATH="/usr/sbin:/sbin:/usr/bin:/bin:$PATH"
remove_lab() {
  spaces=$(ip netns list | awk -v p="${LAB_PREFIX}$1-" 'index($1, p) == 1 { print $1 }')
  tries=0
  while [ $tries -lt 50 ]; do
    busy=
    for space in $spaces; do
      for pid in $(ip netns pids "$space" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; busy=1; done
    done
    [ -n "$busy" ] || break
    tries=$((tries + 1)); sleep 0.1
  done
  ip link del "${LAB_PREFIX}$1" 2>/dev/null
  for space in $spaces; do ip netns del "$space"; done
  for network in "${STATE_DIR}"/network-*; do
    [ "$(readlink "$network")" = "$1" ] && rm -f "$network"
  done
  rm -rf "${STATE_DIR}/lab-$1"
  rmdir "${STATE_DIR}" 2>/dev/null
  true
}
`;

/** Removes the lab when this process is gone, however it ends, unless it was told to keep it. */
const GUARD = `${TEARDOWN}
while read -r word; do [ "$word" = keep ] && exit 0; done
remove_lab "$1"
`;

/** Removes a lab of this name, or what is left of one. */
export async function removeLab(lab: string): Promise<void> {
  await runTool('sh', ['-c', `${TEARDOWN}remove_lab "$1"`, 'teardown', lab]);
}

/** Names of all labs of which there is anything, by state, namespace or device. */
export async function allLabs(): Promise<string[]> {
  const found = new Set<string>();
  for (const entry of await readdir(STATE_DIR).catch(() => [])) {
    if (entry.startsWith('lab-')) found.add(entry.slice('lab-'.length));
  }
  const [spaces, devices] = await Promise.all([
    runTool('ip', ['netns', 'list']),
    runTool('ip', ['-brief', 'link', 'show']),
  ]);
  for (const line of `${spaces}\n${devices}`.split('\n')) {
    const name = new RegExp(`^${harnessDevice('([a-z0-9]+)')}(?:[-@ ]|$)`).exec(line)?.[1];
    if (name !== undefined) found.add(name);
  }
  return [...found].toSorted();
}

/** Takes the lab down when this process is gone, unless it was released. */
export class LabGuard implements AsyncDisposable {
  readonly #shell: OutlivingShell;

  private constructor(lab: string) {
    this.#shell = new OutlivingShell(GUARD, lab);
  }

  static start(lab: string): LabGuard {
    return new LabGuard(lab);
  }

  /** Ends the guard and leaves the lab up. */
  async release(): Promise<void> {
    this.#shell.tell('keep');
    await this.#shell.end();
  }

  /** Takes the lab down. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shell.end();
  }
}
