/**
 * Installs the real clients and the real registry that the compatibility tests run: what Debian has by apt-get, and
 * the dockerd of the next Debian unpacked beside it, since that of Debian 12 lacks the containerd image store.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { nextDocker, s3Folder, s3Server } from './places.ts';

/** Program to look for, and the package it comes from. */
const programs: Readonly<Record<string, string>> = {
  'docker-registry': 'docker-registry',
  htpasswd: 'apache2-utils',
  skopeo: 'skopeo',
  podman: 'podman',
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  dockerd: 'docker.io',
  docker: 'docker.io',
  curl: 'curl',
  git: 'git',
  openssl: 'openssl',
  pip3: 'python3-pip',
  unshare: 'util-linux',
  nginx: 'nginx-light',
  apache2: 'apache2-bin',
};

/** Libraries that are looked for by a file of theirs. */
const libraries: Readonly<Record<string, string>> = {
  '/usr/lib/python3/dist-packages/botocore/auth.py': 'python3-botocore',
};

/** Speaks S3, but does not check signatures of version 4. */
const S3_SERVER = 's3rver@3.7.1';

/** The dockerd of the next Debian, and the libraries that Debian 12 has only in older versions. */
const nextPackages = [
  'docker.io',
  'containerd',
  'runc',
  'libc6',
  'libcap2',
  'libgcc-s1',
  'libpcre2-8-0',
  'libseccomp2',
  'libselinux1',
  'libsystemd0',
];
const NEXT_SUITE = 'trixie';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

class InstallError extends Error {}

try {
  installMissing();
  if (!existsSync(nextDocker)) unpackNextDocker();
  if (!existsSync(s3Server)) installS3Server();
} catch (error) {
  if (!(error instanceof InstallError)) throw error;
  process.stderr.write(`test:compat: ${error.message}\n`);
  process.exitCode = 1;
}

function installMissing(): void {
  const missing = [
    ...Object.entries(programs).filter(([name]) => !isInPath(name)),
    ...Object.entries(libraries).filter(([path]) => !existsSync(path)),
  ];
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  const names = packages.join(' ');
  if (process.getuid?.() !== 0) {
    throw new InstallError(`needs root to install ${names} and to start container engines`);
  }
  if (!isInPath('apt-get')) throw new InstallError(`needs Debian's apt-get to install ${names}`);
  process.stdout.write(`test:compat: installing ${names}\n`);
  run(['apt-get', 'update', '-qq']);
  run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...packages]);
}

function installS3Server(): void {
  process.stdout.write(`test:compat: installing ${S3_SERVER}\n`);
  mkdirSync(s3Folder, { recursive: true });
  const quiet = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts', '--loglevel=error'];
  run(['npm', 'install', '--prefix', s3Folder, ...quiet, S3_SERVER]);
}

function unpackNextDocker(): void {
  process.stdout.write(`test:compat: unpacking dockerd of Debian ${NEXT_SUITE}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'odonata-compat-'));
  try {
    const config = aptConfig(folder);
    run(['apt-get', 'update', '-qq'], { APT_CONFIG: config });
    run(['apt-get', 'download', '-qq', ...nextPackages], { APT_CONFIG: config }, folder);
    const root = `${nextDocker}.part`;
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
      run(['dpkg-deb', '-x', join(folder, name), root]);
    }
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      if (!existsSync(join(root, name))) symlinkSync(`usr/${name}`, join(root, name));
    }
    for (const name of ['proc', 'sys', 'dev', 'tmp', 'run', 'etc']) {
      mkdirSync(join(root, name), { recursive: true });
    }
    mkdirSync(dirname(nextDocker), { recursive: true });
    renameSync(root, nextDocker);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An apt of its own: nothing of the machine's package lists or sources is read or changed. */
function aptConfig(folder: string): string {
  for (const name of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const sources = join(folder, 'sources.list');
  writeFileSync(
    sources,
    `deb [signed-by=${KEYRING}] http://deb.debian.org/debian ${NEXT_SUITE} main\n`,
  );
  const config = join(folder, 'apt.conf');
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferencesparts': join(folder, 'parts'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  };
  writeFileSync(
    config,
    Object.entries(settings)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(''),
  );
  return config;
}

function isInPath(name: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(':');
  return [...folders, '/usr/sbin', '/sbin'].some((folder) => existsSync(join(folder, name)));
}

function run(argv: readonly string[], env: Record<string, string> = {}, cwd?: string): void {
  const [file = '', ...args] = argv;
  const { status, stdout, stderr } = spawnSync(file, args, {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...env },
    encoding: 'utf8',
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status === 0) return;
  throw new InstallError(`${argv.join(' ')} failed\n${stdout}${stderr}`);
}
