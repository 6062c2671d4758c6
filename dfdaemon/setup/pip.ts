/** pip has one proxy for everything and no way round it: what dfdaemon cannot see is tunnelled through it. */
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup } from './client-setup.ts';
import { appendLines, newFile, replaceLines, unedited } from './file-edit.ts';
import type { Edited } from './file-edit.ts';
import { iniSections, iniSettings } from './ini-lines.ts';

const MACHINE_FILE = '/etc/pip.conf';

/** pip. */
export const pip: ClientSetup = {
  traces: [
    '/usr/bin/pip',
    '/usr/bin/pip3',
    '/usr/local/bin/pip',
    '/usr/local/bin/pip3',
    '/usr/bin/python3',
  ],
  noRegistries: 'pip is given a proxy, whatever its index is',
  hasUserFiles: true,
  plan: async (_, { address, user }) => {
    const path = user === undefined ? MACHINE_FILE : join(user.configHome, 'pip', 'pip.conf');
    return {
      files: [{ path, edit: (before) => addProxy(before, { path, address }) }],
      commands: [],
      notes: [
        'pip now needs dfdaemon to run, as it has no way round a proxy that does not answer: take it out with --undo before you stop dfdaemon for good',
        'an index on http gains; one on https (pypi.org) is tunnelled, of which dfdaemon sees nothing unless it intercepts TLS',
      ],
    };
  },
};

function addProxy(
  before: string | undefined,
  { path, address }: { readonly path: string; readonly address: string },
): Edited {
  const url = `http://${address}`;
  const text = before ?? '';
  const proxies = iniSettings(text).filter(({ key }) => key === 'proxy');
  if (proxies.some(({ value }) => value.replace(/\/$/, '') !== url)) {
    const message = `${path}: sets a proxy already; dfdaemon does not pass requests on to another proxy, so take it out first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
  if (proxies.length > 0) return unedited(text);
  const lines = `# "dfdaemon setup pip" made this; "dfdaemon setup pip --undo" takes it out.\nproxy = ${url}\n`;
  const section = iniSections(text).find(({ name }) => name === 'global');
  if (before === undefined) return newFile(`[global]\n${lines}`, address);
  if (section === undefined)
    return appendLines(text, { block: `[global]\n${lines}`, mark: address });
  const place = { start: section.end, end: section.end };
  return replaceLines(text, place, { block: lines, mark: address });
}
