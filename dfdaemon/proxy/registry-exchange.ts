import type { ServerResponse } from 'node:http';
import type { Priority } from '../../core/base/priority.ts';
import type { AdmittedUser } from './access.ts';
import type { Headers } from './forward-headers.ts';
import type { RegistryAsk } from './registry-path.ts';
import type { Upstream } from './registry-upstreams.ts';

/** One request for a registry that is known, and the answer to be. */
export interface RegistryExchange {
  readonly ask: RegistryAsk;
  readonly upstream: Upstream;
  readonly user: AdmittedUser;
  readonly request: { readonly method?: string | undefined; readonly headers: Headers };
  readonly response: ServerResponse;
  /** Of what comes from the mesh; absent: interactive. */
  readonly priority?: Priority | undefined;
  /** Called when the registry refuses a login that was not the client's own. */
  readonly onRefused?: () => void;
  /** Aborts when the client goes away or the program stops. */
  readonly signal: AbortSignal;
}

/** The URL at the upstream. */
export function upstreamUrl({ ask, upstream }: Pick<RegistryExchange, 'ask' | 'upstream'>): string {
  return upstream.origin + ask.path;
}

/** Headers of all answers that are the mirror's own. */
export function ownHeaders({ ask }: Pick<RegistryExchange, 'ask'>): Record<string, string> {
  return {
    'docker-distribution-api-version': 'registry/2.0',
    ...(ask.namespace === undefined ? {} : { 'oci-namespace': ask.namespace }),
  };
}
