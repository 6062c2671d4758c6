import test from 'ava';
import { CodedError } from '../core/base/error.ts';
import type { ErrorCode } from '../core/base/error-codes.ts';
import { Upstreams } from './proxy/registry-upstreams.ts';
import type { DaemonPlan } from './config.ts';
import { startFailure } from './start-failure.ts';

const plan: DaemonPlan = {
  engine: {
    dataDir: '/d',
    storeDir: '/d/store',
    supernodes: [],
    listen: { host: '::', port: 65_002 },
  },
  isInMemory: false,
  isAdaptive: false,
  calls: undefined,
  socket: { path: '/s', mode: 0o600 },
  proxy: {
    dataDir: '/d',
    listen: { host: '127.0.0.1', port: 1 },
    allow: [],
    originAllow: [],
    rules: [],
    connectPorts: [443],
    intercept: [],
    upstreams: new Upstreams(),
    loginFile: undefined,
  },
  logLevel: 'info',
  notes: [],
};

test('startFailure() names the option behind the failure, and keeps its code', (t) => {
  const cases: [ErrorCode, string, RegExp][] = [
    ['ERR_STORE_LOCKED', 'another process uses the data folder', /^--data-dir: .*\/d\/store$/],
    ['ERR_STORE_NEWER', 'written by another version', /^--data-dir: \/d\/store: written/],
    ['ERR_ADDRESS_IN_USE', 'the port is taken', /^--link-port: \[::\]:65002: the port is taken$/],
    ['ERR_TOKEN', 'the join token is cut off', /^--join-token: the join token is cut off$/],
    ['ERR_KEY_FILE', 'readable by others', /^--data-dir: readable/],
    ['ERR_USAGE', '--socket: too long', /^--socket: too long$/],
    ['ERR_NO_SPACE', 'full', /^--data-dir: \/d\/store: full$/],
    ['ERR_URL', 'as it is', /^as it is$/],
  ];
  for (const [code, message, expected] of cases) {
    const failure = startFailure(new CodedError(code, message), plan);
    t.is(failure.code, code);
    t.regex(failure.message, expected);
  }
  const io = new CodedError('ERR_STORE_IO', 'opening failed', { detail: { systemCode: 'EROFS' } });
  t.regex(startFailure(io, { ...plan, isInMemory: true }).message, /^--memory-dir: .*\(EROFS\)$/);
  t.is(startFailure(new Error('boom'), plan).code, 'ERR_INTERNAL');
});
