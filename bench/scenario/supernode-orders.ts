import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { eventually } from '../cluster/eventually.ts';
import { askApi } from '../cluster/local-api.ts';
import type { Workplace } from '../cluster/workplace.ts';

const KEY = 'a-key-of-a-benchmark-that-guards-nothing';

/** Writes the file for `--api-key-file` of a supernode in a lab, which answers nobody else; the path of it. */
export async function writeKeyFile(files: Workplace): Promise<string> {
  const path = join(files.folder, 'keys');
  await writeFile(path, `${KEY}\n`, { mode: 0o600 });
  return path;
}

/** Has the seed read these from their origin, and waits until they are there: one that still reads is busy with that. */
export async function bringToSeed(
  cluster: Cluster,
  urls: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { id } = (await order(cluster, '/api/v1/warm-ups', {
    method: 'POST',
    body: { urls, to: 'seeds' },
  })) as { id: string };
  const isThere = async (): Promise<true | undefined> => {
    const { state } = (await order(cluster, `/api/v1/warm-ups/${id}`)) as { state: string };
    if (state === 'failed') throw new CodedError('ERR_INTERNAL', 'the warm-up failed');
    return state === 'done' ? true : undefined;
  };
  await eventually('the seed has it', isThere, { withinMs: 120_000, everyMs: 200, signal });
}

/** Sets budgets of the cell, bytes a second, by their names in the API; 0 takes one away. */
export async function setCell(cluster: Cluster, body: object): Promise<void> {
  await order(cluster, '/api/v1/limits', { method: 'PUT', body });
}

async function order(
  cluster: Cluster,
  path: string,
  question: { readonly method?: string; readonly body?: object } = {},
): Promise<unknown> {
  const { hostname, port } = new URL(cluster.apiUrl);
  const headers = { authorization: `Bearer ${KEY}` };
  const { status, text } = await askApi({ host: hostname, port }, path, { ...question, headers });
  if (status === 200 || status === 201) return JSON.parse(text);
  throw new CodedError('ERR_REQUEST', `${question.method ?? 'GET'} ${path}: ${status} ${text}`);
}
