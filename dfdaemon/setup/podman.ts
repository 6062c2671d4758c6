/**
 * podman, buildah, skopeo and CRI-O read registries.conf and the files of registries.conf.d; there is no setting for
 * all registries, so each is named. A mirror is not told which registry it stands for: that is part of its path.
 */
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileChange, FileView, Registry } from './client-setup.ts';
import { newFile, replaceLines, unedited } from './file-edit.ts';
import type { Edited } from './file-edit.ts';
import { checkResult, isObject, parseToml, tableHeaders, tomlString } from './toml-file.ts';
import type { TomlObject } from './toml-file.ts';

const CONFIG = '/etc/containers/registries.conf';
const FOLDER = '/etc/containers/registries.conf.d';
const OURS = `${FOLDER}/odonata.conf`;
const DEFAULT_REGISTRY = { name: 'docker.io', isPlain: false };
const CRIO = ['/usr/bin/crio', '/usr/local/bin/crio'];
const MADE_BY =
  '# "dfdaemon setup podman" made this; "dfdaemon setup podman --undo" takes it out.\n';

/** podman and all that uses its library. */
export const podman: ClientSetup = {
  traces: ['/usr/bin/podman', '/usr/bin/skopeo', '/usr/bin/buildah', ...CRIO, '/etc/containers'],
  hasUserFiles: false,
  async plan(view, { address, registries }) {
    const wanted = registries.length === 0 ? [DEFAULT_REGISTRY] : registries;
    const known = await knownRegistries(view);
    const isKnown = ({ name }: Registry): boolean => known.some(({ prefix }) => prefix === name);
    const fresh = wanted.filter((registry) => !isKnown(registry));
    const paths = [...new Set(known.map(({ path }) => path))];
    const isCrio = await anyExists(view, CRIO);
    return {
      files: [
        ...paths.flatMap((path) => {
          const here = known.filter(
            (one) => one.path === path && wanted.some(({ name }) => name === one.prefix),
          );
          return here.length === 0 ? [] : [changeOf(path, { here, address })];
        }),
        ...(fresh.length === 0
          ? []
          : [{ path: OURS, edit: () => newFile(ownFile(fresh, address), address) }]),
      ],
      commands: isCrio ? ['systemctl reload crio'] : [],
      notes: [
        ...(registries.length === 0
          ? [
              'docker.io alone is set up, as podman has no setting for all registries: name others with --registry',
            ]
          : []),
        'a user with a ~/.config/containers/registries.conf does not read these files',
        `podman sends no password of a registry to a mirror: private images come through dfdaemon where it has a login of its own (--registry-logins), else from the registry directly`,
      ],
    };
  },
};

/** A `[[registry]]` that somebody wrote. */
interface KnownRegistry {
  readonly path: string;
  /** Among the registries of the file. */
  readonly index: number;
  readonly prefix: string;
  readonly location: string;
}

/** The last file that has a registry counts, as for podman. */
async function knownRegistries(view: FileView): Promise<readonly KnownRegistry[]> {
  const names = (await view.list(FOLDER)).filter((name) => name.endsWith('.conf'));
  const known = new Map<string, KnownRegistry>();
  for (const path of [CONFIG, ...names.map((name) => `${FOLDER}/${name}`)]) {
    const text = await view.read(path);
    if (text === undefined) continue;
    for (const one of registriesOf(parseToml(text, path), path)) known.set(one.prefix, one);
  }
  return [...known.values()];
}

function registriesOf(config: TomlObject, path: string): readonly KnownRegistry[] {
  if (isObject(config['registries'])) {
    const message = `${path}: is in the old form (version 1), which podman does not mix with the new one; convert it first`;
    throw new CodedError('ERR_CLIENT_CONFIG', message);
  }
  const list: unknown = config['registry'];
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: unknown, index) => {
    if (!isObject(item)) return [];
    const location = textOf(item['location']) ?? textOf(item['prefix']);
    const prefix = textOf(item['prefix']) ?? location;
    return prefix === undefined || location === undefined
      ? []
      : [{ path, index, prefix, location }];
  });
}

function changeOf(
  path: string,
  { here, address }: { readonly here: readonly KnownRegistry[]; readonly address: string },
): FileChange {
  return {
    path,
    edit: (before) =>
      here.reduce<Edited>(
        (edited, one) => {
          const next = addMirror(edited.text, one, address);
          return { text: next.text, edits: [...edited.edits, ...next.edits] };
        },
        unedited(before ?? ''),
      ),
  };
}

/** Our mirror comes first among those of the registry. */
function addMirror(text: string, known: KnownRegistry, address: string): Edited {
  const { path, index, location } = known;
  const expected = parseToml(text, path);
  const list: unknown = expected['registry'];
  const registry: unknown = Array.isArray(list) ? list[index] : undefined;
  if (!isObject(registry)) return unedited(text);
  const mirrors: readonly unknown[] = Array.isArray(registry['mirror']) ? registry['mirror'] : [];
  const mirror = { location: `${address}/${location}`, insecure: true };
  if (mirrors.some((one) => isObject(one) && one['location'] === mirror.location))
    return unedited(text);
  registry['mirror'] = [mirror, ...mirrors];
  const block = mirrorBlock(mirror.location);
  const headers = tableHeaders(text);
  const own = headers.filter(({ keys, isArray }) => isArray && keys.join('.') === 'registry')[
    index
  ];
  const next = headers.find(({ start }) => own !== undefined && start > own.start);
  const start = next?.start ?? text.length;
  const place = { start, end: start };
  const isParted = /(?:^|\n)[ \t]*\n$/.test(text.slice(0, start));
  const lines = `${isParted ? '' : '\n'}${block}${next === undefined ? '' : '\n'}`;
  const edited = replaceLines(text, place, { block: lines, mark: mirror.location });
  checkResult(edited.text, { expected, path, wish: `${block}into the registry ${known.prefix}` });
  return edited;
}

function ownFile(registries: readonly Registry[], address: string): string {
  const blocks = registries.map(({ name, isPlain }) => {
    const plain = isPlain ? 'insecure = true\n' : '';
    const head = `[[registry]]\nprefix = ${tomlString(name)}\nlocation = ${tomlString(name)}\n${plain}`;
    return `\n${head}\n${mirrorBlock(`${address}/${name}`)}`;
  });
  return `${MADE_BY}${blocks.join('')}`;
}

function mirrorBlock(location: string): string {
  return `[[registry.mirror]]\nlocation = ${tomlString(location)}\ninsecure = true\n`;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

async function anyExists(view: FileView, paths: readonly string[]): Promise<boolean> {
  const found = await Promise.all(paths.map(async (path) => view.exists(path)));
  return found.includes(true);
}
