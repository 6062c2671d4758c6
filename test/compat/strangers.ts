import type { ExecutionContext } from 'ava';
import { ctr, faultsOfFolder, skopeo, succeeded } from './clients.ts';
import { EngineProcess } from './engines.ts';
import type { Image } from '../../bench/registry/image.ts';
import type { MirrorLab } from './mirror-lab.ts';
import { PASSWORD, USER } from './token-server.ts';

/** Who may pull, as `USER:PASSWORD`. */
export const RIGHT = `${USER}:${PASSWORD}`;
/** Nobody, and two who are not the user. */
const strangers = [undefined, `${USER}:wrong`, `mallory:${PASSWORD}`] as const;

/** What came of one request. */
export interface Answer {
  readonly status: number;
  readonly challenge: string | null;
  readonly body: Buffer;
}

/** One request, with all of what comes back; a connection that breaks in the middle ends the body. */
export async function get(
  url: string,
  options: {
    readonly credentials?: string | undefined;
    readonly headers?: Record<string, string>;
  } = {},
): Promise<Answer> {
  const { credentials, headers = {} } = options;
  const basic = credentials === undefined ? undefined : Buffer.from(credentials).toString('base64');
  const response = await fetch(url, {
    headers: { ...headers, ...(basic === undefined ? {} : { authorization: `Basic ${basic}` }) },
    redirect: 'manual',
  });
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk as Uint8Array);
  } catch {
    // What came until then is what the client has.
  }
  const body = Buffer.concat(chunks);
  return { status: response.status, challenge: response.headers.get('www-authenticate'), body };
}

/** On this host nobody but the user gets anything of `lab/secret`; others get what the registry itself says. */
async function refusesStrangers(
  t: ExecutionContext,
  lab: MirrorLab,
  where: { readonly host: number; readonly image: Image; readonly when: string },
): Promise<void> {
  const { host, image, when } = where;
  const blobs = [image.config, ...image.layers].map(({ digest }) => `blobs/${digest}`);
  for (const path of [...blobs, `manifests/${image.digest}`, 'manifests/v1']) {
    for (const credentials of strangers) {
      const asked = `lab/secret/${path}`;
      const own = await get(`${lab.registry.url}/v2/${asked}`, { credentials });
      const ours = await get(`http://${lab.mirror(host)}/v2/${asked}`, { credentials });
      t.is(own.status, 401);
      t.is(ours.status, 401, `${when}: host ${host}, ${path}, ${credentials ?? 'nobody'}`);
      t.is(ours.challenge, own.challenge);
      t.is(ours.body.toString(), own.body.toString());
    }
  }
  const reference = `${lab.mirror(host)}/lab/secret:v1`;
  t.not((await skopeo(reference, await lab.pull(`${USER}:wrong`))).exitCode, 0);
}

/** Pulls `lab/secret` on two of three hosts, and before and after each tries to get it without the right. */
export async function keepsPrivate(
  t: ExecutionContext,
  lab: MirrorLab,
  image: Image,
): Promise<void> {
  await refusesStrangers(t, lab, { host: 1, image, when: 'nothing cached' });
  for (const host of [1, 2]) {
    const options = await lab.pull(RIGHT);
    succeeded(await skopeo(`${lab.mirror(host)}/lab/secret:v1`, options));
    t.deepEqual(await faultsOfFolder(options.folder, image), []);
    const when = `after a pull on host ${host}`;
    for (const at of [1, 2, 3]) await refusesStrangers(t, lab, { host: at, image, when });
  }
  await using engine = await EngineProcess.containerd(lab.workplace, 'containerd');
  const options = { ...(await lab.pull(RIGHT)), mirror: lab.mirror(3) };
  const pulled = await ctr(engine, `${lab.registry.name}/lab/secret:v1`, options);
  succeeded(pulled);
  t.is(pulled.digest, image.digest);
  t.deepEqual(lab.sentOtherThanOnce(image), []);
}
