import test from 'ava';
import { readSimCommand } from './sim-command.ts';

test('readSimCommand() reads a case, with rates that differ', (t) => {
  const words = '--hosts 40 --size 2GiB --rate 1gbit --seed-rate 500mbit --slow 3:0.2 --kill 25%';
  const { swarm } = readSimCommand([...words.split(' '), '--delay', '20ms']) ?? {};
  t.like(swarm, {
    hosts: 40,
    size: 2 * 1024 ** 3,
    up: 125e6,
    down: 125e6,
    seedUp: 62.5e6,
    originRate: 125e6,
    slow: { hosts: 3, factor: 0.2 },
    kill: 0.25,
    delayMs: 20,
  });
  t.is(readSimCommand(['--help']), undefined);
});

test('readSimCommand() takes the case of a real run, or one of its own, not both', (t) => {
  t.like(readSimCommand(['--replay', 'run.json', '--chance', '7']), { replay: 'run.json' });
  const words = ['--replay', 'run.json', '--kill', '25%'];
  const error = t.throws(() => readSimCommand(words), { code: 'ERR_USAGE' });
  t.true(error.message.startsWith('--kill'), error.message);
});

test('readSimCommand() names the flag that is wrong', (t) => {
  for (const [flag, text] of [
    ['--hosts', '0'],
    ['--size', 'much'],
    ['--rate', '0'],
    ['--seed-rate', 'fast'],
    ['--slow', '3'],
    ['--slow', '16:0.5'],
    ['--kill', '100%'],
    ['--delay', '20'],
    ['--thin', '20mbit'],
    ['--lose-supernode', '2s'],
    ['--back', '2s'],
  ] as const) {
    const error = t.throws(() => readSimCommand([flag, text]), { code: 'ERR_USAGE' });
    t.true(error.message.startsWith(flag), error.message);
  }
});
