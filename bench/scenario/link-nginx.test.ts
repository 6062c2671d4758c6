import test from 'ava';
import { requireNginx } from './link-nginx.ts';

test('requireNginx() names the package of what is missing, and the way without it', (t) => {
  const error = t.throws(() => requireNginx((tool) => tool !== 'nginx'), { code: 'ERR_USAGE' });
  t.regex(error.message, /with nginx,.*apt-get install nginx-light, or --alone/);
  t.notThrows(() => requireNginx(() => true));
});
