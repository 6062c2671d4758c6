import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { VerbAnswer } from './answers.ts';
import type { ApiClient } from './api-client.ts';

/** What was uploaded, and where hosts fetch it. */
export type Blob = VerbAnswer<'blob.put'>;

/** Brings a file of this machine to the supernode, under its digest; ERR_USAGE when it cannot be read. */
export async function uploadBlob(
  api: ApiClient,
  file: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<Blob> {
  try {
    await using handle = await open(file, 'r');
    if (!(await handle.stat()).isFile()) {
      throw new CodedError('ERR_USAGE', `${file} is not a regular file`);
    }
    const { digest, length } = await contentOf(
      handle.createReadStream({ start: 0, autoClose: false }),
      signal,
    );
    const end = Math.max(0, length - 1);
    const stream = handle.createReadStream({ start: 0, end, autoClose: false });
    const content = { stream, length };
    return await api.ask('blob.put', { digest, length }, { content, signal });
  } catch (cause) {
    const code = systemCode(cause);
    if (cause instanceof CodedError || code === undefined) throw cause;
    throw new CodedError('ERR_USAGE', `cannot read ${file}: ${code}`, { cause });
  }
}

/** Read twice, once for the digest: what is sent is checked against it, also when the file changes meanwhile. */
async function contentOf(
  stream: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<{ readonly digest: string; readonly length: number }> {
  const sum = createHash('sha256');
  let length = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
    if (!Buffer.isBuffer(chunk)) continue;
    sum.update(chunk);
    length += chunk.length;
  }
  return { digest: `sha256:${sum.digest('hex')}`, length };
}
