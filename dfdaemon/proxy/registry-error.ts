import type { ServerResponse } from 'node:http';
import { CodedError } from '../../core/base/error.ts';

/** Codes of the OCI distribution specification that the mirror itself says. */
type OciCode = 'NAME_INVALID' | 'DENIED' | 'UNSUPPORTED' | 'TOOMANYREQUESTS' | 'UNKNOWN';

const RETRY_AFTER_SECONDS = '1';

/** Answers in the form that registry clients read; the connection is ended when an answer has begun already. */
export function answerRegistryError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const coded = CodedError.from(error);
  const { code, facts, message } = coded;
  const status = statusOf(coded);
  const detail = { code, next: facts.next };
  const body = JSON.stringify({ errors: [{ code: ociCodeOf(coded), message, detail }] });
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  if (status === 503) response.setHeader('retry-after', RETRY_AFTER_SECONDS);
  // What is left of a push would be taken for the next request.
  if (!response.req.complete) response.setHeader('connection', 'close');
  if (status === 405) response.setHeader('allow', 'GET, HEAD');
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'docker-distribution-api-version': 'registry/2.0',
  });
  response.end(body);
}

function statusOf({ code, facts, detail }: CodedError): number {
  if (detail['method'] !== undefined) return 405;
  // The client is still there, so it was this program that stopped.
  return code === 'ERR_INTERRUPTED' ? 503 : facts.http;
}

function ociCodeOf({ code, detail }: CodedError): OciCode {
  if (detail['method'] !== undefined || code === 'ERR_NOT_FOUND') return 'UNSUPPORTED';
  if (code === 'ERR_REQUEST') return 'NAME_INVALID';
  if (code === 'ERR_ORIGIN_FORBIDDEN' || code === 'ERR_FORBIDDEN') return 'DENIED';
  return code === 'ERR_BUSY' ? 'TOOMANYREQUESTS' : 'UNKNOWN';
}
