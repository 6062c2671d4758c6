import { CodedError } from '../../../core/base/error.ts';
import { findUser, ownUser } from '../local-user.ts';
import type { LocalUser } from '../local-user.ts';

declare global {
  // Not in the types of Node.
  // eslint-disable-next-line typescript/no-namespace
  namespace NodeJS {
    interface Process {
      initgroups?(user: string, extraGroup: number): void;
    }
  }
}

/**
 * Makes this process one of the user of that name, for good, with all his groups; does nothing when it is that already.
 * ERR_FORBIDDEN when there is no such user or this process may not.
 */
export async function becomeUser(name: string): Promise<LocalUser> {
  const self = ownUser();
  // Its own user need not stand in /etc/passwd.
  if (name === self.name) return self;
  const user = await findUser(name);
  if (user.uid === self.uid) return user;
  try {
    process.initgroups?.(user.name, user.gid);
    process.setgid?.(user.gid);
    process.setuid?.(user.uid);
  } catch (cause) {
    throw new CodedError('ERR_FORBIDDEN', `this program cannot become ${name}`, { cause });
  }
  if (process.getuid?.() !== user.uid || process.geteuid?.() !== user.uid) {
    throw new CodedError('ERR_FORBIDDEN', `this program did not become ${name}`);
  }
  return user;
}
