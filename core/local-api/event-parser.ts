/**
 * Reads download events off the wire by hand: a schema library would cost dfget more start-up than the whole
 * of a warm download may take. Unknown fields are dropped, a wrong one is ERR_PROTOCOL naming it.
 */
import { CodedError } from '../base/error.ts';
import type {
  DownloadEvent,
  Explanation,
  SourceReport,
  WaitReport,
} from '../swarm/download-events.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Parses one event; throws ERR_PROTOCOL naming the wrong field; undefined for a type of a newer daemon. */
export function parseDownloadEvent(value: unknown): DownloadEvent | undefined {
  const fields = fieldsOf(value, 'event');
  const type = text(fields, 'type');
  switch (type) {
    case 'started':
      return {
        type,
        task: taskOf(fields),
        url: text(fields, 'url'),
        ...optional('length', optionalCount(fields, 'length')),
      };
    case 'progress':
      return {
        type,
        received: count(fields, 'received'),
        ...optional('length', optionalCount(fields, 'length')),
        bytesPerSecond: count(fields, 'bytesPerSecond'),
        ...sourcesOf(fields),
      };
    case 'stalled':
      return { type, reason: text(fields, 'reason'), ms: count(fields, 'ms') };
    case 'done':
      return doneOf(fields);
    case 'failed':
      return { type, ...parseErrorObject(fields).toObject() };
    default:
      return undefined;
  }
}

/** Rebuilds an error that came as JSON; anything that is none is ERR_PROTOCOL. */
export function parseErrorObject(value: unknown): CodedError {
  const fields = fieldsOf(value, 'error');
  const { detail } = fields;
  return CodedError.fromObject({
    code: text(fields, 'code'),
    message: text(fields, 'message'),
    detail,
  });
}

function doneOf(fields: Fields): DownloadEvent {
  const version = text(fields, 'version');
  if (!/^[0-9a-f]{1,64}$/.test(version)) throw wrong('version', 'hex digits');
  return {
    type: 'done',
    task: taskOf(fields),
    version,
    length: count(fields, 'length'),
    seconds: count(fields, 'seconds'),
    duplicate: count(fields, 'duplicate'),
    ...sourcesOf(fields),
    ...optional('digest', optionalText(fields, 'digest')),
    ...optional('path', optionalText(fields, 'path')),
    ...optional('content', optionalText(fields, 'content')),
    ...(fields['explain'] === undefined ? {} : { explain: explanationOf(fields['explain']) }),
  };
}

function sourcesOf(fields: Fields): {
  fromPeers: number;
  fromSeed: number;
  fromOrigin: number;
  fromCache: number;
} {
  return {
    fromPeers: count(fields, 'fromPeers'),
    fromSeed: count(fields, 'fromSeed'),
    fromOrigin: count(fields, 'fromOrigin'),
    fromCache: count(fields, 'fromCache'),
  };
}

function explanationOf(value: unknown): Explanation {
  const fields = fieldsOf(value, 'explain');
  return {
    sources: listOf(fields, 'sources').map(sourceOf),
    waits: listOf(fields, 'waits').map(waitOf),
    notes: listOf(fields, 'notes').map(String),
  };
}

function sourceOf(value: unknown): SourceReport {
  const fields = fieldsOf(value, 'sources');
  const role = text(fields, 'role');
  if (role !== 'peer' && role !== 'seed' && role !== 'origin') {
    throw wrong('role', 'peer, seed or origin');
  }
  return {
    source: text(fields, 'source'),
    role,
    ...optional('address', optionalText(fields, 'address')),
    pieces: count(fields, 'pieces'),
    bytes: count(fields, 'bytes'),
    ...(fields['savedBytes'] === undefined ? {} : { savedBytes: count(fields, 'savedBytes') }),
    wrongPieces: count(fields, 'wrongPieces'),
    failures: count(fields, 'failures'),
  };
}

function waitOf(value: unknown): WaitReport {
  const fields = fieldsOf(value, 'waits');
  return { reason: text(fields, 'reason'), ms: count(fields, 'ms') };
}

function taskOf(fields: Fields): string {
  const task = text(fields, 'task');
  if (!/^[0-9a-f]{64}$/.test(task)) throw wrong('task', '64 hex digits');
  return task;
}

function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(name, 'an object');
  }
  return { ...value };
}

function listOf(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw wrong(name, 'a list');
  return value;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw wrong(name, 'text');
  return value;
}

function optionalText(fields: Fields, name: string): string | undefined {
  return fields[name] === undefined ? undefined : text(fields, name);
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
    throw wrong(name, 'a number');
  }
  return value;
}

function optionalCount(fields: Fields, name: string): number | undefined {
  return fields[name] === undefined ? undefined : count(fields, name);
}

function optional<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [Key in Name]?: Value } {
  const fields: { [Key in Name]?: Value } = {};
  if (value !== undefined) fields[name] = value;
  return fields;
}

function wrong(name: string, expected: string): CodedError {
  return new CodedError('ERR_PROTOCOL', `dfdaemon: field ${name} is not ${expected}`, {
    detail: { field: name },
  });
}
