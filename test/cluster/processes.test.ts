import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Command } from '../../bench/cluster/command.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Program } from '../../bench/cluster/program.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { processCpuSeconds, processMemory, withCpuUse } from '../../bench/measure/process-usage.ts';

const MIB = 1024 * 1024;

/** Opens a workplace, starts a program that never ends by itself, says both, and waits. */
const KILLED = `
import { Workplace } from ${JSON.stringify(join(checkout, 'bench/cluster/workplace.ts'))};
import { Program } from ${JSON.stringify(join(checkout, 'bench/cluster/program.ts'))};
const { folder, guard } = await Workplace.open();
const argv = [process.execPath, '-e', 'setInterval(() => {}, 1000)'];
const program = await Program.start(
  { name: 'endless', argv, logFile: folder + '/log', guard, look: async () => true },
);
console.log(JSON.stringify({ folder, pid: program.pid }));
await new Promise(() => setInterval(() => {}, 1000));
`;

const isAlive = async (pid: number): Promise<boolean> => (await processMemory(pid)) !== undefined;

test.serial(
  'Workplace leaves no process and no folder when its own process is killed',
  async (t) => {
    await using workplace = await Workplace.open();
    const { guard } = workplace;
    const said = Promise.withResolvers<{ folder: string; pid: number }>();
    const argv = [process.execPath, '--input-type=module', '-e', KILLED];
    const command = await Command.start(argv, {
      guard,
      onLine: (line) => said.resolve(JSON.parse(line) as { folder: string; pid: number }),
    });
    const { folder, pid } = await said.promise;
    t.true(await isAlive(pid));
    t.true(existsSync(folder));
    command.kill('SIGKILL');
    await command.result;
    await eventually('all gone', async () =>
      !(await isAlive(pid)) && !existsSync(folder) ? true : undefined,
    );
    t.pass();
  },
);

test.serial(
  'Program shows the last log lines of a program that ends at once, and can be restarted',
  async (t) => {
    await using workplace = await Workplace.open();
    const { guard, folder } = workplace;
    const failing = {
      name: 'failing',
      argv: [process.execPath, '-e', 'console.error("no port for you"); process.exit(3)'],
      logFile: join(folder, 'failing.log'),
      guard,
      look: async () => undefined,
    };
    await t.throwsAsync(Program.start(failing), { message: /no port for you/ });

    const logFile = join(folder, 'serving.log');
    const serving = {
      name: 'serving',
      argv: [process.execPath, '-e', 'console.log("up"); setInterval(() => {}, 1000)'],
      logFile,
      guard,
      look: async () => ((await readFile(logFile, 'utf8')) === '' ? undefined : true),
    };
    await using program = await Program.start(serving);
    const { pid } = program;
    await program.kill('SIGKILL');
    t.false(program.isRunning);
    t.false(await isAlive(pid));
    await program.start();
    t.not(program.pid, pid);
    t.true(await isAlive(program.pid));
  },
);

test.serial(
  'withCpuUse() counts commands and programs apart, and processMemory() what they hold',
  async (t) => {
    await using workplace = await Workplace.open();
    const { guard, folder } = workplace;
    const burn = 'const end = performance.now() + 300; while (performance.now() < end);';
    const logFile = join(folder, 'burning.log');
    await using program = await Program.start({
      name: 'burning',
      argv: [
        process.execPath,
        '-e',
        `const held = Buffer.alloc(${64 * MIB}, 1); console.log(held.length); setInterval(() => { ${burn} }, 1)`,
      ],
      logFile,
      guard,
      look: async () => ((await readFile(logFile, 'utf8')) === '' ? undefined : true),
    });
    const { cpu } = await withCpuUse({ burning: program.pid }, async () => {
      const command = await Command.start([process.execPath, '-e', burn], { guard });
      await command.result;
    });
    t.true(cpu.commands > 0, `${cpu.commands} s`);
    t.true((cpu.programs['burning'] ?? 0) > 0);
    t.is(cpu.total, cpu.commands + (cpu.programs['burning'] ?? 0));
    t.true(cpu.machine > 0 && cpu.machine <= 1);
    t.true(cpu.others >= 0 && cpu.others < cpu.machine);
    const memory = await processMemory(program.pid);
    t.true((memory?.rssAnon ?? 0) > 64 * MIB);
    t.true((memory?.rss ?? 0) > (memory?.rssAnon ?? 0));
    t.true((memory?.peakRss ?? 0) >= (memory?.rss ?? 0));
    t.true((memory?.pss ?? 0) > 64 * MIB);
    t.is(await processCpuSeconds(2 ** 30), undefined);
  },
);
