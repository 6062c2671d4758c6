import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import { packageNamePattern, packageVersionPattern } from '../../../core/base/package-name.ts';
import { parseDuration } from '../../../core/base/units.ts';
import { parser } from '../../../core/wire/parse-message.ts';

/** At the root of every package. */
export const manifestName = 'package.yaml';

const Argument = Type.String({ maxLength: 4_096, pattern: '^[^\\x00]*$' });
const Program = Type.Array(Argument, { minItems: 1, maxItems: 256 });

const ManifestSchema = Type.Object({
  name: Type.String({ pattern: packageNamePattern }),
  version: Type.String({ pattern: packageVersionPattern }),
  install: Type.Optional(Program),
  start: Type.Optional(Program),
  stop: Type.Optional(Program),
  stopTimeout: Type.Optional(Type.String()),
  health: Type.Optional(
    Type.Object({
      command: Type.Optional(Program),
      http: Type.Optional(Type.String({ pattern: '^http://', maxLength: 2_048 })),
      interval: Type.Optional(Type.String()),
      timeout: Type.Optional(Type.String()),
    }),
  ),
  env: Type.Optional(Type.Record(Type.String(), Argument, { maxProperties: 256 })),
});
type ManifestFields = Static<typeof ManifestSchema>;

const parseFields = parser(ManifestSchema, { code: 'ERR_CONFIG', strict: true });

/** What may be read of a package whose manifest nobody has checked. */
const MAX_MANIFEST_BYTES = 1024 * 1024;
const VARIABLE = /^(?!ODONATA_)[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const DEFAULT_STOP_TIMEOUT_MS = 10_000;
const MAX_STOP_TIMEOUT_MS = 600_000;
const DEFAULT_INTERVAL_MS = 500;
const MAX_INTERVAL_MS = 60_000;
const MAX_HEALTH_TIMEOUT_MS = 3_600_000;

/** A program and its arguments; the program is an absolute path. */
export type ProgramArgv = readonly [string, ...string[]];

/** How to find out whether a version does its work. */
export interface HealthCheck {
  readonly how: { readonly argv: ProgramArgv } | { readonly url: string };
  readonly intervalMs: number;
  /** Longest time until it is found healthy; whoever asks may wait less. */
  readonly timeoutMs: number;
}

/** What a package says about itself, with its programs where they are. */
export interface PackageManifest {
  readonly name: string;
  readonly version: string;
  readonly install: ProgramArgv | undefined;
  readonly start: ProgramArgv | undefined;
  readonly stop: ProgramArgv | undefined;
  readonly stopTimeoutMs: number;
  readonly health: HealthCheck | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** The `package.yaml` of an unpacked package; ERR_CONFIG naming the field that is wrong. */
export async function readManifest(folder: string): Promise<PackageManifest> {
  const path = join(folder, manifestName);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_MANIFEST_BYTES) {
      throw new CodedError('ERR_CONFIG', `${path} is longer than ${MAX_MANIFEST_BYTES} bytes`);
    }
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const code = systemCode(error) ?? 'unknown';
    throw new CodedError('ERR_CONFIG', `the package: no ${manifestName} at its root (${code})`, {
      cause: error,
    });
  }
  return parseManifest(text, folder);
}

/** The text of a `package.yaml`, of a package unpacked in `folder`; ERR_CONFIG naming the field that is wrong. */
export async function parseManifest(text: string, folder: string): Promise<PackageManifest> {
  const { parseDocument } = await import('yaml');
  // Every value is a text: a version 1.10 is no number, and neither is a port among arguments.
  const document = parseDocument(text, { schema: 'failsafe' });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const [line] = problem.message.split('\n', 1);
    throw new CodedError('ERR_CONFIG', `${manifestName}: ${line}`);
  }
  return manifestOf(document.toJS({ maxAliasCount: 10 }), folder);
}

function manifestOf(value: unknown, folder: string): PackageManifest {
  try {
    const fields = parseFields(value);
    const { name, version, env = {} } = fields;
    const program = (key: 'install' | 'start' | 'stop'): ProgramArgv | undefined =>
      programOf(fields[key], { folder, path: `/${key}` });
    for (const variable of Object.keys(env)) {
      if (!VARIABLE.test(variable)) {
        throw wrong(`/env/${variable.slice(0, 64)}`, 'is no name for a variable of a package');
      }
    }
    return {
      name,
      version,
      install: program('install'),
      start: program('start'),
      stop: program('stop'),
      stopTimeoutMs: duration(fields.stopTimeout, {
        path: '/stopTimeout',
        otherwise: DEFAULT_STOP_TIMEOUT_MS,
        max: MAX_STOP_TIMEOUT_MS,
      }),
      health: healthOf(fields.health, folder),
      env,
    };
  } catch (error) {
    const { code, message, detail } = CodedError.from(error);
    throw new CodedError(code, `${manifestName}: ${message}`, { cause: error, detail });
  }
}

function healthOf(fields: ManifestFields['health'], folder: string): HealthCheck | undefined {
  if (fields === undefined) return undefined;
  const { command, http, interval, timeout } = fields;
  if ((command === undefined) === (http === undefined)) {
    throw wrong('/health', 'needs exactly one of command and http');
  }
  if (http !== undefined && !URL.canParse(http)) throw wrong('/health/http', 'is no URL');
  const argv = programOf(command, { folder, path: '/health/command' });
  return {
    how: argv === undefined ? { url: http ?? '' } : { argv },
    intervalMs: duration(interval, {
      path: '/health/interval',
      otherwise: DEFAULT_INTERVAL_MS,
      max: MAX_INTERVAL_MS,
    }),
    timeoutMs: duration(timeout, {
      path: '/health/timeout',
      otherwise: MAX_HEALTH_TIMEOUT_MS,
      max: MAX_HEALTH_TIMEOUT_MS,
    }),
  };
}

/** A program that is no absolute path is one of the package, and must stay one. */
function programOf(
  argv: readonly string[] | undefined,
  { folder, path }: { readonly folder: string; readonly path: string },
): ProgramArgv | undefined {
  const [program, ...args] = argv ?? [];
  if (program === undefined) return undefined;
  if (isAbsolute(program)) return [program, ...args];
  const inside = normalize(program);
  if (inside === '.' || inside === '..' || inside.startsWith('../')) {
    throw wrong(`${path}/0`, 'is no program of the package');
  }
  return [join(folder, inside), ...args];
}

function duration(
  text: string | undefined,
  options: { readonly path: string; readonly otherwise: number; readonly max: number },
): number {
  if (text === undefined) return options.otherwise;
  const ms = parseDuration(text);
  if (ms === undefined || ms <= 0) throw wrong(options.path, 'is no duration (500ms, 30s, 5m)');
  if (ms > options.max) throw wrong(options.path, `is above ${options.max} ms`);
  return ms;
}

function wrong(path: string, problem: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${problem}`, { detail: { path } });
}
