import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { SystemRandom } from '../../core/base/random.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { eventually } from '../cluster/eventually.ts';
import { askApi } from '../cluster/local-api.ts';
import type { Place, Places } from '../cluster/place.ts';
import { LAB_NETWORK } from '../lab/lab-names.ts';
import type { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';

/** The lab host that the supernode is on; hosts of the cluster are on those named by their numbers. */
export const SUPERNODE = 'supernode';

const QUIET_MS = 500;
const QUIET_WITHIN_MS = 20_000;
const clock = new SystemClock();

/** A name for a lab that nobody else has. */
export function newLabName(): string {
  const number = new SystemRandom().below(36 ** 6).toString(36);
  return `b${number.padStart(6, '0')}`;
}

/** The lab host of this name as a place to run a program in. */
export function placeOf(lab: Lab, name: string): Place {
  return { address: lab.host(name).address, enter: lab.enter(name) };
}

/** Where a cluster is in a lab. */
export function placesIn(lab: Lab): Places {
  return {
    supernode: placeOf(lab, SUPERNODE),
    host: (number) => placeOf(lab, `${number}`),
    origins: LAB_NETWORK,
  };
}

/** Removes every task from every host, as soon as nobody uses it; the supernode keeps what it has. */
export async function forgetAll({ hosts }: Cluster): Promise<void> {
  for (const host of hosts) {
    for (const task of await host.tasks()) {
      await eventually(`${task} unused`, async () => forgetUnused(host, task));
    }
  }
}

async function forgetUnused(host: ClusterHost, task: string): Promise<true | undefined> {
  const path = `/v1/tasks/${task}`;
  const { status, text } = await askApi({ socketPath: host.socket }, path, { method: 'DELETE' });
  if (status === 200) return true;
  if (status === 409) return undefined;
  throw new CodedError('ERR_REQUEST', `${host.name}: ${path}: ${status} ${text}`);
}

/** Starting costs more than taking: waits until the programs rest. */
export async function untilQuiet(cluster: Cluster): Promise<void> {
  const endMs = clock.monotonic() + QUIET_WITHIN_MS;
  let isResting = false;
  while (!isResting && clock.monotonic() < endMs) {
    const { cpu } = await withCpuUse(cluster.pids, async () => clock.sleep(QUIET_MS));
    isResting = cpu.total <= 0.05;
  }
}
