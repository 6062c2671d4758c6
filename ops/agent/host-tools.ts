// Files, packages and scripts: commands of reserved names, which come to a tool of our own instead of a program of the host. They
// are there only where the host's file says which folders they may touch, and as whom scripts run.
import { dirname, extname, join } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { packageNamePattern } from '../../core/base/package-name.ts';
import type { CallOrder } from '../../core/identity/call-order.ts';
import { LimitsSchema, compileLimits } from './command-limits.ts';
import type { CommandLimits } from './command-limits.ts';
import { parseInstall, parsePut, parseScript, parseSwitch } from './tools/tool-requests.ts';
import type { ToolName, ToolRules } from './tools/tool-rules.ts';

const Folder = Type.String({ pattern: '^/[^\\x00]{1,4094}$' });
const RunAs = Type.Optional(Type.String({ pattern: '^[a-z_][a-z0-9_-]{0,31}$' }));

/** `files:` of the host's file. */
export const FilesSchema = Type.Array(Type.Object({ folder: Folder, runAs: RunAs }), {
  maxItems: 1_000,
});
/** `packages:` of the host's file. */
export const PackagesSchema = Type.Record(
  Type.String(),
  Type.Object({
    folder: Folder,
    runAs: RunAs,
    keep: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
  }),
  { maxProperties: 1_000 },
);
/** `scripts:` of the host's file. */
export const ScriptsSchema = Type.Object({ runAs: RunAs, limits: Type.Optional(LimitsSchema) });

/** Versions of a package that stay unpacked, besides those in use. */
const DEFAULT_KEEP = 3;
const NAME = new RegExp(packageNamePattern);
const toolNames: readonly string[] = [
  'file.put',
  'package.install',
  'package.switch',
  'script.run',
] satisfies ToolName[];
/** The same kind of file as this one: sources where sources run, built ones where these do. */
const PROGRAM = join(import.meta.dirname, 'tools', `main${extname(import.meta.filename)}`);

interface Place {
  readonly folder: string;
  readonly runAs: string;
}

/** How a tool is run. */
export interface ToolRun {
  readonly argv: readonly [string, ...string[]];
  readonly runAs: string;
  /** True for one that may start what outlives the call. */
  readonly startsService: boolean;
  readonly limits: CommandLimits;
}

/** A package of this host, and how what ran of it is started again. */
export interface PackageToResume {
  readonly name: string;
  readonly folder: string;
  readonly argv: ToolRun['argv'];
}

/** True for a name that no command of the host's file may have. */
export function isToolName(name: string): boolean {
  return toolNames.includes(name);
}

/** The reserved commands that this host lets be called, and where they may work. */
export class HostTools {
  readonly #files: readonly Place[];
  readonly #packages: ReadonlyMap<string, Place & { readonly keep: number }>;
  /** As whom scripts run; undefined: none does. */
  readonly #scripts: { readonly runAs: string; readonly refuse: readonly string[] } | undefined;
  /** Of scripts. */
  readonly limits: CommandLimits;
  readonly #socket: string;

  /** Fields as the file has them; `socket` is that of the dfdaemon by which content comes. ERR_CONFIG. */
  constructor(
    fields: {
      readonly files: Static<typeof FilesSchema>;
      readonly packages: Static<typeof PackagesSchema>;
      readonly scripts: Static<typeof ScriptsSchema> | undefined;
      readonly refuse: readonly string[];
    },
    options: { readonly defaultUser: string; readonly socket: string },
  ) {
    const { defaultUser, socket } = options;
    this.#socket = socket;
    const { scripts, refuse } = fields;
    this.limits = compileLimits(scripts?.limits, '/scripts/limits');
    if (scripts !== undefined) this.#scripts = { runAs: scripts.runAs ?? defaultUser, refuse };
    this.#files = fields.files.map(({ folder, runAs = defaultUser }, at) => {
      return { folder: normal(folder, `/files/${at}/folder`), runAs };
    });
    const packages = Object.entries(fields.packages).map(([name, place]) => {
      const at = `/packages/${name.slice(0, 64)}`;
      if (!NAME.test(name)) throw wrong(at, 'is no name for a package (a-z 0-9 . _ -)');
      const { runAs = defaultUser, keep = DEFAULT_KEEP } = place;
      return [name, { folder: normal(place.folder, `${at}/folder`), runAs, keep }] as const;
    });
    this.#packages = new Map(packages);
    refuseShared(packages.map(([name, { folder }]) => ({ name, folder })));
  }

  get names(): readonly string[] {
    return [
      ...(this.#files.length > 0 ? ['file.put'] : []),
      ...(this.#packages.size > 0 ? ['package.install', 'package.switch'] : []),
      ...(this.#scripts === undefined ? [] : ['script.run']),
    ];
  }

  /** All packages that this host may have. */
  toResume(): PackageToResume[] {
    return [...this.#packages].map(([name, { folder, runAs }]) => {
      const { argv } = toolRun({ tool: 'package.resume', user: runAs, folder }, []);
      return { name, folder, argv };
    });
  }

  /** How the tool is run that an order calls for; undefined when it is no name of a tool. ERR_FORBIDDEN, ERR_REQUEST. */
  runOf({ command, args }: Pick<CallOrder, 'command' | 'args'>): ToolRun | undefined {
    if (!this.names.includes(command)) return undefined;
    switch (command) {
      case 'file.put': {
        const { runAs, folder } = this.#placeOf(parsePut(args).path);
        const socket = this.#socket;
        return toolRun({ tool: 'file.put', user: runAs, folder, socket }, args);
      }
      case 'package.install': {
        const { runAs, folder, keep } = this.#packageOf(parseInstall(args).name);
        const socket = this.#socket;
        return toolRun({ tool: 'package.install', user: runAs, folder, socket, keep }, args);
      }
      case 'package.switch': {
        const { runAs, folder, keep } = this.#packageOf(parseSwitch(args).name);
        return toolRun({ tool: 'package.switch', user: runAs, folder, keep }, args);
      }
      case 'script.run': {
        if (this.#scripts === undefined) return undefined;
        const { runAs, refuse } = this.#scripts;
        parseScript(args);
        const socket = this.#socket;
        const run = toolRun({ tool: 'script.run', user: runAs, socket, refuse: [...refuse] }, args);
        return { ...run, limits: this.limits };
      }
      default:
        return undefined;
    }
  }

  /** The innermost of the folders that the path is below. */
  #placeOf(path: string): Place {
    const [place] = this.#files
      .filter(({ folder }) => path.startsWith(`${folder}/`))
      .toSorted((a, b) => b.folder.length - a.folder.length);
    if (place !== undefined) return place;
    throw new CodedError('ERR_FORBIDDEN', `this host lets no file be put into ${dirname(path)}`);
  }

  #packageOf(name: string): Place & { readonly keep: number } {
    const place = this.#packages.get(name);
    if (place !== undefined) return place;
    throw new CodedError('ERR_FORBIDDEN', `this host has no package "${name}"`);
  }
}

function toolRun(rules: ToolRules, args: readonly string[]): ToolRun {
  return {
    argv: [process.execPath, PROGRAM, JSON.stringify(rules), ...args],
    runAs: rules.user,
    startsService: rules.tool === 'package.switch' || rules.tool === 'package.resume',
    limits: {},
  };
}

function normal(folder: string, path: string): string {
  if (join(folder) === folder && !folder.endsWith('/')) return folder;
  throw wrong(path, 'is not in its shortest form, or ends with a slash');
}

/** Two packages in one folder would each take the other's versions for its own. */
function refuseShared(places: readonly { readonly name: string; readonly folder: string }[]): void {
  for (const [at, { name, folder }] of places.entries()) {
    const other = places.slice(0, at).find((place) => place.folder === folder);
    if (other !== undefined) {
      throw wrong(`/packages/${name}/folder`, `is that of ${other.name} already`);
    }
  }
}

function wrong(path: string, problem: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${problem}`, { detail: { path } });
}
