import { createCipheriv, createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** One file in one layer; `random` bytes do not shrink, `text` does. */
export interface LayerContent {
  readonly kind: 'random' | 'text';
  readonly bytes: number;
}

/** A blob on disk, as a registry keeps it. */
export interface Blob {
  readonly digest: string;
  readonly size: number;
  readonly path: string;
}

/** A small but whole image: what is pushed, and what an engine must say that it pulled. */
export interface Image {
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly digest: string;
  readonly config: Blob;
  readonly layers: readonly Blob[];
  /** Config and layers together. */
  readonly blobBytes: number;
}

const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const TAR_BLOCK = 512;

/** Makes an image with one layer for each content; the same seed gives the same digests. */
export async function makeImage(
  folder: string,
  options: { readonly seed: number; readonly layers: readonly LayerContent[] },
): Promise<Image> {
  const layers: Blob[] = [];
  const diffIds: string[] = [];
  for (const [at, content] of options.layers.entries()) {
    const tar = tarOf(
      `layer-${at}/${content.kind}.bin`,
      contentOf(content, options.seed * 100 + at),
    );
    diffIds.push(digestOf(tar));
    layers.push(await writeBlob(folder, gzipSync(tar, { level: content.kind === 'text' ? 1 : 0 })));
  }
  const history = diffIds.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'compat' }));
  const configBytes = Buffer.from(
    JSON.stringify({
      created: '1970-01-01T00:00:00Z',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Cmd: ['/layer-0/random.bin'], Labels: { seed: String(options.seed) } },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history,
    }),
  );
  const config = await writeBlob(folder, configBytes);
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: config.digest,
        size: config.size,
      },
      layers: layers.map(({ digest, size }) => ({ mediaType: layerType, digest, size })),
    }),
  );
  const blobBytes = [config, ...layers].reduce((sum, { size }) => sum + size, 0);
  return { manifest, mediaType: MEDIA_TYPE, digest: digestOf(manifest), config, layers, blobBytes };
}

/** `sha256:HEX` of bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

async function writeBlob(folder: string, bytes: Buffer): Promise<Blob> {
  const digest = digestOf(bytes);
  const path = join(folder, digest.replace(':', '-'));
  await writeFile(path, bytes);
  return { digest, size: bytes.length, path };
}

function contentOf({ kind, bytes }: LayerContent, seed: number): Buffer {
  if (kind === 'text') {
    const line = `line of image ${seed}, which shrinks when it is packed\n`;
    return Buffer.alloc(bytes, line);
  }
  const key = createHash('sha256').update(`compat ${seed}`).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/** A tar archive (ustar) of one file. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  header.write(name, 0);
  header.write(octal(0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(content.length, 11), 124);
  header.write(octal(0, 11), 136);
  header.write(' '.repeat(8), 148);
  header.write('0', 156);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148);
  const padding = (TAR_BLOCK - (content.length % TAR_BLOCK)) % TAR_BLOCK;
  return Buffer.concat([header, content, Buffer.alloc(padding + 2 * TAR_BLOCK)]);
}

function octal(value: number, width: number): string {
  return value.toString(8).padStart(width, '0');
}
