/** npm has one proxy for everything and no way round it: what dfdaemon cannot see is tunnelled through it. */
import { dirname, join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileView } from './client-setup.ts';
import { newFile, replaceLines, unedited } from './file-edit.ts';
import type { Edited } from './file-edit.ts';
import { iniSettings } from './ini-lines.ts';

const NODES = ['/usr/local/bin/node', '/usr/bin/node'];
/** Debian's npm has settings of its own, among them where the machine's are. */
const BUILTIN = '/usr/share/nodejs/npm/npmrc';
const PROXY_KEYS = ['proxy', 'https-proxy', 'http-proxy'];

/** npm, and what reads its files. */
export const npm: ClientSetup = {
  traces: [...NODES, '/usr/local/bin/npm', '/usr/bin/npm'],
  noRegistries: 'npm is given a proxy, whatever its registry is',
  hasUserFiles: true,
  async plan(view, { address, user }) {
    const path = user === undefined ? await machineFile(view) : join(user.home, '.npmrc');
    return {
      // A user's file is where tokens will be.
      files: [
        {
          path,
          mode: user === undefined ? 0o644 : 0o600,
          edit: (before) => addProxy(before, { path, address }),
        },
      ],
      commands: [],
      notes: [
        'npm now needs dfdaemon to run, as it has no way round a proxy that does not answer: take it out with --undo before you stop dfdaemon for good',
        'a registry on http gains; one on https is tunnelled, of which dfdaemon sees nothing unless it intercepts TLS',
      ],
    };
  },
};

/** As npm finds it: `etc/npmrc` beside the folder of the node that runs it. */
async function machineFile(view: FileView): Promise<string> {
  const builtin = iniSettings((await view.read(BUILTIN)) ?? '');
  const named = builtin.find(({ key }) => key === 'globalconfig')?.value;
  if (named?.startsWith('/') === true) return named;
  for (const node of NODES) {
    if (await view.exists(node)) return join(dirname(dirname(node)), 'etc', 'npmrc');
  }
  const message = `npm: no node at ${NODES.join(' or ')}, so where npm looks for its settings is not known; use --user`;
  throw new CodedError('ERR_CLIENT_CONFIG', message);
}

function addProxy(
  before: string | undefined,
  { path, address }: { readonly path: string; readonly address: string },
): Edited {
  const url = `http://${address}`;
  const settings = iniSettings(before ?? '');
  const proxies = settings.filter(({ key }) => PROXY_KEYS.includes(key));
  const isOurs = proxies.some(({ key }) => key === 'proxy');
  if (proxies.some(({ value }) => value.replace(/\/$/, '') !== url)) {
    const message = `${path}: sets a proxy already; dfdaemon does not pass requests on to another proxy, so take it out first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
  if (isOurs && before !== undefined) return unedited(before);
  // Registries on this machine are as near as dfdaemon, which may not be allowed to reach them.
  const hasExceptions = settings.some(({ key }) => key === 'noproxy');
  const exceptions = hasExceptions ? '' : 'noproxy=localhost,127.0.0.1,::1\n';
  const block = `; "dfdaemon setup npm" made these lines; "dfdaemon setup npm --undo" takes them out.\nproxy=${url}\n${exceptions}`;
  if (before === undefined) return newFile(block, address);
  return replaceLines(before, { start: 0, end: 0 }, { block, mark: address });
}
