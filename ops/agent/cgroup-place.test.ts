import test from 'ava';
import { ownCgroup } from './cgroup-place.ts';

const v1 = '25 18 0:22 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory';
const hybrid = '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw';
const unified = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate';

function own(mount: string, groups: string): string | undefined {
  return ownCgroup({ mounts: `${v1}\n${mount}\n`, groups });
}

test('ownCgroup() finds the group of this process in the mount of v2, wherever that is', (t) => {
  t.is(own(unified, '0::/system.slice/a.service\n'), '/sys/fs/cgroup/system.slice/a.service');
  t.is(own(hybrid, '9:name=systemd:/x\n4:memory:/m\n0::/\n'), '/sys/fs/cgroup/unified');
  const part = '30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw';
  t.is(own(part, '0::/docker/ab/c\n'), '/sys/fs/cgroup/c');
  t.is(own(part, '0::/docker/ab\n'), '/sys/fs/cgroup');
  const odd = String.raw`30 23 0:26 / /mnt/a\040b rw - cgroup2 none rw`;
  t.is(own(odd, '0::/..x/y\n'), '/mnt/a b/..x/y');
});

test('ownCgroup() finds none without v2, or outside of what is mounted', (t) => {
  t.is(ownCgroup({ mounts: v1, groups: '4:memory:/\n' }), undefined);
  t.is(ownCgroup({ mounts: v1, groups: '4:memory:/\n0::/\n' }), undefined);
  t.is(ownCgroup({ mounts: unified, groups: '4:memory:/\n' }), undefined);
  t.is(ownCgroup({ mounts: unified, groups: '0::/../..\n' }), undefined);
  const part = '30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw';
  t.is(ownCgroup({ mounts: part, groups: '0::/docker/abc\n' }), undefined);
  t.is(ownCgroup({ mounts: '', groups: '' }), undefined);
  t.is(ownCgroup({ mounts: ' - \n-', groups: '0::' }), undefined);
});
