/** `npm run bench -- SCENARIO`: measures, prints what this machine allows beside it, and keeps the figures as JSON. */
import { CodedError } from '../core/base/error.ts';
import { commandError } from './cluster/command-error.ts';
import { interruptSignal } from './cluster/interrupt-signal.ts';
import { adaptiveCommand } from './scenario/adaptive-command.ts';
import { callsCommand } from './scenario/calls-command.ts';
import { cellCommand } from './scenario/cell-command.ts';
import { compressionCommand } from './scenario/compression-command.ts';
import { crowdCommand } from './scenario/crowd-command.ts';
import { limitsCommand } from './scenario/limits-command.ts';
import { linkCommand } from './scenario/link-command.ts';
import { prioritiesCommand } from './scenario/priorities-command.ts';
import { registryCommand } from './scenario/registry-command.ts';
import { releaseCommand } from './scenario/release-command.ts';
import { singleCommand } from './scenario/single-command.ts';
import { soakCommand } from './scenario/soak-command.ts';
import { storeCommand } from './scenario/store-command.ts';
import { swarmCommand } from './scenario/swarm-command.ts';
import { simCommand } from './sim/sim-command.ts';

type Command = (args: string[], signal: AbortSignal) => Promise<void>;

const scenarios: Readonly<Record<string, readonly [run: Command, about: string]>> = {
  single: [
    singleCommand,
    'one file to one host, beside curl and aria2c: cold, warm, and to a second host',
  ],
  swarm: [swarmCommand, 'one file to many hosts at once, in a lab, beside curl and BitTorrent'],
  crowd: [crowdCommand, 'a thousand connected hosts on one supernode, and what they cost it'],
  link: [linkCommand, 'one parent to one child, the piece link by itself, beside curl from nginx'],
  registry: [
    registryCommand,
    'images through the mirrors of many hosts, in a lab, beside the registry itself',
  ],
  calls: [
    callsCommand,
    'commands on many hosts: how soon, how many a second, none lost or doubled',
  ],
  release: [
    releaseCommand,
    'a web service released to many hosts: well, amid deaths of the supernode, and badly',
  ],
  limits: [limitsCommand, 'what passes each rate limit against what it was set to'],
  cell: [cellCommand, 'what passes all hosts of a cell against its budget, in a lab'],
  priorities: [prioritiesCommand, 'what of a line a release gets amid warm-ups, in a lab'],
  adaptive: [
    adaptiveCommand,
    'what other programs of a host keep of its line and its disk beside it',
  ],
  compression: [
    compressionCommand,
    'content of several kinds over slow and fast links, in a lab, compressed and raw',
  ],
  store: [storeCommand, 'how long a store takes to open, and what its journal comes to'],
  soak: [soakCommand, 'a small cell for a long time: deaths, full disks, and no wrong byte'],
  sim: [simCommand, 'one file to many hosts in virtual time, for as many hosts as one likes'],
};

async function main([name, ...args]: string[], signal: AbortSignal): Promise<void> {
  if (name === undefined || name === '--help') {
    console.log(usage());
    return;
  }
  const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
  if (scenario === undefined) {
    const names = Object.keys(scenarios).join(', ');
    throw new CodedError('ERR_USAGE', `there is no scenario ${name}; there are: ${names}`);
  }
  await scenario[0](args, signal);
}

function usage(): string {
  const lines = Object.entries(scenarios).map(
    ([name, [, about]]) => `  ${name.padEnd(12)}${about}`,
  );
  const head = 'Measures this checkout on this machine: npm run bench -- SCENARIO [--help] …';
  return [head, '', ...lines].join('\n');
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
