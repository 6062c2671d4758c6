import test from 'ava';
import { defaultSocketPath, socketCandidates } from './default-paths.ts';

const machine = '/run/odonata/dfdaemon.sock';

test('defaultSocketPath() is the machine’s for root, the user’s own otherwise', (t) => {
  t.is(defaultSocketPath({ uid: 0, home: '/root', runtimeDir: '/run/user/0' }), machine);
  const user = { uid: 1000, home: '/home/ann' };
  t.is(defaultSocketPath(user), '/home/ann/.odonata/dfdaemon.sock');
  t.is(
    defaultSocketPath({ ...user, runtimeDir: '/run/user/1000' }),
    '/run/user/1000/odonata/dfdaemon.sock',
  );
});

test('socketCandidates() lets a plain user find the machine’s daemon after his own', (t) => {
  t.deepEqual(socketCandidates({ uid: 0, home: '/root' }), [machine]);
  t.deepEqual(socketCandidates({ uid: 1, home: '/h' }), ['/h/.odonata/dfdaemon.sock', machine]);
});
