import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { selfSignedCertificate } from '../../core/identity/certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { runCommand } from '../cluster/command.ts';
import { freePorts } from '../cluster/free-ports.ts';
import { Program } from '../cluster/program.ts';
import type { Workplace } from '../cluster/workplace.ts';
import { isInstalled } from '../lab/lab-tools.ts';
import type { LinkWay } from './link.ts';

const PACKAGES = { nginx: 'nginx-light', curl: 'curl', sha256sum: 'coreutils' };
/** The link's own, so that both do the same work. */
const CIPHER = 'TLS_AES_128_GCM_SHA256';

/** ERR_USAGE naming the packages when something to compare with is not there. */
export function requireNginx(isThere: (tool: string) => boolean = isInstalled): void {
  const missing = Object.entries(PACKAGES).filter(([tool]) => !isThere(tool));
  if (missing.length === 0) return;
  const [tools, packages] = [0, 1].map((at) => missing.map((each) => each[at]).join(' '));
  const way = `apt-get install ${packages}, or --alone to measure nothing beside it`;
  throw new CodedError('ERR_USAGE', `link compares with ${tools}, not found here: ${way}`);
}

/** nginx with one process, serving a folder by sendfile, in the clear and over TLS 1.3. */
export class LinkNginx implements AsyncDisposable {
  readonly #program: Program;
  readonly #bases: Readonly<Record<LinkWay, string>>;

  private constructor(program: Program, bases: Readonly<Record<LinkWay, string>>) {
    this.#program = program;
    this.#bases = bases;
  }

  /** Serves what is in the folder of `file`. */
  static async start(
    workplace: Workplace,
    served: { readonly folder: string; readonly file: string },
    signal: AbortSignal,
  ): Promise<LinkNginx> {
    const folder = await workplace.subfolder('nginx');
    const [clear = 0, tls = 0] = await freePorts('127.0.0.1', 2);
    const key = HostKey.generate();
    const { certificatePem, keyPem } = selfSignedCertificate(key, {
      now: new SystemClock().now(),
    });
    const mode = { mode: 0o600 };
    await writeFile(join(folder, 'certificate.pem'), certificatePem, mode);
    await writeFile(join(folder, 'key.pem'), keyPem, mode);
    const config = join(folder, 'nginx.conf');
    await writeFile(config, configOf({ folder, root: served.folder, clear, tls }), mode);
    const bases = { clear: `http://127.0.0.1:${clear}`, tls: `https://127.0.0.1:${tls}` };
    const head = curlWords(`${bases.tls}/${basename(served.file)}`);
    const { guard, env } = workplace;
    // A shell finds it where it is: /usr/sbin is not on every path.
    const words = `PATH="/usr/sbin:$PATH" exec nginx -e stderr -p "$1" -c "$2"`;
    const program = await Program.start(
      {
        name: 'nginx',
        argv: ['sh', '-c', words, 'nginx', folder, config],
        logFile: join(folder, 'nginx.log'),
        guard,
        env,
        look: async () => {
          const { exitCode } = await runCommand([...head, '--head'], { guard, env, signal });
          return exitCode === 0 ? true : undefined;
        },
      },
      signal,
    );
    return new LinkNginx(program, bases);
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** A curl command that prints the file, or writes it to `-o`. */
  curl(way: LinkWay, file: string): readonly string[] {
    return curlWords(`${this.#bases[way]}/${basename(file)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

function curlWords(url: string): string[] {
  const words = ['curl', '--disable', '--noproxy', '*', '--silent', '--show-error', '--fail'];
  return [...words, '--insecure', '--tls13-ciphers', CIPHER, url];
}

function configOf(about: { folder: string; root: string; clear: number; tls: number }): string {
  const { folder, root, clear, tls } = about;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${folder}/${name};`,
  );
  // One process, so that its CPU time is that of one number.
  return `daemon off;
master_process off;
pid ${folder}/nginx.pid;
events { worker_connections 64; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${clear};
    listen 127.0.0.1:${tls} ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate ${folder}/certificate.pem;
    ssl_certificate_key ${folder}/key.pem;
    root ${root};
  }
}
`;
}
