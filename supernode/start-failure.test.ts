import test from 'ava';
import { CodedError } from '../core/base/error.ts';
import type { SupernodePlan } from './config.ts';
import { startFailure } from './start-failure.ts';

const plan: SupernodePlan = {
  supernode: {
    dataDir: '/data',
    listen: '10.0.0.1',
    advertise: [],
    meshPort: 8002,
    linkPort: 8003,
    httpPort: 8001,
    originAllow: [],
    originRate: 0,
    uploadRate: 0,
    encryption: 'tls',
  },
  http: {
    host: '10.0.0.1',
    port: 8001,
    keyFile: undefined,
    isMetricsPublic: true,
    pushKeyFile: undefined,
    push: {},
  },
  logLevel: 'info',
};

test('startFailure() names the flag to change', (t) => {
  const cases = [
    [new CodedError('ERR_STORE_LOCKED', 'in use'), /^--data-dir: another supernode .*\/data$/],
    [new CodedError('ERR_KEY_FILE', 'too open'), /^--data-dir: too open$/],
    [new CodedError('ERR_ADDRESS_IN_USE', 'taken', { detail: { port: 8002 } }), /^--mesh-port: /],
    [new CodedError('ERR_ADDRESS_IN_USE', 'taken', { detail: { port: 8003 } }), /^--link-port: /],
    [new CodedError('ERR_ADDRESS_IN_USE', '10.0.0.1 port 8003 is taken'), /^--link-port: /],
    [new CodedError('ERR_USAGE', '--advertise must name an address'), /^--advertise must/],
    [new CodedError('ERR_ADDRESS_IN_USE', '--http-port: taken'), /^--http-port: taken$/],
    [new Error('a defect'), /^a defect$/],
  ] as const;
  for (const [error, message] of cases) t.regex(startFailure(error, plan).message, message);
  t.is(startFailure(new Error('a defect'), plan).code, 'ERR_INTERNAL');
});
