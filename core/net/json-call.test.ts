import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { CodedError } from '../base/error.ts';
import { callJson, callJsonLines } from './json-call.ts';
import type { JsonCall } from './json-call.ts';

const TIMEOUT_MS = 500;

function unreachable(cause: Error): CodedError {
  return new CodedError('ERR_MESH_UNAVAILABLE', 'silent', { cause });
}

test('callJsonLines() waits for what is told late, though callJson() would have given it up', async (t) => {
  const silent: ServerResponse[] = [];
  await using server = createServer((_request, response) => {
    response.writeHead(200);
    response.write('{"at":1}\n');
    silent.push(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const target = { host: '127.0.0.1', port, method: 'GET', path: '/' };
  const call: JsonCall = { target, timeoutMs: TIMEOUT_MS, unreachable };
  const lines = callJsonLines(call);
  t.deepEqual((await lines.next()).value, { at: 1 });
  await t.throwsAsync(callJson(call));
  // The other call has seen such a silence end: this one has had a longer one.
  silent[0]?.end('{"at":2}\n');
  t.deepEqual((await lines.next()).value, { at: 2 });
  t.true((await lines.next()).done);
});
