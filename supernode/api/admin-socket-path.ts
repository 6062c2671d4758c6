import { join } from 'node:path';

/** Where the supernode of a data folder listens for its own user. */
export function adminSocketPath(dataDir: string): string {
  return join(dataDir, 'admin.sock');
}
