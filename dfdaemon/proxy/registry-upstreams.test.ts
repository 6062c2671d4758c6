import test from 'ava';
import { Upstreams } from './registry-upstreams.ts';

test('Upstreams reach registries by https, by http on loopback and where told so', (t) => {
  const insecureRegistries = ['plain.test', 'ported.test:5000', '::1', '10.0.0.1'];
  const upstreams = new Upstreams({ insecureRegistries });
  const origins = {
    'registry.test': 'https://registry.test',
    'Registry.Test:5000': 'https://registry.test:5000',
    'plain.test': 'http://plain.test',
    'plain.test:81': 'http://plain.test:81',
    'ported.test:5000': 'http://ported.test:5000',
    'ported.test': 'https://ported.test',
    '127.0.0.9:5000': 'http://127.0.0.9:5000',
    '127.evil.test': 'https://127.evil.test',
    localhost: 'http://localhost',
    '10.0.0.1:5000': 'http://10.0.0.1:5000',
    '[::1]:5000': 'http://[::1]:5000',
    '[fd00::1]:5000': 'https://[fd00::1]:5000',
    'docker.io': 'https://registry-1.docker.io',
  };
  for (const [name, origin] of Object.entries(origins)) {
    t.is(upstreams.named(name)?.origin, origin, name);
  }
  for (const name of [
    '',
    'a b',
    'user@host',
    'host/path',
    'host:0',
    'host:99999',
    'a..b',
    '1.2.3',
  ]) {
    t.is(upstreams.named(name), undefined, name);
  }
});

test('Upstreams take the scheme of the default registry as it was given, and refuse what is more than a registry', (t) => {
  const upstreams = new Upstreams({ registry: 'http://registry.test:5000' });
  t.like(upstreams.default, { name: 'registry.test:5000', origin: 'http://registry.test:5000' });
  t.is(upstreams.named('registry.test:5000'), upstreams.default);
  t.is(new Upstreams().default, undefined);
  for (const registry of ['https://r.test/v2/', 'https://u:p@r.test', 'ftp://r.test', 'r.test']) {
    t.throws(() => new Upstreams({ registry }), { code: 'ERR_USAGE', message: /^--registry: / });
  }
  t.throws(() => new Upstreams({ insecureRegistries: ['http://r.test'] }), {
    code: 'ERR_USAGE',
    message: /^--insecure-registry: /,
  });
});
