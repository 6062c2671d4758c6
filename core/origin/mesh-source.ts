/**
 * What the mesh is asked for in place of a URL that only its user can make sense of: an http(s) request that every
 * seed and host can make, and which lets them read this one content and nothing else.
 */
export interface MeshSource {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Parameters of the URL that are credentials and do not change the content. */
  readonly filteredQueryParams?: readonly string[] | undefined;
  /** The digest that names the content, whatever the URL. */
  readonly digest?: string | undefined;
}
