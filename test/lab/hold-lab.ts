/** Makes a lab of two hosts with a process on one of them, says so, and waits to be killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Lab } from '../../bench/lab/lab.ts';

const [name = ''] = process.argv.slice(2);
await using lab = await Lab.up({ name, hosts: [{ name: '1' }, { name: '2' }], delayMs: 1 });
const [tool, ...args] = lab.enter('1');
spawn(tool ?? '', [...args, 'sleep', '600'], { stdio: 'ignore', detached: true });
process.stdout.write('up\n');
await once(process.stdin.resume(), 'end');
