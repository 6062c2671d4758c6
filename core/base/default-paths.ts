import { join } from 'node:path';

/** What the default paths of a program depend on. */
export interface UserPlaces {
  readonly uid: number;
  readonly home: string;
  /** `XDG_RUNTIME_DIR`, where there is one. */
  readonly runtimeDir?: string | undefined;
}

/** The socket of a dfdaemon that serves the whole machine. */
const MACHINE_SOCKET = '/run/odonata/dfdaemon.sock';

/** Where a dfdaemon started by this user puts its socket. */
export function defaultSocketPath(user: UserPlaces): string {
  if (user.uid === 0) return MACHINE_SOCKET;
  return user.runtimeDir === undefined || user.runtimeDir === ''
    ? join(user.home, '.odonata', 'dfdaemon.sock')
    : join(user.runtimeDir, 'odonata', 'dfdaemon.sock');
}

/** Where dfget looks for a dfdaemon, in order: the user's own, then the machine's. */
export function socketCandidates(user: UserPlaces): readonly string[] {
  const own = defaultSocketPath(user);
  return own === MACHINE_SOCKET ? [own] : [own, MACHINE_SOCKET];
}
