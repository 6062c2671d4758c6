/**
 * apt asks a program for its proxy, each time: ours names dfdaemon when that answers, and DIRECT when it does not, so
 * that apt works on without it. The file is for http alone; repositories on https are fetched as before.
 */
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileView } from './client-setup.ts';
import { newFile } from './file-edit.ts';

const FOLDER = '/etc/apt/apt.conf.d';
const CONFIG = `${FOLDER}/95odonata`;
/** In a folder that apt's own user may enter: apt runs it as that user. */
const DETECT = '/etc/apt/odonata-proxy-detect';

/** apt, apt-get and all that uses their library. */
export const apt: ClientSetup = {
  traces: ['/usr/bin/apt-get', '/etc/apt'],
  noRegistries: 'apt has no registries',
  hasUserFiles: false,
  async plan(view, { address }) {
    await refuseOtherProxy(view);
    return {
      files: [
        { path: DETECT, mode: 0o755, edit: () => newFile(detectScript(address), address) },
        { path: CONFIG, edit: () => newFile(configText(), DETECT) },
      ],
      commands: [],
      notes: [
        'repositories on http gain; those on https are fetched directly as before, since of a tunnel dfdaemon sees nothing unless it intercepts TLS',
        'apt goes directly wherever dfdaemon does not answer',
      ],
    };
  },
};

function configText(): string {
  return `// "dfdaemon setup apt" made this; "dfdaemon setup apt --undo" takes it out.\nAcquire::http::Proxy-Auto-Detect "${DETECT}";\n`;
}

/** bash is essential in Debian and the only shell there that opens connections. */
function detectScript(address: string): string {
  const [host = '', port = ''] = address.split(':');
  return `#!/bin/bash
# "dfdaemon setup apt" made this. Tells apt the proxy: dfdaemon on ${address} if it is well, else none.
if { exec 3<>/dev/tcp/${host}/${port}; } 2>/dev/null &&
  printf 'GET /healthz HTTP/1.0\\r\\nHost: ${address}\\r\\n\\r\\n' >&3 &&
  IFS= read -r -t 2 status <&3 && [[ $status == HTTP/1.?' 200'* ]]; then
  echo 'http://${address}'
else
  echo DIRECT
fi
`;
}

/** What is detected wins over every proxy that is configured, which may be the only way out. */
async function refuseOtherProxy(view: FileView): Promise<void> {
  const names = (await view.list(FOLDER)).map((name) => `${FOLDER}/${name}`);
  for (const path of ['/etc/apt/apt.conf', ...names]) {
    const text = withoutComments((await view.read(path)) ?? '');
    if (!setsHttpProxy(text)) continue;
    const message = `${path}: sets a proxy for http already; dfdaemon does not pass requests on to another proxy, so take it out first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
}

function withoutComments(text: string): string {
  const isString = /"[^"\n]*"/y;
  let rest = '';
  for (let at = 0; at < text.length;) {
    isString.lastIndex = at;
    const quoted = isString.exec(text)?.[0];
    const comment = /^(?:\/\/[^\n]*|#[^\n]*|\/\*[\s\S]*?(?:\*\/|$))/.exec(text.slice(at))?.[0];
    rest += quoted ?? (comment === undefined ? (text[at] ?? '') : '');
    at += (quoted ?? comment)?.length ?? 1;
  }
  return rest;
}

/** `Acquire::http::Proxy "…";`, in braces too; one for a single host (`Proxy::HOST`) does not count. */
function setsHttpProxy(text: string): boolean {
  const setting = /\bproxy(?:-?auto-?detect)?\s*"([^"]*)"/gi;
  return [...text.matchAll(setting)].some(({ index, 1: value = '' }) => {
    const before = text.slice(0, index);
    const scope = /([\w:-]+)(?:::|\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*)$/.exec(before)?.[1] ?? '';
    return /\bhttp$/i.test(scope) && !/^(?:direct|false)?$/i.test(value);
  });
}
