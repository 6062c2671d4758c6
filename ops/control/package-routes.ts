import type { IncomingMessage } from 'node:http';
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { Paged } from '../../core/base/paging.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import { BlobDigest, PackageName, PackagePublish } from './package-record.ts';
import type { PackageRecord } from './package-record.ts';
import type { PackageTable } from './package-table.ts';
import type { Caller } from './principal.ts';
import type { Uploads } from './uploads.ts';
import { verbs } from './verbs.ts';
import type { VerbInput } from './verbs.ts';

const BlobParams = Type.Object({ digest: BlobDigest });
const NameParams = Type.Object({ name: PackageName });
/** Silence after which an upload is given up. */
const STALL_MS = 60_000;

/** What the routes speak for, once that runs. */
export interface PackageParts {
  readonly door: Door;
  readonly packages: PackageTable;
  readonly uploads: Uploads;
}

/** How the routes come to what they need at each request. */
export interface PackageRoutesOptions {
  readonly parts: () => PackageParts;
  readonly callerOf: CallerOf;
  /** Told of a request whose body may take as long as it likes, as far as it comes. */
  readonly spare: (request: IncomingMessage) => void;
}

/** Routes of blobs and packages. */
export function addPackageRoutes(app: ApiApp, options: PackageRoutesOptions): void {
  const { parts, callerOf } = options;
  void app.register(async (uploads: ApiApp) => addBlobRoute(uploads, options));

  app.post('/api/v1/packages', { schema: { body: PackagePublish } }, async (request, reply) => {
    const record = await parts().uploads.publish(request.body, callerOf(request));
    return reply.code(201).send(record);
  });

  const querystring = verbs['package.list'].schema;
  app.get('/api/v1/packages', { schema: { querystring } }, (request) =>
    list(parts(), callerOf(request), request.query),
  );

  const versions = { schema: { params: NameParams, querystring } };
  app.get('/api/v1/packages/:name', versions, (request) =>
    list(parts(), callerOf(request), { ...request.query, name: request.params.name }),
  );
}

function addBlobRoute(app: ApiApp, { parts, callerOf, spare }: PackageRoutesOptions): void {
  // The body is read by who stores it, and by nobody before the door has let it in.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  app.put('/api/v1/blobs/:digest', { schema: { params: BlobParams } }, async (request, reply) => {
    const { raw } = request;
    const facts = { digest: request.params.digest, length: lengthOf(raw) };
    const gone = new AbortController();
    raw.once('close', () => {
      if (!raw.complete) gone.abort(brokenOff());
    });
    const { uploads } = parts();
    const caller = callerOf(request);
    const put = await uploads.put(facts, bodyOf(raw, spare), { caller, signal: gone.signal });
    return reply.code(201).send(put);
  });
}

/** The bytes of a body as they come; whoever leaves it early can still answer. */
async function* bodyOf(
  raw: IncomingMessage,
  spare: PackageRoutesOptions['spare'],
): AsyncGenerator<Uint8Array, void, undefined> {
  spare(raw);
  const stall = (): void => {
    raw.destroy(new CodedError('ERR_TIMEOUT', 'nothing more came of the upload'));
  };
  raw.setTimeout(STALL_MS, stall);
  try {
    for await (const chunk of raw.iterator({ destroyOnReturn: false })) {
      if (Buffer.isBuffer(chunk)) yield chunk;
    }
  } catch (error) {
    throw error instanceof CodedError ? error : brokenOff(error);
  } finally {
    raw.setTimeout(0);
    raw.socket.off('timeout', stall);
  }
}

function brokenOff(cause?: unknown): CodedError {
  return new CodedError('ERR_INTERRUPTED', 'the upload was broken off', { cause });
}

function lengthOf({ headers }: IncomingMessage): number {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (Number.isSafeInteger(length)) return length;
  const message = 'content-length: must be sent, so that room can be made before anything is';
  throw new CodedError('ERR_REQUEST', message, { detail: { path: 'content-length' } });
}

async function list(
  { door, packages }: PackageParts,
  caller: Caller,
  { name, ...input }: VerbInput<'package.list'> & { readonly name?: string },
): Promise<Paged<PackageRecord>> {
  const { limit = pageLimits.default, after = '' } = input;
  return await door.read(
    { verb: 'package.list', caller, input, object: { id: name ?? '' } },
    async () => packages.list({ limit, after }, name),
  );
}
