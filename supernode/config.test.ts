import test from 'ava';
import { renderOptionsDoc } from '../core/base/render-options.ts';
import { optionValues, resolveOptions } from '../core/base/resolve-options.ts';
import { planSupernode, supernodeFlags } from './config.ts';
import type { SupernodePlan } from './config.ts';

function plan(flags: Record<string, string | string[]>): SupernodePlan {
  const given = Object.entries({ 'data-dir': '/data', ...flags }).flatMap(([name, value]) =>
    [value].flat().map((text) => ({ name, spelled: `--${name}`, value: text })),
  );
  return planSupernode(
    optionValues(supernodeFlags, resolveOptions(supernodeFlags, { flags: given, env: {} })),
  );
}

test('planSupernode() has the ports and defaults of the contract', (t) => {
  const { supernode, http } = plan({ listen: '10.0.0.1' });
  t.deepEqual(supernode, {
    dataDir: '/data',
    listen: '10.0.0.1',
    advertise: [],
    advertiseAllow: [],
    meshPort: 8002,
    linkPort: 8003,
    httpPort: 8001,
    originAllow: [],
    originRate: 0,
    originHosts: [],
    uploadRate: 0,
    encryption: 'tls',
    compression: 'off',
    push: {},
    blobQuota: 10 * 1024 ** 3,
  });
  t.deepEqual(http, {
    host: '10.0.0.1',
    port: 8001,
    keyFile: undefined,
    isMetricsPublic: true,
    pushKeyFile: undefined,
    push: {},
  });
});

test('planSupernode() passes on what it is told', (t) => {
  const { supernode, http } = plan({
    listen: '::',
    advertise: ['10.0.0.1', 'fd00::1'],
    'advertise-allow': ['10.1.0.0/16'],
    'origin-allow': ['127.0.0.0/8', '::1'],
    quota: '10GiB',
    'origin-limit': '20MB/s',
    'origin-host-limit': ['files.example=50MB/s,4'],
    'link-workers': '2',
    'api-key-file': '/keys',
    'metrics-public': 'false',
    'push-to': 'percent=10',
    'push-registry': 'https://registry.test',
    'push-key-file': '/push-keys',
    'push-credentials': 'puller:a:b',
  });
  t.like(supernode, {
    advertise: ['10.0.0.1', 'fd00::1'],
    advertiseAllow: ['10.1.0.0/16'],
    originAllow: ['127.0.0.0/8', '::1/128'],
    quota: 10 * 1024 ** 3,
    originRate: 20 * 1024 ** 2,
    originHosts: [{ host: 'files.example', bytesPerSecond: 50 * 1024 ** 2, requests: 4 }],
    workers: 2,
  });
  const push = {
    to: 'percent=10',
    registry: 'https://registry.test',
    credentials: { username: 'puller', password: 'a:b' },
  };
  t.like(http, { keyFile: '/keys', isMetricsPublic: false, pushKeyFile: '/push-keys', push });
});

test('planSupernode() names the flags that contradict each other', (t) => {
  const isRefused = (flags: Record<string, string>, message: RegExp): void => {
    t.throws(() => plan(flags), { code: 'ERR_USAGE', message });
  };
  isRefused({}, /--advertise/);
  isRefused({ listen: '10.0.0.1', 'push-to': 'everybody' }, /--push-to: expected seeds/);
  isRefused({ listen: '10.0.0.1', 'origin-host-limit': 'a=fast' }, /--origin-host-limit: expected/);
  isRefused({ listen: '10.0.0.1', 'push-credentials': 'puller' }, /--push-credentials/);
  isRefused({ listen: '::' }, /--advertise/);
  isRefused({ listen: '10.0.0.1', advertise: '0.0.0.0' }, /--advertise/);
  isRefused({ listen: '10.0.0.1', 'link-port': '8002' }, /--mesh-port and --link-port .* 8002/);
  t.notThrows(() => plan({ listen: '10.0.0.1', 'link-port': '0', 'mesh-port': '0' }));
});

test('supernodeFlags describe every flag of the contract', (t) => {
  const doc = renderOptionsDoc('supernode', supernodeFlags);
  for (const flag of ['data-dir', 'listen', 'advertise', 'mesh-port', 'link-port', 'http-port']) {
    t.true(doc.includes(`\`--${flag}\``), flag);
  }
  t.true(doc.includes('`--api-key-file`') && doc.includes('`--origin-allow`'));
  t.true(doc.includes('`--no-metrics-public`'));
});
