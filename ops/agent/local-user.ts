import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { CodedError } from '../../core/base/error.ts';

/** A user of this machine. */
export interface LocalUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

const ID = /^\d{1,10}$/;

/** Whom this program runs as. */
export function ownUser(): LocalUser {
  const { username: name, uid, gid, homedir: home } = userInfo();
  return { name, uid, gid, home };
}

/** The user of that name in /etc/passwd, looked up each time as people come and go; ERR_FORBIDDEN when there is none. */
export async function findUser(name: string, file = '/etc/passwd'): Promise<LocalUser> {
  const user = userIn(await readFile(file, 'utf8'), name);
  if (user !== undefined) return user;
  throw new CodedError('ERR_FORBIDDEN', `this host has no user "${name}" in ${file}`);
}

/** The number of the group of that name in /etc/group; ERR_FORBIDDEN when there is none. */
export async function findGroup(name: string, file = '/etc/group'): Promise<number> {
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    const [found, _password, gid = ''] = line.split(':');
    if (found === name && ID.test(gid)) return Number(gid);
  }
  throw new CodedError('ERR_FORBIDDEN', `this host has no group "${name}" in ${file}`);
}

function userIn(passwd: string, wanted: string): LocalUser | undefined {
  for (const line of passwd.split('\n')) {
    const [name, _password, uid = '', gid = '', _gecos, home = ''] = line.split(':');
    if (name !== wanted) continue;
    if (!ID.test(uid) || !ID.test(gid)) return undefined;
    return { name, uid: Number(uid), gid: Number(gid), home: home === '' ? '/' : home };
  }
  return undefined;
}
