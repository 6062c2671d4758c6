/**
 * podman, buildah, skopeo and CRI-O read registries.conf and the files of registries.conf.d; there is no setting for
 * all registries, so each is named. A mirror is not told which registry it stands for: that is part of its path.
 */
import { join } from 'node:path';
import { stringify } from 'smol-toml';
import { CodedError } from '../../core/base/error.ts';
import type { ClientSetup, FileChange, FileView, Registry, SetupUser } from './client-setup.ts';
import { newFile, replaceLines, unedited } from './file-edit.ts';
import type { Edited } from './file-edit.ts';
import { checkResult, isObject, parseToml, tableHeaders, tomlString } from './toml-file.ts';
import type { TomlObject } from './toml-file.ts';

/** Files that are read one after the other; what comes later counts. */
interface PodmanPlace {
  readonly config: string;
  readonly folder: string;
}

const MACHINE = placeIn('/etc/containers');
const DEFAULT_REGISTRY = { name: 'docker.io', isPlain: false };
const CRIO = ['/usr/bin/crio', '/usr/local/bin/crio'];
const MADE_BY =
  '# "dfdaemon setup podman" made this; "dfdaemon setup podman --undo" takes it out.\n';

/** podman and all that uses its library. */
export const podman: ClientSetup = {
  traces: ['/usr/bin/podman', '/usr/bin/skopeo', '/usr/bin/buildah', ...CRIO, '/etc/containers'],
  hasUserFiles: true,
  async plan(view, { address, registries, user }) {
    const wanted = registries.length === 0 ? [DEFAULT_REGISTRY] : registries;
    const own = user === undefined ? MACHINE : placeOf(user);
    const known = await knownRegistries(view, own);
    const isWanted = ({ prefix }: KnownRegistry): boolean =>
      wanted.some(({ name }) => name === prefix);
    const ours = known.filter(({ isOwn }) => isOwn);
    // What root wrote is not this user's to change, but what comes after it stands in its place.
    const others = known.filter((one) => !one.isOwn && isWanted(one));
    const fresh = wanted.filter(({ name }) => !known.some(({ prefix }) => prefix === name));
    const paths = [...new Set(ours.map(({ path }) => path))];
    const isCrio = user === undefined && (await anyExists(view, CRIO));
    const added = [...fresh.map(plainRegistry), ...others.map(({ settings }) => settings)];
    return {
      files: [
        ...paths.flatMap((path) => {
          const here = ours.filter((one) => one.path === path && isWanted(one));
          return here.length === 0 ? [] : [changeOf(path, { here, address })];
        }),
        ...(added.length === 0
          ? []
          : [
              {
                path: join(own.folder, 'odonata.conf'),
                edit: () => newFile(ownFile(added, address), address),
              },
            ]),
      ],
      commands: isCrio ? ['systemctl reload crio'] : [],
      notes: [
        ...(registries.length === 0
          ? [
              'docker.io alone is set up, as podman has no setting for all registries: name others with --registry',
            ]
          : []),
        ...(user === undefined
          ? [
              'a user with a ~/.config/containers/registries.conf does not read these files: set that user up with --user',
            ]
          : others.map(
              ({ prefix, path }) =>
                `what ${path} says of ${prefix} is copied: run this again when that changes`,
            )),
        'podman sends no password of a registry to a mirror: private images come through dfdaemon where it has a login of its own (--registry-logins), else from the registry directly',
      ],
    };
  },
};

/** The library looks there whatever `XDG_CONFIG_HOME` says (seen with 1.9). */
function placeOf({ home }: SetupUser): PodmanPlace {
  return placeIn(join(home, '.config/containers'));
}

function placeIn(folder: string): PodmanPlace {
  return { config: join(folder, 'registries.conf'), folder: join(folder, 'registries.conf.d') };
}

/** A `[[registry]]` that somebody wrote. */
interface KnownRegistry {
  readonly path: string;
  /** Among the registries of the file. */
  readonly index: number;
  readonly prefix: string;
  readonly location: string;
  /** The file is that of who is set up. */
  readonly isOwn: boolean;
  /** All that is said of it. */
  readonly settings: TomlObject;
}

/** The last file that has a registry counts, as for podman; a user who has a registries.conf reads none of the machine's. */
async function knownRegistries(
  view: FileView,
  own: PodmanPlace,
): Promise<readonly KnownRegistry[]> {
  const isAlone = own === MACHINE || (await view.exists(own.config));
  const known = new Map<string, KnownRegistry>();
  for (const place of isAlone ? [own] : [MACHINE, own]) {
    const names = (await view.list(place.folder)).filter((name) => name.endsWith('.conf'));
    for (const path of [place.config, ...names.map((name) => `${place.folder}/${name}`)]) {
      const text = await view.read(path);
      if (text === undefined) continue;
      for (const one of registriesOf(parseToml(text, path), path)) {
        known.set(one.prefix, { ...one, isOwn: place === own });
      }
    }
  }
  return [...known.values()];
}

function registriesOf(config: TomlObject, path: string): readonly Omit<KnownRegistry, 'isOwn'>[] {
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
      : [{ path, index, prefix, location, settings: item }];
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

function plainRegistry({ name, isPlain }: Registry): TomlObject {
  return { prefix: name, location: name, ...(isPlain ? { insecure: true } : {}) };
}

/** Registries with their settings, ours the first of their mirrors. */
function ownFile(registries: readonly TomlObject[], address: string): string {
  const blocks = registries.map((registry) => {
    const { mirror, ...settings } = registry;
    const location = textOf(settings['location']) ?? textOf(settings['prefix']) ?? '';
    const theirs: readonly unknown[] = Array.isArray(mirror) ? mirror : [];
    const rest = theirs.map((one) => `\n[[registry.mirror]]\n${stringify(one)}`);
    return `\n[[registry]]\n${stringify(settings)}\n${mirrorBlock(`${address}/${location}`)}${rest.join('')}`;
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
