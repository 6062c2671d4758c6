import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemRandom } from '../../core/base/random.ts';
import { outputOf } from '../../bench/cluster/command.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { makeCertificate } from './certificate.ts';
import type { Image } from '../../bench/registry/image.ts';
import { pushImage, startRegistry } from '../../bench/registry/registry-process.ts';
import { Recorder } from './recorder.ts';
import { ISSUER, PASSWORD, SERVICE, USER } from './token-server.ts';
import type { TokenServer } from './token-server.ts';

/** Who may pull: anybody, the user by his password, or the user by a token. */
export type RegistryAuth = 'none' | 'basic' | TokenServer;

const PLAIN_HTTP_PORT = 80;
const HUB = 'registry-1.docker.io';
const LOOPBACK = '127.0.0.1';
const random = new SystemRandom();

/**
 * A docker-registry on an address of its own, ports 80 and 443, so that its name is one word in a path; a recorder in
 * front of it. Images are pushed by a second process on the same files that asks for no password.
 */
export class Registry implements AsyncDisposable {
  /** What clients call it: `127.x.y.z`. */
  readonly name: string;
  readonly recorder: Recorder;
  /** How a program takes it for Docker Hub: by this /etc/hosts, and this certificate that it trusts. */
  readonly asHub: { readonly namesFile: string; readonly certificateFile: string };
  readonly #stack: AsyncDisposableStack;
  readonly #pushUrl: string;

  private constructor(parts: {
    name: string;
    recorder: Recorder;
    pushUrl: string;
    asHub: Registry['asHub'];
    stack: AsyncDisposableStack;
  }) {
    this.name = parts.name;
    this.recorder = parts.recorder;
    this.#pushUrl = parts.pushUrl;
    this.asHub = parts.asHub;
    this.#stack = parts.stack;
  }

  static async start(
    workplace: Workplace,
    options: { readonly name: string; readonly auth?: RegistryAuth },
  ): Promise<Registry> {
    const { auth = 'none' } = options;
    await using stack = new AsyncDisposableStack();
    const folder = await workplace.subfolder(options.name);
    const [pushPort = 0, servePort = 0] = await freePorts(LOOPBACK, 2);
    const start = async (kind: string, port: number, lines: readonly string[]): Promise<void> => {
      const program = await startRegistry(workplace, { name: kind, folder, port, lines });
      stack.defer(async () => program.kill('SIGKILL'));
    };
    await start('push', pushPort, []);
    await start('serve', servePort, await authLines(workplace, folder, auth));
    const name = `127.${64 + random.below(128)}.${random.below(256)}.${1 + random.below(254)}`;
    const hub = await makeCertificate(workplace, {
      name: `${options.name}-hub`,
      subject: `DNS:${HUB}`,
    });
    const tls = {
      key: await readFile(hub.keyFile),
      cert: await readFile(hub.certificateFile),
    };
    const listen = { host: name, port: PLAIN_HTTP_PORT };
    const upstream = { host: LOOPBACK, port: servePort };
    const recorder = stack.use(await Recorder.start(listen, upstream, tls));
    const namesFile = join(folder, 'hosts');
    await writeFile(namesFile, `127.0.0.1 localhost\n${name} ${HUB}\n`);
    const pushUrl = `http://${LOOPBACK}:${pushPort}`;
    const asHub = { namesFile, certificateFile: hub.certificateFile };
    return new Registry({ name, recorder, pushUrl, asHub, stack: stack.move() });
  }

  get url(): string {
    return `http://${this.name}`;
  }

  /** Puts an image there; blobs that are there already are not sent again. */
  async push(image: Image, repository: string, tag: string): Promise<void> {
    await pushImage(this.#pushUrl, image, { repository, tag });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function authLines(
  workplace: Workplace,
  folder: string,
  auth: RegistryAuth,
): Promise<string[]> {
  if (auth === 'none') return [];
  if (auth === 'basic') {
    const path = join(folder, 'htpasswd');
    const { guard, env } = workplace;
    await writeFile(path, await outputOf(['htpasswd', '-Bbn', USER, PASSWORD], { guard, env }));
    return [`auth: {htpasswd: {realm: compat, path: ${path}}}`];
  }
  const { realm, certificateFile } = auth;
  const facts = `realm: "${realm}", service: ${SERVICE}, issuer: ${ISSUER}`;
  return [`auth: {token: {${facts}, rootcertbundle: ${certificateFile}}}`];
}
