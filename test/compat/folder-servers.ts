// Real servers of folders: nginx and Apache with index pages, Apache with WebDAV behind a password, and one that speaks S3.
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { outputOf } from '../../bench/cluster/command.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { askApi } from '../../bench/cluster/local-api.ts';
import { Program } from '../../bench/cluster/program.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { s3Server } from './places.ts';

const HOST = '127.0.0.1';
const MODULES = '/usr/lib/apache2/modules';
const MODULE_NAMES = [
  'mpm_event',
  'authn_core',
  'authn_file',
  'authz_core',
  'authz_user',
  'auth_basic',
  'autoindex',
  'dav',
  'dav_fs',
  'dir',
];
/** A shell finds them where they are: /usr/sbin is not on every path. */
const FROM_SBIN = 'PATH="/usr/sbin:$PATH" exec "$@"';

/** The keys that the server of S3 knows. */
export const S3_KEYS = 'S3RVER:S3RVER';

/** Files on disk that every user may read, for servers that give up root; and those servers. */
export class FolderServers implements AsyncDisposable {
  readonly folder: string;
  readonly #workplace: Workplace;
  readonly #stack = new AsyncDisposableStack();

  private constructor(workplace: Workplace, folder: string) {
    this.#workplace = workplace;
    this.folder = folder;
    this.#stack.defer(async () => rm(folder, { recursive: true, force: true }));
  }

  static async open(workplace: Workplace): Promise<FolderServers> {
    const folder = await mkdtemp(join(tmpdir(), 'odonata-folders-'));
    await chmod(folder, 0o755);
    return new FolderServers(workplace, folder);
  }

  /** Puts files below `root`. */
  async put(root: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const file = join(this.folder, root, path);
      await mkdir(dirname(file), { recursive: true, mode: 0o755 });
      await writeFile(file, content);
    }
  }

  /** nginx over `root`, listing folders; answers with its address. */
  async nginx(root: string): Promise<string> {
    const [port = 0] = await freePorts(HOST, 1);
    const own = join(this.folder, 'nginx');
    await mkdir(own, { mode: 0o777 });
    const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const temporary = kinds.map((kind) => `${kind}_temp_path ${own}/${kind};`).join(' ');
    const config = `daemon off; pid ${own}/pid; error_log stderr; worker_processes 1; events {}
      http { ${temporary} log_format sent '$request_method\\t$uri\\t$body_bytes_sent';
      access_log ${own}/sent sent;
      server { listen ${HOST}:${port}; root ${join(this.folder, root)}; autoindex on; } }`;
    await writeFile(join(own, 'conf'), config);
    await this.#start('nginx', port, ['nginx', '-e', 'stderr', '-c', join(own, 'conf')]);
    return `http://${HOST}:${port}`;
  }

  /** Body bytes that nginx sent of one file. */
  async sentByNginx(path: string): Promise<number> {
    const log = await readFile(join(this.folder, 'nginx', 'sent'), 'utf8');
    const lines = log.split('\n').map((line) => line.split('\t'));
    return lines
      .filter(([method, uri]) => method === 'GET' && uri === path)
      .reduce((sum, [, , bytes]) => sum + Number(bytes), 0);
  }

  /** Apache over `root`: index pages for all on one port, WebDAV for the user `ann` on another. */
  async apache(root: string): Promise<{ index: string; dav: string }> {
    const [index = 0, dav = 0] = await freePorts(HOST, 2);
    const own = join(this.folder, 'apache');
    await mkdir(own, { mode: 0o777 });
    const { guard, env } = this.#workplace;
    const password = await outputOf(['htpasswd', '-bn', 'ann', 'secret'], { guard, env });
    await writeFile(join(own, 'passwords'), password);
    const served = join(this.folder, root);
    const config = [
      ...MODULE_NAMES.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
      `ServerName ${HOST}`,
      `ServerRoot ${own}`,
      `PidFile ${own}/pid`,
      `ErrorLog /dev/stderr`,
      `DefaultRuntimeDir ${own}`,
      'User www-data',
      'Group www-data',
      `DavLockDB ${own}/locks`,
      `DocumentRoot ${served}`,
      `Listen ${HOST}:${index}`,
      `Listen ${HOST}:${dav}`,
      `<VirtualHost ${HOST}:${index}>`,
      `<Directory ${served}>`,
      'Require all granted',
      'Options Indexes',
      'IndexOptions FancyIndexing HTMLTable',
      '</Directory>',
      '</VirtualHost>',
      `<VirtualHost ${HOST}:${dav}>`,
      `<Directory ${served}>`,
      'Dav On',
      'AuthType Basic',
      'AuthName lab',
      `AuthUserFile ${own}/passwords`,
      'Require valid-user',
      '</Directory>',
      '</VirtualHost>',
    ];
    await writeFile(join(own, 'conf'), `${config.join('\n')}\n`);
    await this.#start('apache', index, ['apache2', '-D', 'FOREGROUND', '-f', join(own, 'conf')]);
    return { index: `http://${HOST}:${index}`, dav: `http://ann:secret@${HOST}:${dav}` };
  }

  /** Python's own server over `root`. */
  async python(root: string): Promise<string> {
    const [port = 0] = await freePorts(HOST, 1);
    const words = ['-m', 'http.server', '-b', HOST, '-d', join(this.folder, root), String(port)];
    await this.#start('python', port, ['python3', ...words]);
    return `http://${HOST}:${port}`;
  }

  /** A server that speaks S3 and checks signatures, with one empty bucket. */
  async s3(bucket: string): Promise<string> {
    const [port = 0] = await freePorts(HOST, 1);
    const own = join(this.folder, 's3');
    await mkdir(own);
    const words = ['--directory', own, '--address', HOST, '--port', String(port)];
    words.push('--configure-bucket', bucket);
    await this.#start('s3', port, [process.execPath, s3Server, ...words]);
    return `http://${HOST}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #start(name: string, port: number, argv: readonly string[]): Promise<void> {
    const { guard, env } = this.#workplace;
    const look = async (): Promise<true | undefined> =>
      askApi({ host: HOST, port }, '/').then(
        () => true,
        () => undefined,
      );
    const logFile = join(this.folder, `${name}.log`);
    const shell = ['sh', '-c', FROM_SBIN, 'sh'];
    const program = await Program.start({
      name,
      argv: [...shell, ...argv],
      logFile,
      guard,
      env,
      look,
    });
    this.#stack.defer(async () => program.kill('SIGTERM'));
  }
}
