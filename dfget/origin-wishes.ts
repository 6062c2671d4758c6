import { join } from 'node:path';
import type { DfgetOptions } from './args.ts';
import type { OriginWishes } from './origin-kinds.ts';

/** What flags and environment say of origins that are no http(s) URL. */
export function originWishes(
  options: DfgetOptions,
  place: {
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly home: string;
  },
): OriginWishes {
  const { env, home } = place;
  return {
    aws: {
      credentials: options.s3Credentials,
      profile: options.s3Profile,
      endpoint: options.s3Endpoint,
      region: options.s3Region,
      addressing: options.s3Addressing,
      isSigned: options.s3Sign,
      env,
      home,
    },
    registry: {
      loginsPath: options.registryLogins,
      defaultLoginsPath: join(env['DOCKER_CONFIG'] ?? join(home, '.docker'), 'config.json'),
      isPlainHttp: options.plainHttp,
    },
  };
}
