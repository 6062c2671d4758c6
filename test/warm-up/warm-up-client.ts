// Warm-ups as tests ask for them: over the HTTP API of a supernode that runs as a process.
import { askApi, askJson } from '../../bench/cluster/local-api.ts';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import type { JobRecord, JobSummary } from '../../supernode/warm-up/job-record.ts';

/** A job as the API shows it. */
export type ShownJob = Omit<JobRecord, 'results'> & {
  readonly results: { readonly items: JobRecord['results'] };
};

const OVER = new Set(['done', 'failed', 'cancelled', 'interrupted']);

function apiOf({ apiUrl }: Cluster): { host: string; port: number } {
  const { hostname, port } = new URL(apiUrl);
  return { host: hostname, port: Number(port) };
}

/** Begins a warm-up; throws with the answer when it is not taken on. */
export async function beginWarmUp(cluster: Cluster, body: object): Promise<JobSummary> {
  const { status, text } = await tryWarmUp(cluster, body);
  if (status !== 201) throw new Error(`POST /api/v1/warm-ups: ${status} ${text}`);
  return JSON.parse(text) as JobSummary;
}

/** Asks for a warm-up, whatever the answer. */
export async function tryWarmUp(
  cluster: Cluster,
  body: object,
): Promise<{ status: number; text: string }> {
  return askApi(apiOf(cluster), '/api/v1/warm-ups', { method: 'POST', body });
}

/** A job with its hosts. */
export async function warmUp(cluster: Cluster, id: string): Promise<ShownJob> {
  return (await askJson(apiOf(cluster), `/api/v1/warm-ups/${id}?limit=1000`)) as ShownJob;
}

/** All jobs. */
export async function warmUps(cluster: Cluster): Promise<readonly JobSummary[]> {
  const listed = (await askJson(apiOf(cluster), '/api/v1/warm-ups?limit=1000')) as {
    items: JobSummary[];
  };
  return listed.items;
}

/** Cancels a job. */
export async function cancelWarmUp(cluster: Cluster, id: string): Promise<number> {
  return (await askApi(apiOf(cluster), `/api/v1/warm-ups/${id}`, { method: 'DELETE' })).status;
}

/** The job once it has ended. */
export async function endedWarmUp(
  cluster: Cluster,
  id: string,
  withinMs = 60_000,
): Promise<ShownJob> {
  return eventually(
    `warm-up ${id} ended`,
    async () => {
      const job = await warmUp(cluster, id);
      return OVER.has(job.state) ? job : undefined;
    },
    { withinMs },
  );
}
