import { Type } from 'typebox';
import { parser } from '../../core/wire/parse-message.ts';
import { CodedError } from '../../core/base/error.ts';

/** A manifest that was pushed to a registry. */
export interface PushedImage {
  readonly repository: string;
  readonly digest: string;
  /** Of the manifest, as the registry names it to whoever pushed. */
  readonly url: string | undefined;
}

/** Distribution's registry writes small letters; Harbor, where it speaks as to kraken, begins them with capitals. */
const Events = Type.Object({
  events: Type.Array(
    Type.Object({
      action: Type.String({ maxLength: 64 }),
      target: Type.Optional(
        Type.Object({
          mediatype: Type.Optional(Type.String({ maxLength: 256 })),
          repository: Type.Optional(Type.String({ maxLength: 255 })),
          digest: Type.Optional(Type.String({ maxLength: 200 })),
          url: Type.Optional(Type.String({ maxLength: 8192 })),
        }),
      ),
    }),
    { maxItems: 256 },
  ),
});
const parseEvents = parser(Events, { code: 'ERR_REQUEST' });

const MANIFEST =
  /^application\/vnd\.(?:docker\.distribution\.manifest\.(?:v2|list\.v2)|oci\.image\.(?:manifest|index)\.v1)\+json$/;
const MAX_DEPTH = 8;

/** The manifests that a notification says were pushed; anything else in it is left out. ERR_REQUEST naming a field. */
export function pushedImages(body: unknown): PushedImage[] {
  const { events } = parseEvents(withSmallKeys(body, 0));
  return events.flatMap(({ action, target }) => {
    const { mediatype = '', repository, digest, url } = target ?? {};
    if (action !== 'push' || !MANIFEST.test(mediatype)) return [];
    if (repository === undefined || digest === undefined) return [];
    return [{ repository, digest, url }];
  });
}

/**
 * The image as a warm-up is asked for it: by digest, from `registry` or, where there is none, from where the
 * notification says.
 */
export function imageOf({ repository, digest, url }: PushedImage, registry?: string): string {
  const origin = registry ?? URL.parse(url ?? '')?.origin;
  if (origin === undefined || origin === 'null') {
    throw new CodedError('ERR_REQUEST', 'events: no url of the manifest, and no --push-registry', {
      detail: { path: 'events' },
    });
  }
  return `${origin.replace(/\/$/, '')}/${repository}@${digest}`;
}

/** The names of fields in small letters, however deep; a field that comes first wins. */
function withSmallKeys(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) return value.map((item) => withSmallKeys(item, depth + 1));
  const entries = Object.entries(value)
    // What a registry does not know it says to be null.
    .filter(([, item]) => item !== null)
    .map(([name, item]: [string, unknown]) => [name.toLowerCase(), withSmallKeys(item, depth + 1)]);
  return Object.fromEntries(entries);
}
