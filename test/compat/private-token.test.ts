// A registry with a token server behind the mirror.
import test from 'ava';
import { labOf } from './mirror-lab.ts';
import { keepsPrivate } from './strangers.ts';

const labOfAll = labOf(test, () => ({ hosts: 3, auth: 'token' }));

test('tokens: the user pulls; others get the 401 of the registry itself, whatever is cached where', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('secret', [
    { kind: 'random', bytes: 8 * 1024 * 1024 },
    { kind: 'random', bytes: 20_000 },
  ]);
  await keepsPrivate(t, lab, image);
});
