/** A small web service as a package: what is released to hosts in `npm run bench -- release`. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from 'tar';

/** One version of the service, packed. */
export interface PackedService {
  readonly file: string;
  readonly version: string;
  /** `sha256:HEX` of the file. */
  readonly digest: string;
  readonly length: number;
}

export const SERVICE = 'web';

/**
 * Packs a version into `folder`. Where it listens stands in a file `port` beside the folder of the package, as every
 * host has a port of its own here. A version that is not well answers 500, to everybody.
 */
export async function packService(
  folder: string,
  about: { readonly version: string; readonly isWell: boolean; readonly padBytes: number },
): Promise<PackedService> {
  const { version, isWell, padBytes } = about;
  const root = join(folder, `${SERVICE}-${version}`);
  await mkdir(join(root, 'bin'), { recursive: true });
  await program(join(root, 'bin', 'web'), webSource(version, isWell));
  await program(join(root, 'bin', 'check'), checkSource);
  await writeFile(join(root, 'data'), randomBytes(padBytes));
  await writeFile(join(root, 'package.yaml'), manifestOf(version));
  const file = join(folder, `${SERVICE}-${version}.tar.gz`);
  await create({ file, cwd: root, gzip: true, portable: true }, ['.']);
  const digest = `sha256:${createHash('sha256')
    .update(await readFile(file))
    .digest('hex')}`;
  return { file, version, digest, length: (await stat(file)).size };
}

async function program(file: string, source: string): Promise<void> {
  await writeFile(file, `#!${process.execPath}\n${source}`);
  await chmod(file, 0o755);
}

function manifestOf(version: string): string {
  return `name: ${SERVICE}
version: ${version}
start: [bin/web]
health: { command: [bin/check], interval: 200ms, timeout: 20s }
`;
}

function webSource(version: string, isWell: boolean): string {
  return `const { readFileSync } = require('node:fs');
const { createServer } = require('node:http');
const port = Number(readFileSync('../../../port', 'utf8'));
createServer((_request, response) => {
  response.writeHead(${isWell ? 200 : 500}, { 'connection': 'close' }).end('${version}');
}).listen(port, '127.0.0.1');
`;
}

const checkSource = `const { readFileSync } = require('node:fs');
const port = Number(readFileSync('../../../port', 'utf8'));
fetch('http://127.0.0.1:' + port + '/healthz').then(
  ({ ok }) => process.exit(ok ? 0 : 1),
  () => process.exit(1),
);
`;
