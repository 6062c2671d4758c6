import test from 'ava';
import { readSwarmCommand } from './swarm-case.ts';

const read = (text: string): ReturnType<typeof readSwarmCommand> =>
  readSwarmCommand(text.split(' ').filter((word) => word !== ''));

test('readSwarmCommand() without words is the case of 16 hosts', (t) => {
  t.like(read('')?.swarm, {
    hosts: 16,
    size: 256 * 1024 * 1024,
    rate: 50_000_000,
    form: 'package',
    beside: [],
    slow: undefined,
  });
  t.is(read('--help'), undefined);
});

test('readSwarmCommand() reads every case', (t) => {
  const rest = '--hosts 8 --rate 20mbit --size 128MiB --source';
  t.is(read(`${rest} --delay 20ms`)?.swarm.delayMs, 20);
  t.is(read(`${rest} --loss 1%`)?.swarm.loss, 0.01);
  t.is(read(`${rest} --kill 25%`)?.swarm.kill, 0.25);
  t.is(read(`${rest} --join-over 30s`)?.swarm.joinOverMs, 30_000);
  t.deepEqual(read(`${rest} --slow 3:0.2`)?.swarm.slow, { hosts: 3, factor: 0.2 });
  t.like(read(`${rest} --idcs 2 --thin 50mbit`)?.swarm, { idcs: 2, thin: 50_000_000 });
  t.deepEqual(read(`${rest} --beside curl,bittorrent`)?.swarm.beside, ['curl', 'bittorrent']);
});

for (const [words, complaint] of [
  ['--hosts 1', /--hosts: a number from 2/],
  ['--size x', /--size: a size/],
  ['--rate 0', /--rate: a rate above 0/],
  ['--loss 2', /--loss: a share/],
  ['--slow 3', /--slow: hosts and part/],
  ['--slow 16:0.5', /--slow: fewer than --hosts 16/],
  ['--beside wget', /--beside: curl or bittorrent, got wget/],
  ['--kill 25% --join-over 3s', /one at a time/],
  ['--kill 25% --beside curl', /--beside: not with/],
] as const) {
  test(`readSwarmCommand() refuses ${words} by name`, (t) => {
    t.throws(() => read(words), { code: 'ERR_USAGE', message: complaint });
  });
}
