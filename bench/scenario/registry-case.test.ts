import test from 'ava';
import { readRegistryCommand } from './registry-case.ts';

const MIB = 1024 * 1024;
const read = (text: string): ReturnType<typeof readRegistryCommand> =>
  readRegistryCommand(text.split(' ').filter((word) => word !== ''));

test('readRegistryCommand() without words is the case of 8 hosts and 300 MB', (t) => {
  const standard = { hosts: 8, size: 300 * MIB, layers: 5, rate: 50_000_000, rounds: 1 };
  t.like(read('')?.registry, { ...standard, blob: 100 * MIB, form: 'package' });
  t.is(read('--help'), undefined);
});

for (const [words, complaint] of [
  ['--hosts 1', /--hosts: a number from 2/],
  ['--size x', /--size: a size/],
  ['--blob 0', /--blob: a size/],
  ['--rate 0', /--rate: a rate above 0/],
  ['--rounds 0', /--rounds: a number from 1/],
] as const) {
  test(`readRegistryCommand() refuses ${words} by name`, (t) => {
    t.throws(() => read(words), { code: 'ERR_USAGE', message: complaint });
  });
}
