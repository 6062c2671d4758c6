/**
 * dockerd has mirrors for docker.io and for nothing else. They are asked first; where one does not answer or has not
 * got the image, dockerd goes to docker.io itself.
 */
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileView, SetupUser } from './client-setup.ts';
import { withJsonItem } from './json-list.ts';

const KEY = 'registry-mirrors';

/** One dockerd: that of the machine, or that of a user, which runs without root. */
interface DockerPlace {
  readonly config: string;
  readonly unitFolders: readonly string[];
  readonly units: readonly string[];
  readonly systemctl: string;
  readonly notes: readonly string[];
}

const MACHINE: DockerPlace = {
  config: '/etc/docker/daemon.json',
  unitFolders: ['/etc/systemd/system/docker.service.d', '/run/systemd/system/docker.service.d'],
  units: [
    '/etc/systemd/system/docker.service',
    '/usr/lib/systemd/system/docker.service',
    '/lib/systemd/system/docker.service',
    '/etc/default/docker',
    '/etc/sysconfig/docker',
  ],
  systemctl: 'systemctl',
  notes: [],
};

/** dockerd. */
export const docker: ClientSetup = {
  traces: ['/usr/bin/dockerd', '/usr/sbin/dockerd', '/usr/local/bin/dockerd', '/etc/docker'],
  noRegistries:
    'a mirror of docker stands for docker.io alone, docker has none for other registries',
  hasUserFiles: true,
  async plan(view, { address, user }) {
    const place = user === undefined ? MACHINE : placeOf(user);
    const { config: path, systemctl } = place;
    await refuseFlag(view, place);
    const item = `http://${address}`;
    return {
      files: [{ path, edit: (text) => withJsonItem(text, { path, key: KEY, item }) }],
      commands: [`${systemctl} reload docker`],
      // A reload takes a list that is there, and keeps the former one where there is none (seen with 20.10).
      undoCommands: [`${systemctl} restart docker`],
      notes: [
        'docker asks the mirror for images of docker.io alone and does not say so: dfdaemon must run with --registry https://docker.io; all other registries are asked directly, as before',
        ...place.notes,
      ],
    };
  },
};

function placeOf({ configHome }: SetupUser): DockerPlace {
  const folders = [join(configHome, 'systemd/user'), '/etc/systemd/user', '/usr/lib/systemd/user'];
  return {
    config: join(configHome, 'docker/daemon.json'),
    unitFolders: folders.map((folder) => `${folder}/docker.service.d`),
    units: folders.map((folder) => `${folder}/docker.service`),
    systemctl: 'systemctl --user',
    notes: [
      'a dockerd without root reaches dfdaemon only where rootlesskit leaves it in the network of the machine (--detach-netns; DOCKERD_ROOTLESS_ROOTLESSKIT_DETACH_NETNS=true in its unit); in a network of its own 127.0.0.1 is not this machine, and docker.io is asked directly, as before',
    ],
  };
}

/** dockerd does not start when a setting stands both in its file and on its command line. */
async function refuseFlag(
  view: FileView,
  { config, unitFolders, units }: DockerPlace,
): Promise<void> {
  const inFolders = await Promise.all(
    unitFolders.map(async (folder) => (await view.list(folder)).map((name) => `${folder}/${name}`)),
  );
  for (const path of [...units, ...inFolders.flat()]) {
    const text = (await view.read(path)) ?? '';
    if (!/^[^#\n]*--registry-mirror\b/m.test(text)) continue;
    const message = `${path}: gives dockerd --registry-mirror, beside which it takes no ${KEY} in ${config}; move that there first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
}
