/** `npm run bench -- SCENARIO`: measures, prints what this machine allows beside it, and keeps the figures as JSON. */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { CodedError } from '../core/base/error.ts';
import { parseSize } from '../core/base/units.ts';
import { commandError } from './cluster/command-error.ts';
import { interruptSignal } from './cluster/interrupt-signal.ts';
import { barsOf, renderSingle, summarize } from './report/single-report.ts';
import { linkCommand } from './scenario/link-command.ts';
import { runSingle } from './scenario/single.ts';
import type { SingleOptions } from './scenario/single.ts';
import { crowdCommand } from './scenario/crowd-command.ts';
import { limitsCommand } from './scenario/limits-command.ts';
import { registryCommand } from './scenario/registry-command.ts';
import { swarmCommand } from './scenario/swarm-command.ts';
import { simCommand } from './sim/sim-command.ts';

const usage = `Measures this checkout on this machine.

  npm run bench -- single [--sizes 1,1MiB,100MiB,1GiB] [--rounds N] [--source] [--dir DIR] [--json FILE]
  npm run bench -- swarm [--hosts N] [--size S] [--rate R] …    see npm run bench -- swarm --help
  npm run bench -- crowd [--hosts N] …                          see npm run bench -- crowd --help
  npm run bench -- link [--size S] [--rounds N] …               see npm run bench -- link --help
  npm run bench -- registry [--hosts N] [--size S] …            see npm run bench -- registry --help
  npm run bench -- limits [--rates LIST] …                      see npm run bench -- limits --help
  npm run bench -- sim [--hosts N] [--size S] [--rate R] …      see npm run bench -- sim --help

  single        one file to one host, beside curl and aria2c: cold, warm, and to a second host
  swarm         one file to many hosts at once, in a lab, beside curl and BitTorrent
  crowd         a thousand connected hosts on one supernode, and what they cost it
  link          one parent to one child, the piece link by itself, beside curl from nginx
  registry      images through the mirrors of many hosts at once, in a lab, beside the registry itself
  limits        what passes each rate limit against what it was set to
  sim           one file to many hosts in virtual time, for as many hosts as one likes
  --sizes LIST  sizes, parted by commas
  --rounds N    how often each; default 11 below 10 MiB, 5 above
  --source      run the TypeScript; default: built, packed and unpacked as users get it
  --dir DIR     folder on the filesystem to measure; default the system's for temporary files
  --json FILE   also write every figure there`;

const DEFAULT_SIZES = '1,1MiB,100MiB,1GiB';
const MIB = 1024 * 1024;

function sizesOf(text: string, rounds: string | undefined): SingleOptions['sizes'] {
  const every = rounds === undefined ? undefined : Number(rounds);
  if (every !== undefined && !(Number.isInteger(every) && every > 0)) {
    throw new CodedError('ERR_USAGE', `--rounds: a number above 0, got ${rounds}`);
  }
  return text.split(',').map((item) => {
    const bytes = parseSize(item.trim());
    if (bytes === undefined || bytes === 0) {
      throw new CodedError('ERR_USAGE', `--sizes: sizes such as ${DEFAULT_SIZES}, got ${item}`);
    }
    const usual = bytes < 10 * MIB ? 11 : 5;
    return { bytes, rounds: every ?? usual };
  });
}

async function main(args: string[], signal: AbortSignal): Promise<void> {
  if (args[0] === 'swarm') {
    await swarmCommand(args.slice(1), signal);
    return;
  }
  if (args[0] === 'crowd') {
    await crowdCommand(args.slice(1), signal);
    return;
  }
  if (args[0] === 'link') {
    await linkCommand(args.slice(1), signal);
    return;
  }
  if (args[0] === 'registry') {
    await registryCommand(args.slice(1), signal);
    return;
  }
  if (args[0] === 'limits') {
    await limitsCommand(args.slice(1), signal);
    return;
  }
  if (args[0] === 'sim') {
    await simCommand(args.slice(1));
    return;
  }
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      sizes: { type: 'string', default: DEFAULT_SIZES },
      rounds: { type: 'string' },
      source: { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const [scenario] = positionals;
  if (values.help || scenario === undefined) {
    console.log(usage);
    return;
  }
  if (scenario !== 'single') {
    throw new CodedError(
      'ERR_USAGE',
      `there is no scenario ${scenario}; there are: single, swarm, crowd, link, registry, limits, sim`,
    );
  }
  const result = await runSingle({
    form: values.source ? 'source' : 'package',
    sizes: sizesOf(values.sizes, values.rounds),
    ...(values.dir === undefined ? {} : { parent: values.dir }),
    signal,
    onStep: (text) => console.error(`… ${text}`),
  });
  console.log(renderSingle(result));
  if (values.json === undefined) return;
  const kept = { ...result, summary: summarize(result.samples), bars: barsOf(result) };
  await writeFile(values.json, `${JSON.stringify(kept, undefined, 2)}\n`);
}

// A simulation never waits, so it would not hear of a signal: the system is to end it.
const isDeaf = process.argv[2] === 'sim';
const interrupt = isDeaf ? new AbortController().signal : interruptSignal();
try {
  await main(process.argv.slice(2), interrupt);
} catch (error) {
  const { message, facts } = commandError(error);
  console.error(interrupt.aborted ? 'stopped' : `bench: ${message}`);
  process.exitCode = interrupt.aborted ? 130 : facts.exit;
}
