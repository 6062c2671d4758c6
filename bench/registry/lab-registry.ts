import { readFile, rm } from 'node:fs/promises';
import { freePorts } from '../cluster/free-ports.ts';
import type { Place } from '../cluster/place.ts';
import type { Program } from '../cluster/program.ts';
import type { Workplace } from '../cluster/workplace.ts';
import { makeImage } from './image.ts';
import type { Image } from './image.ts';
import { pushImage, startRegistry } from './registry-process.ts';

/** That of plain HTTP, so that its name has no colon: repositories of a mirror begin with it. */
const PORT = 80;
const LOOPBACK = '127.0.0.1';
const TAG = 'v1';
/** As distribution writes them, in Apache's combined format. */
const SENT_BLOB = /"GET \S*\/blobs\/\S* HTTP\/[\d.]+" 20[06] (\d+)/g;

/** A registry on a lab host; images are pushed past the lab, by a second process on the same files. */
export class LabRegistry implements AsyncDisposable {
  /** Its address. */
  readonly name: string;
  readonly program: Program;
  readonly #workplace: Workplace;
  readonly #pusher: Program;
  readonly #pushUrl: string;
  #images = 0;

  private constructor(
    parts: { readonly name: string; readonly program: Program; readonly pusher: Program },
    push: { readonly url: string; readonly workplace: Workplace },
  ) {
    this.name = parts.name;
    this.program = parts.program;
    this.#pusher = parts.pusher;
    this.#pushUrl = push.url;
    this.#workplace = push.workplace;
  }

  static async start(workplace: Workplace, place: Place): Promise<LabRegistry> {
    const folder = await workplace.subfolder('registry');
    const [pushPort = 0] = await freePorts(LOOPBACK, 1);
    const pusher = await startRegistry(workplace, { name: 'push', folder, port: pushPort });
    try {
      const serving = { name: 'serve', folder, port: PORT, place, logsRequests: true };
      const program = await startRegistry(workplace, serving);
      const name = place.address;
      const url = `http://${LOOPBACK}:${pushPort}`;
      return new LabRegistry({ name, program, pusher }, { url, workplace });
    } catch (error) {
      await pusher.kill('SIGKILL');
      throw error;
    }
  }

  /** Makes an image of `layers` layers that nobody has, and pushes it; what was made is then in the registry alone. */
  async publish(size: number, layers: number): Promise<{ image: Image; repository: string }> {
    this.#images += 1;
    const repository = `bench/image-${this.#images}`;
    const folder = await this.#workplace.subfolder('image');
    const bytes = Math.round(size / layers);
    const contents = Array.from({ length: layers }, () => ({ kind: 'random', bytes }) as const);
    const image = await makeImage(folder, { seed: this.#images, layers: contents });
    await pushImage(this.#pushUrl, image, { repository, tag: TAG });
    await rm(folder, { recursive: true });
    return { image, repository };
  }

  /** What clients call an image of it. */
  reference(repository: string): string {
    return `${this.name}/${repository}:${TAG}`;
  }

  /** Bytes of blobs that left so far, in answers that have ended. */
  async sentBytes(): Promise<number> {
    const log = await readFile(this.program.logFile, 'utf8');
    return [...log.matchAll(SENT_BLOB)].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program.kill('SIGKILL');
    await this.#pusher.kill('SIGKILL');
  }
}
