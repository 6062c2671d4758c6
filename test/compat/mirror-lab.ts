import type { TestFn } from 'ava';
import { SystemRandom } from '../../core/base/random.ts';
import { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import type { Places } from '../../bench/cluster/place.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { makeImage } from '../../bench/registry/image.ts';
import type { Image, LayerContent } from '../../bench/registry/image.ts';
import { Registry } from './registry.ts';
import { TokenServer } from './token-server.ts';

/** What a lab is made of. */
export interface MirrorLabOptions {
  readonly hosts: number;
  readonly auth?: 'none' | 'basic' | 'token';
  readonly daemonArgs?: (host: number) => readonly string[];
  readonly supernodeArgs?: readonly string[];
  /** What may be reached besides public addresses, of the registry's address; default all loopback. */
  readonly origins?: (registry: string) => string;
}

const PROXY_PORT = 65_001;
const PROOF_PARTS = 3;
const PROOF_PART_BYTES = 65_536;
const random = new SystemRandom();

/** A registry, a cell with hosts, and room for clients; Docker Hub is the registry too, for the programs of the cell. */
export class MirrorLab implements AsyncDisposable {
  readonly workplace: Workplace;
  readonly registry: Registry;
  readonly cluster: Cluster;
  readonly #stack: AsyncDisposableStack;
  #images = 0;
  #pulls = 0;

  private constructor(
    parts: Pick<MirrorLab, 'workplace' | 'registry' | 'cluster'>,
    stack: AsyncDisposableStack,
  ) {
    this.workplace = parts.workplace;
    this.registry = parts.registry;
    this.cluster = parts.cluster;
    this.#stack = stack;
  }

  static async start(options: MirrorLabOptions): Promise<MirrorLab> {
    const { hosts, auth = 'none', daemonArgs, supernodeArgs = [] } = options;
    const { origins = () => '127.0.0.0/8' } = options;
    await using stack = new AsyncDisposableStack();
    const workplace = stack.use(await Workplace.open());
    const tokens = auth === 'token' ? stack.use(await TokenServer.start(workplace)) : auth;
    const registry = stack.use(await Registry.start(workplace, { name: 'registry', auth: tokens }));
    const cluster = stack.use(
      await Cluster.start({
        hosts,
        supernodeArgs,
        places: {
          ...placesWithDockerHub(registry.asHub.namesFile),
          origins: origins(registry.name),
        },
        daemonArgs: (host) => [
          // Says of each blob what came from the mesh and what directly.
          '--log-level',
          'debug',
          '--registry',
          registry.url,
          '--insecure-registry',
          'docker.io',
          ...(daemonArgs?.(host) ?? []),
        ],
      }),
    );
    return new MirrorLab({ workplace, registry, cluster }, stack.move());
  }

  /** Where clients on this host find its mirror. */
  mirror(host: number): string {
    return mirrorOf(this.cluster.host(host));
  }

  /** Makes an image like no other and pushes it as `lab/NAME:v1`. */
  async push(name: string, layers: readonly LayerContent[]): Promise<Image> {
    this.#images += 1;
    const folder = await this.workplace.subfolder(`image-${this.#images}`);
    const image = await makeImage(folder, { seed: this.#images, layers });
    await this.registry.push(image, `lab/${name}`, 'v1');
    return image;
  }

  /** What a client is run with, in a folder of its own. */
  async pull(
    credentials?: string,
  ): Promise<{ workplace: Workplace; folder: string; credentials?: string | undefined }> {
    this.#pulls += 1;
    const { workplace } = this;
    return { workplace, folder: await workplace.subfolder(`pull-${this.#pulls}`), credentials };
  }

  /**
   * Blobs of an image that did not leave the registry exactly once, with how often they did. For each further name that
   * the registry goes by, it is asked for three parts of 64 KiB, to prove that it has the very blob under that name too.
   */
  sentOtherThanOnce(image: Image, options: { readonly furtherNames?: number } = {}): string[] {
    const { furtherNames = 0 } = options;
    return [image.config, ...image.layers].flatMap(({ digest, size }) => {
      const sent = this.registry.recorder.blobBytes(digest);
      const proof = furtherNames * PROOF_PARTS * Math.min(size, PROOF_PART_BYTES);
      return sent >= size && sent <= size + proof ? [] : [`${digest}: ${sent} of ${size} bytes`];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Where clients on this host find its mirror. */
export function mirrorOf(host: ClusterHost): string {
  return `${host.address}:${PROXY_PORT}`;
}

/** Loopback addresses of their own, where this is /etc/hosts. */
function placesWithDockerHub(names: string): Omit<Places, 'origins'> {
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  const enter = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, names];
  const network = `127.${16 + random.below(48)}.${random.below(256)}`;
  return {
    supernode: { address: `${network}.1`, enter },
    host: (number) => ({ address: `${network}.${number + 1}`, enter }),
  };
}

/** The lab of a file of tests: started before the first and gone after the last; a failure shows the ends of its logs. */
export function labOf(test: TestFn, options: () => MirrorLabOptions): () => MirrorLab {
  let lab: MirrorLab | undefined;
  test.serial.before(async (t) => {
    t.timeout(300_000);
    lab = await MirrorLab.start(options());
  });
  test.afterEach.always((t) => {
    if (!t.passed && lab !== undefined) t.log(lab.cluster.lastLogs());
  });
  test.after.always(async () => lab?.[Symbol.asyncDispose]());
  return () => {
    if (lab === undefined) throw new TypeError('the lab was never started');
    return lab;
  };
}
