import { NotFoundError } from '@libp2p/interface';
import type { createLibp2p } from 'libp2p';

/** What libp2p takes for its storage. */
type Datastore = NonNullable<NonNullable<Parameters<typeof createLibp2p>[0]>['datastore']>;

/**
 * A store that forgets at once. libp2p's peer store notes every key it ever met; strangers make keys for nothing, so
 * in memory that is a leak. Nothing we use reads it.
 */
export function emptyDatastore(): Datastore {
  return {
    has: () => false,
    get: () => {
      throw new NotFoundError();
    },
    put: (key) => key,
    delete: () => undefined,
    putMany: async function* (source) {
      for await (const { key } of source) yield key;
    },
    getMany: async function* () {},
    deleteMany: async function* (source) {
      yield* source;
    },
    batch: () => ({ put: () => undefined, delete: () => undefined, commit: () => undefined }),
    query: async function* () {},
    queryKeys: async function* () {},
  };
}
