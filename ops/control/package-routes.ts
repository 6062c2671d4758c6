import type { IncomingMessage } from 'node:http';
import type { ApiApp } from '../../core/base/api-app.ts';
import { CodedError } from '../../core/base/error.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import type { PackageRemoval } from './package-removal.ts';
import type { PackageTable } from './package-table.ts';
import type { Uploads } from './uploads.ts';
import { VerbRoutes } from './verb-routes.ts';

/** Silence after which an upload is given up. */
const STALL_MS = 60_000;

/** What the routes speak for, once that runs. */
export interface PackageParts {
  readonly door: Door;
  readonly packages: PackageTable;
  readonly uploads: Uploads;
  readonly removal: PackageRemoval;
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

  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.handle('package.publish', ({ input, caller }) => parts().uploads.publish(input, caller), {
    status: 201,
  });
  routes.handle('package.remove', ({ input, caller }) => parts().removal.remove(input, caller));
  routes.read('package.list', async ({ limit = pageLimits.default, after = '' }) =>
    parts().packages.list({ limit, after }),
  );
  routes.read('package.versions', async ({ name, limit = pageLimits.default, after = '' }) =>
    parts().packages.list({ limit, after }, name),
  );
}

function addBlobRoute(app: ApiApp, { parts, callerOf, spare }: PackageRoutesOptions): void {
  // The body is read by who stores it, and by nobody before the door has let it in.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.handle(
    'blob.put',
    ({ input, caller, raw }) => {
      const gone = new AbortController();
      raw.once('close', () => {
        if (!raw.complete) gone.abort(brokenOff());
      });
      return parts().uploads.put(input, bodyOf(raw, spare), { caller, signal: gone.signal });
    },
    { status: 201 },
  );
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
