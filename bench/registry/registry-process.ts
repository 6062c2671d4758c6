import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { askApi } from '../cluster/local-api.ts';
import type { Place } from '../cluster/place.ts';
import { Program } from '../cluster/program.ts';
import type { Workplace } from '../cluster/workplace.ts';
import type { Image } from './image.ts';

/** What one docker-registry is run with. */
export interface RegistryProcessOptions {
  /** Its configuration and log are named so. */
  readonly name: string;
  /** Several processes on one folder have the same images. */
  readonly folder: string;
  readonly port: number;
  /** Default: this machine's loopback. */
  readonly place?: Place;
  /** Further lines of its configuration. */
  readonly lines?: readonly string[];
  /** Writes a line to its log for each request; default no. */
  readonly logsRequests?: boolean;
}

const LOOPBACK: Place = { address: '127.0.0.1', enter: [] };

/** Starts a real docker-registry and resolves when it serves. */
export async function startRegistry(
  workplace: Workplace,
  options: RegistryProcessOptions,
): Promise<Program> {
  const { name, folder, port, place = LOOPBACK, lines = [], logsRequests = false } = options;
  const host = place.address;
  const config = join(folder, `${name}.yml`);
  const text = [
    'version: 0.1',
    `log: {level: warn, accesslog: {disabled: ${!logsRequests}}}`,
    `storage: {filesystem: {rootdirectory: ${join(folder, 'content')}}, delete: {enabled: true}}`,
    `http: {addr: ${host}:${port}, secret: compat}`,
    ...lines,
  ];
  await writeFile(config, `${text.join('\n')}\n`);
  return Program.start({
    name: `registry-${name}`,
    argv: [...place.enter, 'docker-registry', 'serve', config],
    logFile: join(folder, `${name}.log`),
    guard: workplace.guard,
    env: workplace.env,
    look: async () => (await askApi({ host, port }, '/v2/').catch(() => undefined)) ?? undefined,
  });
}

/** Puts an image into the registry at `url`; blobs that are there already are not sent again. */
export async function pushImage(
  url: string,
  image: Image,
  { repository, tag }: { readonly repository: string; readonly tag: string },
): Promise<void> {
  const base = `${url}/v2/${repository}`;
  for (const blob of [image.config, ...image.layers]) {
    const there = await fetch(`${base}/blobs/${blob.digest}`, { method: 'HEAD' });
    if (there.ok) continue;
    const opened = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const place = new URL(opened.headers.get('location') ?? '', url);
    place.searchParams.set('digest', blob.digest);
    await expectCreated(fetch(place, { method: 'PUT', body: await openAsBlob(blob.path) }));
  }
  const headers = { 'content-type': image.mediaType };
  const body = new Uint8Array(image.manifest);
  await expectCreated(fetch(`${base}/manifests/${tag}`, { method: 'PUT', headers, body }));
}

async function expectCreated(asked: Promise<Response>): Promise<void> {
  const answer = await asked;
  if (answer.status === 201) return;
  const message = `${answer.url} answered ${answer.status}: ${await answer.text()}`;
  throw new CodedError('ERR_INTERNAL', message);
}
