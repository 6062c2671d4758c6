import { printable } from '../../core/base/printable.ts';
import { humanBytes } from '../../core/base/units.ts';
import type { Job, JobDetail } from './warm-up-api.ts';

/** Failures shown of one job in words; `--json` has them all. */
const MAX_SHOWN = 20;

/** A job on one line. */
export function jobLine(job: Job): string {
  const { id, state, image, urls = [], to, hosts, tasks, bytes } = job;
  const [url = ''] = urls;
  const more = urls.length > 1 ? ` and ${urls.length - 1} more` : '';
  const what = printable(image ?? `${url}${more}`);
  const failed = hosts.failed === 0 ? '' : `, ${hosts.failed} failed`;
  const counts = `${hosts.done} of ${hosts.total} hosts${failed}, ${tasks} contents`;
  return `${id} ${state}: ${what} to ${printable(to)}: ${counts}, ${humanBytes(bytes.received)}\n`;
}

/** A job with where its bytes came from and what failed. */
export function jobText(job: JobDetail): string {
  const { fromPeers, fromSeed, fromOrigin, fromCache } = job.bytes;
  const sources = [
    ['peers', fromPeers],
    ['the seed', fromSeed],
    ['origins', fromOrigin],
    ['what was there', fromCache],
  ] as const;
  const told = sources
    .filter(([, bytes]) => bytes > 0)
    .map(([name, bytes]) => `${humanBytes(bytes)} from ${name}`);
  const lines = [jobLine(job)];
  if (told.length > 0) lines.push(`  ${told.join(', ')}\n`);
  if (job.error !== undefined) {
    lines.push(`  ${job.error.code}: ${printable(job.error.message)}\n`);
  }
  const failures = job.results.flatMap(({ peer, hostname, failures: own }) =>
    own.map(({ task, code, message }) => {
      const content = job.contents[task];
      const name = content?.digest ?? content?.url ?? '';
      return `  ${printable(hostname ?? peer)} ${peer}: ${printable(name)}: ${code}: ${printable(message)}\n`;
    }),
  );
  const rest = failures.length - MAX_SHOWN;
  if (rest > 0) failures.splice(MAX_SHOWN, rest, `  … ${rest} more, --json shows them\n`);
  return [...lines, ...failures].join('');
}
