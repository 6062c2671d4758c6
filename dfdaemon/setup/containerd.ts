/**
 * containerd reads `hosts.toml` of a folder per registry, `_default` for all that have none, below the `config_path`
 * of its CRI plugin; a host that does not answer is passed over, request by request. Our host answers for content by
 * digest; tags are looked up at the registry, which is cheap and cannot hang on us.
 */
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileChange, FileView, Registry } from './client-setup.ts';
import { appendLines, followedBy, newFile, replaceLines, unedited } from './file-edit.ts';
import type { Edited } from './file-edit.ts';
import {
  checkResult,
  isObject,
  parseToml,
  setTomlString,
  tableHeaders,
  tomlString,
  valueAt,
} from './toml-file.ts';
import type { TomlObject } from './toml-file.ts';

const CONFIG = '/etc/containerd/config.toml';
const HOSTS = '/etc/containerd/certs.d';
const KEY = 'config_path';
const CRI_V2 = ['plugins', 'io.containerd.grpc.v1.cri', 'registry'];
const CRI_V3 = ['plugins', 'io.containerd.cri.v1.images', 'registry'];
const TRANSFER = ['plugins', 'io.containerd.transfer.v1.local'];
const CRI_NAMES = ['cri', 'io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images'];
const MADE_BY =
  '# "dfdaemon setup containerd" made this; "dfdaemon setup containerd --undo" takes it out.\n';

/** containerd and what uses its folder of hosts: the CRI plugin, nerdctl, `ctr --hosts-dir`. */
export const containerd: ClientSetup = {
  traces: ['/usr/bin/containerd', '/usr/local/bin/containerd', '/etc/containerd'],
  hasUserFiles: false,
  async plan(view, { address, registries }) {
    const main = await planConfig(view);
    const names = registries.length === 0 ? [undefined] : registries;
    const hosts = await Promise.all(
      names.map(async (registry) => ({
        path: join(
          main.folder,
          await folderOf(view, { registry, within: main.folder }),
          'hosts.toml',
        ),
        registry,
      })),
    );
    const own = registries.length === 0 ? await ownFolders(view, main.folder) : [];
    return {
      files: [
        ...main.files,
        ...hosts.map(({ path, registry }) => ({
          path,
          edit: (before: string | undefined) =>
            addHost(before, {
              path,
              url: `http://${address}`,
              isPlain: registry?.isPlain === true,
            }),
        })),
      ],
      commands: main.files.length === 0 ? [] : ['systemctl restart containerd'],
      notes: [
        ...main.notes,
        ...(own.length === 0
          ? []
          : [
              `${own.join(', ')} have a hosts.toml of their own and keep to it: name them with --registry`,
            ]),
        `nerdctl reads ${main.folder} by itself, ctr with --hosts-dir ${main.folder}`,
      ],
    };
  },
};

interface MainPlan {
  readonly folder: string;
  readonly files: readonly FileChange[];
  readonly notes: readonly string[];
}

/** Where containerd looks for hosts, and what it takes to make it look there. */
async function planConfig(view: FileView): Promise<MainPlan> {
  const text = await view.read(CONFIG);
  if (text === undefined) {
    const block = `${MADE_BY}version = 2\n\n[plugins."${CRI_V2[1]}".registry]\n  ${KEY} = ${tomlString(HOSTS)}\n`;
    return { folder: HOSTS, files: [{ path: CONFIG, edit: () => newFile(block, KEY) }], notes: [] };
  }
  const config = parseToml(text, CONFIG);
  const version = config['version'] ?? 1;
  const tables = version === 2 ? [CRI_V2] : [CRI_V3, TRANSFER];
  const folder = tables.map((table) => firstPath(valueAt(config, [...table, KEY]))).find(Boolean);
  if (hasNoCri(config)) {
    const note = `the CRI plugin is disabled in ${CONFIG}, which is left as it is`;
    return { folder: folder ?? HOSTS, files: [], notes: [note] };
  }
  refuseOldForms(config, { version, cri: tables[0] ?? CRI_V2 });
  const open = tables.filter((table) => firstPath(valueAt(config, [...table, KEY])) === undefined);
  const value = folder ?? HOSTS;
  const edit = (before: string | undefined): Edited =>
    open.reduce(
      (edited, table) =>
        followedBy(edited, (now) => setTomlString(now, { path: CONFIG, table, key: KEY }, value)),
      unedited(before ?? ''),
    );
  return { folder: value, files: open.length === 0 ? [] : [{ path: CONFIG, edit }], notes: [] };
}

function refuseOldForms(
  config: TomlObject,
  { version, cri }: { readonly version: unknown; readonly cri: readonly string[] },
): void {
  if (version !== 2 && version !== 3 && version !== 4) {
    const todo = 'bring it to version 2 or later ("containerd config migrate")';
    throw new CodedError(
      'ERR_CLIENT_CONFIG',
      `${CONFIG}: version ${String(version)} is too old; ${todo}`,
    );
  }
  const mirrors = valueAt(config, [...cri, 'mirrors']);
  const configs = valueAt(config, [...cri, 'configs']);
  const hasTls =
    isObject(configs) && Object.values(configs).some((of) => isObject(of) && 'tls' in of);
  if (!hasTls && !(isObject(mirrors) && Object.keys(mirrors).length > 0)) return;
  const what = `${cri.join('.')}.${hasTls ? 'configs.*.tls' : 'mirrors'}`;
  const message = `${CONFIG}: containerd does not start with ${KEY} beside ${what}; move those to hosts.toml files in ${HOSTS} first`;
  throw new CodedError('ERR_CLIENT_CONFIG', message);
}

function hasNoCri(config: TomlObject): boolean {
  const disabled = config['disabled_plugins'];
  return Array.isArray(disabled) && disabled.some((name) => CRI_NAMES.includes(String(name)));
}

/** `config_path` may list several folders; the first that knows the registry counts. */
function firstPath(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const [first = ''] = value.split(':');
  return first === '' ? undefined : first;
}

/** `HOST_PORT_` comes before `HOST:PORT` where both are there. */
async function folderOf(
  view: FileView,
  { registry, within }: { readonly registry: Registry | undefined; readonly within: string },
): Promise<string> {
  if (registry === undefined) return '_default';
  const other = registry.name.replace(/:(\d+)$/, '_$1_');
  return (await view.exists(join(within, other))) ? other : registry.name;
}

/** Registries that do not come to `_default`. */
async function ownFolders(view: FileView, folder: string): Promise<readonly string[]> {
  const names = (await view.list(folder)).filter((name) => name !== '_default');
  const found = await Promise.all(
    names.map(async (name) => ({
      name,
      isOwn: (await view.read(join(folder, name, 'hosts.toml'))) !== undefined,
    })),
  );
  return found.filter(({ isOwn }) => isOwn).map(({ name }) => name);
}

function addHost(
  before: string | undefined,
  {
    path,
    url,
    isPlain,
  }: { readonly path: string; readonly url: string; readonly isPlain: boolean },
): Edited {
  const registry =
    path
      .split('/')
      .at(-2)
      ?.replace(/_(\d+)_$/, ':$1') ?? '';
  const server = `server = ${tomlString(`http://${registry}`)}\n`;
  const block = `[host.${tomlString(url)}]\n  capabilities = ["pull"]\n`;
  if (before === undefined)
    return newFile(`${MADE_BY}${isPlain ? `${server}\n` : ''}${block}`, url);
  const parsed = parseToml(before, path);
  const hosts = isObject(parsed['host']) ? parsed['host'] : {};
  if (hosts[url] !== undefined) return unedited(before);
  const edited = placeHost(before, { block, url });
  const expected = { ...parsed, host: { ...hosts, [url]: { capabilities: ['pull'] } } };
  checkResult(edited.text, { expected, path, wish: block });
  return edited;
}

/** Hosts are asked in the order of the file: ours comes first. */
function placeHost(text: string, { block, url }: { block: string; url: string }): Edited {
  const first = tableHeaders(text).find(({ keys }) => keys[0] === 'host');
  if (first === undefined) return appendLines(text, { block, mark: url });
  const place = { start: first.start, end: first.start };
  return replaceLines(text, place, { block: `${block}\n`, mark: url });
}
