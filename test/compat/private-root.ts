import { nextDocker } from './places.ts';

/** Words that begin a command line so that what it starts is gone with it: processes, mounts, files in /run. */
export function inPrivate(setup: string, argv: readonly string[]): string[] {
  const script = `set -e\n${setup}\nexec "$@"`;
  const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  return [...unshare, '--propagation', 'private', 'sh', '-c', script, 'private', ...argv];
}

/** Empty places for what engines write outside the folders that they are given. */
export const emptyRun = ['/run', '/dev/shm', '/var/lib']
  .map((path) => `mount -t tmpfs none ${path}`)
  .join('\n');

/** The root of the next Debian, with `folder` in it under the same name. */
export function nextRoot(folder: string): string {
  const root = nextDocker;
  return [
    `mount --bind ${root} ${root}`,
    `mount -t proc none ${root}/proc`,
    `mount --rbind /sys ${root}/sys`,
    `mount --rbind /dev ${root}/dev`,
    `mount -t tmpfs none ${root}/run`,
    `mount -t tmpfs none ${root}/tmp`,
    `mount -t tmpfs none ${root}/etc`,
    `mkdir -p ${root}${folder}`,
    `mount --bind ${folder} ${root}${folder}`,
  ].join('\n');
}

/** Words that start a program in that root. */
export function inNextRoot(argv: readonly string[]): string[] {
  return ['/usr/sbin/chroot', nextDocker, ...argv];
}
