import type { ProxyRule } from './rules.ts';

/**
 * Files that package managers fetch by names which stand for one content for ever: a version, or a digest. Tried after
 * the rules of the configuration; whatever matches none goes to the origin directly, as without us.
 */
export const defaultRules: readonly ProxyRule[] = [
  // Debian: packages and sources by version, indexes by digest. RPM: packages, metadata named by digest.
  // Alpine, Arch.
  mesh(String.raw`\.(?:deb|udeb|ddeb|rpm|drpm|apk|pkg\.tar\.(?:zst|xz))$`),
  mesh(String.raw`/by-hash/(?:SHA256|SHA512)/[0-9a-f]{64}(?:[0-9a-f]{64})?$`),
  mesh(String.raw`/pool/.+\.(?:dsc|(?:orig|debian)[^/]*\.tar\.(?:gz|xz|bz2|zst))$`),
  mesh(String.raw`/repodata/[0-9a-f]{64}(?:[0-9a-f]{64})?-[^/]+$`),
  // Python, npm, Java, Ruby, Rust, Go, conda, NuGet.
  mesh(String.raw`\.(?:whl|conda|gem|crate|nupkg)$`),
  mesh(String.raw`/packages/.+\.(?:tar\.gz|zip)$`),
  mesh(String.raw`/-/[^/]+\.tgz$`),
  mesh(String.raw`/[^/]+-[0-9][^/]*\.(?:jar|war|aar)$`),
  mesh(String.raw`/@v/v[^/]+\.zip$`),
];

/** `path` is the end of the URL before its query. */
function mesh(path: string): ProxyRule {
  return {
    url: `^[^?]*${path.replace(/\$$/, String.raw`(?:\?|$)`)}`,
    methods: ['GET', 'HEAD'],
    to: 'mesh',
  };
}
