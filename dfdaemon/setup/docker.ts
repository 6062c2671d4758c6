/**
 * dockerd has mirrors for docker.io and for nothing else. They are asked first; where one does not answer or has not
 * got the image, dockerd goes to docker.io itself.
 */
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileView } from './client-setup.ts';
import { withJsonItem } from './json-list.ts';

const CONFIG = '/etc/docker/daemon.json';
const KEY = 'registry-mirrors';
const UNIT_FOLDERS = [
  '/etc/systemd/system/docker.service.d',
  '/run/systemd/system/docker.service.d',
];
const UNITS = [
  '/etc/systemd/system/docker.service',
  '/usr/lib/systemd/system/docker.service',
  '/lib/systemd/system/docker.service',
  '/etc/default/docker',
  '/etc/sysconfig/docker',
];

/** dockerd. */
export const docker: ClientSetup = {
  traces: ['/usr/bin/dockerd', '/usr/sbin/dockerd', '/usr/local/bin/dockerd', '/etc/docker'],
  noRegistries:
    'a mirror of docker stands for docker.io alone, docker has none for other registries',
  hasUserFiles: false,
  async plan(view, { address }) {
    await refuseFlag(view);
    const item = `http://${address}`;
    return {
      files: [
        { path: CONFIG, edit: (text) => withJsonItem(text, { path: CONFIG, key: KEY, item }) },
      ],
      commands: ['systemctl reload docker'],
      // A reload takes a list that is there, and keeps the former one where there is none (seen with 20.10).
      undoCommands: ['systemctl restart docker'],
      notes: [
        'docker asks the mirror for images of docker.io alone and does not say so: dfdaemon must run with --registry https://docker.io; all other registries are asked directly, as before',
      ],
    };
  },
};

/** dockerd does not start when a setting stands both in its file and on its command line. */
async function refuseFlag(view: FileView): Promise<void> {
  const inFolders = await Promise.all(
    UNIT_FOLDERS.map(async (folder) =>
      (await view.list(folder)).map((name) => `${folder}/${name}`),
    ),
  );
  for (const path of [...UNITS, ...inFolders.flat()]) {
    const text = (await view.read(path)) ?? '';
    if (!/^[^#\n]*--registry-mirror\b/m.test(text)) continue;
    const message = `${path}: gives dockerd --registry-mirror, beside which it takes no ${KEY} in ${CONFIG}; move that there first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
}
