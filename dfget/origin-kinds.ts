/** The kinds of origins that dfget knows besides a plain http(s) URL; loaded when one of them, or a folder, is asked for. */
import type { Clock } from '../core/base/clock.ts';
import { silentLog } from '../core/base/log.ts';
import { SystemRandom } from '../core/base/random.ts';
import { AddressGuard } from '../core/origin/address-guard.ts';
import type { ListingParts } from '../core/origin/folder/http-folder.ts';
import { OriginConnections } from '../core/origin/origin-connections.ts';
import type { OriginKind } from '../core/origin/origin-kind.ts';
import type { AwsWishes } from '../core/origin/s3/aws-settings.ts';
import type { RegistryWishes } from '../core/registry/oci-kind.ts';
import type { DownloadRequest } from '../core/swarm/download-events.ts';

/** What the user said of origins other than http(s), and what they are spoken to with. */
export interface OriginWishes {
  readonly aws: AwsWishes;
  readonly registry: RegistryWishes;
}

/** A kind of origin and the connections it has. */
export interface OpenedKind extends AsyncDisposable {
  readonly kind: OriginKind;
}

/** Opens the kind of origin that the URL of a request names. */
export async function openOriginKind(
  request: Pick<DownloadRequest, 'url' | 'headers'>,
  wishes: OriginWishes,
  { clock, note }: { readonly clock: Clock; readonly note: (text: string) => void },
): Promise<OpenedKind> {
  // Acts for nobody but the user who started it, so it may go wherever he may.
  const connections = new OriginConnections({ guard: AddressGuard.open, clock });
  const parts = { connections, clock, random: new SystemRandom(), log: silentLog };
  const { headers = {}, url } = request;
  return {
    kind: await kindOf({ url, headers }, wishes, { ...parts, note }),
    [Symbol.asyncDispose]: async () => connections.close(),
  };
}

async function kindOf(
  request: { readonly url: string; readonly headers: Readonly<Record<string, string>> },
  wishes: OriginWishes,
  parts: ListingParts & { readonly note: (text: string) => void },
): Promise<OriginKind> {
  const { headers } = request;
  switch (new URL(request.url).protocol) {
    case 'file:': {
      const { FileKind } = await import('../core/origin/kinds/file-kind.ts');
      return new FileKind();
    }
    case 's3:': {
      const { awsSettings } = await import('../core/origin/s3/aws-settings.ts');
      const { S3Kind } = await import('../core/origin/kinds/s3-kind.ts');
      const settings = await awsSettings(wishes.aws);
      if (settings.credentials === undefined && wishes.aws.isSigned) {
        parts.note('no credentials for s3:// were found; asking as everybody may');
      }
      return new S3Kind({ settings, headers }, parts);
    }
    case 'oci:': {
      const { OciKind } = await import('../core/registry/oci-kind.ts');
      return new OciKind(wishes.registry, parts);
    }
    default: {
      const { HttpKind } = await import('../core/origin/kinds/http-kind.ts');
      return new HttpKind(headers, parts);
    }
  }
}
