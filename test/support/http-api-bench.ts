import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { OpsControl } from '../../ops/control/index.ts';
import { HttpApi } from '../../supernode/api/http-api.ts';
import type { HttpApiOptions } from '../../supernode/api/http-api.ts';
import type { ServingStatus } from '../../supernode/api/supernode-view.ts';
import { TableView } from '../../supernode/api/table-view.ts';
import type { SeedFacts } from '../../supernode/api/table-view.ts';
import { Authority } from '../../supernode/membership/authority.ts';
import { readCellKey } from '../../supernode/membership/cell-keys.ts';
import { SwarmTable } from '../../supernode/swarm-table/swarm-table.ts';
import { CellLimits } from '../../supernode/traffic/cell-limits.ts';
import { WarmUps } from '../../supernode/warm-up/warm-ups.ts';

/** The id of a task. */
export const TASK = 'a'.repeat(64);

/** An API with what it serves behind it, and a caller of it. */
export interface Bench {
  readonly api: HttpApi;
  readonly authority: Authority;
  readonly warmUps: WarmUps;
  readonly limits: CellLimits;
  readonly ops: OpsControl;
  readonly table: SwarmTable;
  readonly seeds: Map<string, SeedFacts>;
  status: ServingStatus;
  readonly call: (
    method: string,
    path: string,
    options?: { headers?: Record<string, string>; body?: unknown; host?: string },
  ) => Promise<{ status: number; headers: Record<string, unknown>; text: string; json: Body }>;
}

/** What is looked at of the answers' JSON. */
interface Body {
  readonly error: { readonly code: string; readonly message: string };
  readonly token: string;
  readonly next: string | undefined;
  readonly items: readonly { readonly peer: string; readonly task: string }[];
  readonly tasks: { readonly items: readonly unknown[] };
  readonly versions: readonly {
    readonly seed: { readonly failure: { readonly code: string } };
    readonly peers: { readonly items: readonly object[] };
  }[];
}

/** What is served as metrics. */
export const metrics = async (): Promise<{ contentType: string; text: string }> => ({
  contentType: 'text/plain; version=0.0.4',
  text: 'up 1\n',
});

/** An API on a free port of loopback that serves unless told not to; all of it goes with the test. */
export async function openBench(
  t: ExecutionContext,
  options: Partial<HttpApiOptions> & { isServing?: boolean } = {},
): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'http-api-'));
  const clock = new ManualClock();
  const authority = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  const limits = await CellLimits.open(join(dataDir, 'limits'), { clock, log: silentLog });
  const warmUps = await WarmUps.open({
    directory: join(dataDir, 'warm-ups'),
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    resolveImage: async () => {
      throw new CodedError('ERR_ORIGIN_UNREACHABLE', 'there is no registry here');
    },
  });
  const { cell } = authority;
  const ops = await OpsControl.open({
    dataDir,
    cell,
    cellKey: async () => readCellKey(dataDir, cell),
    revocations: authority,
    clock,
    random: new SeededRandom(2),
    log: silentLog,
  });
  const api = await HttpApi.open({
    host: '127.0.0.1',
    port: 0,
    isMetricsPublic: true,
    log: silentLog,
    ...options,
  });
  t.teardown(async () => {
    await api[Symbol.asyncDispose]();
    await warmUps[Symbol.asyncDispose]();
    await ops[Symbol.asyncDispose]();
    await limits[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  const table = new SwarmTable();
  const seeds = new Map<string, SeedFacts>();
  const call: Bench['call'] = async (method, path, { headers = {}, body, host } = {}) =>
    exchange({ host: host ?? '127.0.0.1', port: api.port, method, path }, headers, body);
  const bench: Bench = {
    api,
    authority,
    warmUps,
    limits,
    ops,
    table,
    seeds,
    status: { isReady: true, problems: [] },
    call,
  };
  const view = new TableView({
    table,
    clock,
    status: () => bench.status,
    seed: (task, version) => seeds.get(`${task}/${version}`),
  });
  if (options.isServing !== false) {
    api.serve({ view, actions: authority, warmUps, limits, ops, metrics });
  }
  return bench;
}

async function exchange(
  target: { host: string; port: number; method: string; path: string },
  headers: Record<string, string>,
  body: unknown,
): ReturnType<Bench['call']> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const outgoing = request({ ...target, agent: false, headers: { ...type, ...headers } });
  const answered = once(outgoing, 'response');
  outgoing.end(payload);
  const [response] = (await answered) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  const isJson = String(response.headers['content-type']).startsWith('application/json');
  const json = (isJson ? JSON.parse(text) : {}) as Body;
  return { status: response.statusCode ?? 0, headers: response.headers, text, json };
}
