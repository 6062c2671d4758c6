import type { Credentials } from '../../core/registry/registry-auth.ts';

/** What is done when a registry tells of a push. */
export interface PushOptions {
  /** Where pushed images are brought to; absent: nowhere. */
  readonly to?: string;
  /** The registry as this supernode reaches it; absent: as the notification names it. */
  readonly registry?: string;
  /** For pulling them. */
  readonly credentials?: Credentials;
}
