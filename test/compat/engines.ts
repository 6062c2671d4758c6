import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../bench/cluster/command.ts';
import { Program } from '../../bench/cluster/program.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import type { Registry } from './registry.ts';
import { emptyRun, inNextRoot, inPrivate, nextRoot } from './private-root.ts';

/** `classic`: the dockerd of Debian 12. `containerd`: the one of Debian 13, with containerd's image store. */
export type DockerStore = 'classic' | 'containerd';

/** A private container engine: own data, socket, mounts and process numbers. */
export class EngineProcess implements AsyncDisposable {
  /** What its command line client connects to. */
  readonly socket: string;
  readonly folder: string;
  readonly #program: Program;

  private constructor(program: Program, place: { folder: string; socket: string }) {
    this.#program = program;
    this.folder = place.folder;
    this.socket = place.socket;
  }

  /** A dockerd that asks `mirror` for the images of Docker Hub, and when that fails `hub`. */
  static async dockerd(
    workplace: Workplace,
    options: {
      readonly name: string;
      readonly store: DockerStore;
      readonly mirror: string;
      readonly hub: Registry;
    },
  ): Promise<EngineProcess> {
    const { name, store, mirror } = options;
    const { namesFile, certificateFile } = options.hub.asHub;
    const names = `mount --bind ${namesFile} /etc/hosts`;
    const folder = await workplace.subfolder(name);
    const socket = join(folder, 'docker.sock');
    const config = join(folder, 'daemon.json');
    const isNext = store === 'containerd';
    const settings = {
      'registry-mirrors': [mirror],
      ...(isNext
        ? { features: { 'containerd-snapshotter': true } }
        : { 'deprecated-key-path': join(folder, 'key.json') }),
    };
    await writeFile(config, JSON.stringify(settings));
    const words = ['--config-file', config, '--data-root', join(folder, 'data')];
    words.push('--exec-root', join(folder, 'exec'), '--pidfile', join(folder, 'pid'));
    words.push('-H', `unix://${socket}`, '--bridge=none', '--iptables=false', '--ip6tables=false');
    const dockerd = ['/usr/sbin/dockerd', ...words];
    const argv = isNext
      ? inPrivate(nextRoot(folder), inNextRoot(dockerd))
      : inPrivate(`${emptyRun}\n${names}`, dockerd);
    const client = ['docker', '-H', `unix://${socket}`, 'version'];
    const env = { SSL_CERT_FILE: certificateFile };
    return EngineProcess.#start(workplace, { name, folder, socket, argv, client, env });
  }

  /** A containerd, used by `ctr`. */
  static async containerd(workplace: Workplace, name: string): Promise<EngineProcess> {
    const folder = await workplace.subfolder(name);
    const socket = join(folder, 'containerd.sock');
    const config = join(folder, 'config.toml');
    const places = [`root = "${folder}/root"`, `state = "${folder}/state"`];
    const cri = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]';
    const grpc = `[grpc]\n  address = "${socket}"`;
    await writeFile(config, ['version = 2', ...places, cri, grpc, ''].join('\n'));
    const argv = inPrivate(emptyRun, ['containerd', '--config', config]);
    const client = ['ctr', '-a', socket, 'version'];
    return EngineProcess.#start(workplace, { name, folder, socket, argv, client });
  }

  static async #start(
    workplace: Workplace,
    options: {
      name: string;
      folder: string;
      socket: string;
      argv: string[];
      client: string[];
      env?: NodeJS.ProcessEnv;
    },
  ): Promise<EngineProcess> {
    const { name, folder, socket, argv, client } = options;
    const { guard } = workplace;
    const scratch = join(folder, 'tmp');
    await mkdir(scratch);
    const env: NodeJS.ProcessEnv = { ...workplace.env, TMPDIR: scratch, ...options.env };
    const program = await Program.start({
      name,
      argv,
      logFile: join(folder, 'log'),
      guard,
      env: { ...env, PATH: `${env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin` },
      look: async () => {
        const { exitCode } = await runCommand(client, { guard, env });
        return exitCode === 0 ? true : undefined;
      },
    });
    return new EngineProcess(program, { folder, socket });
  }

  lastLog(): string {
    return this.#program.lastLog();
  }

  /** Ends it and all that it started: its first process takes the others with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.kill('SIGKILL');
  }
}
