/** `npm run lab`: hosts with slow, lossy and distant links on this machine, for a person to try things on. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { CodedError } from '../../core/base/error.ts';
import { commandError } from '../cluster/command-error.ts';
import { interruptSignal } from '../cluster/interrupt-signal.ts';
import { renderTable } from '../report/table.ts';
import { bitRate, count, milliseconds, share } from './flags.ts';
import { labName } from './lab-names.ts';
import { requireLab } from './lab-tools.ts';
import { Lab } from './lab.ts';
import type { LabState } from './lab.ts';
import { allLabs, removeLab } from './teardown.ts';

const usage = `Hosts on this machine, each with its own network: rates, delay, loss. Needs root, ip, tc, nft, ethtool.

  npm run lab -- up --hosts N [--rate R] [--up R] [--down R] [--delay D] [--loss P%] [--idcs N --thin R]
  npm run lab -- status | exec HOST COMMAND… | rate HOST R [R] | cut HOST | heal HOST | down

  up            hosts 1 to N, which reach each other and are reached from here by address
  status        every lab that is up, with its hosts
  exec          runs a command on a host
  rate          gives a host another rate; two: up and down; 0 is no limit
  cut, heal     pulls the plug of a host, and puts it back
  down          kills what runs on the hosts of every lab (or of --lab) and removes them

  --lab NAME    which lab; default: main
  --rate R      such as 200mbit or 10MiB/s, of each host, up and down; default: no limit
  --delay D     such as 20ms, one way, between any two hosts
  --loss P      such as 1% or 0.01, of the packets that come in at a host
  --idcs N      hosts stand in N places in turn; --thin R is the rate between the first and each other
  --json        prints the lab, or labs, as JSON`;

const DEFAULT_LAB = 'main';
const options = {
  lab: { type: 'string' },
  hosts: { type: 'string' },
  rate: { type: 'string', default: '0' },
  up: { type: 'string' },
  down: { type: 'string' },
  delay: { type: 'string', default: '0' },
  loss: { type: 'string', default: '0' },
  idcs: { type: 'string', default: '1' },
  thin: { type: 'string', default: '0' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parse>['values'];

const parse = (args: readonly string[]) =>
  parseArgs({ args: [...args], allowPositionals: true, options });

async function up(values: Values, signal: AbortSignal): Promise<LabState> {
  if (values.hosts === undefined) throw new CodedError('ERR_USAGE', '--hosts: how many?');
  const idcs = count('--idcs', values.idcs);
  const hosts = Array.from({ length: count('--hosts', values.hosts) }, (_item, at) => ({
    name: `${at + 1}`,
    idc: at % idcs,
  }));
  const lab = await Lab.up({
    name: values.lab ?? DEFAULT_LAB,
    hosts,
    rate: {
      up: bitRate('--up', values.up ?? values.rate),
      down: bitRate('--down', values.down ?? values.rate),
    },
    delayMs: milliseconds('--delay', values.delay),
    loss: share('--loss', values.loss),
    thin: bitRate('--thin', values.thin),
    signal,
  });
  signal.throwIfAborted();
  await lab.keep();
  return lab.state;
}

async function status(values: Values): Promise<LabState[]> {
  const names = values.lab === undefined ? await allLabs() : [values.lab];
  const found: LabState[] = [];
  for (const name of names) {
    try {
      found.push((await Lab.open(name)).state);
    } catch (error) {
      // One that is being made or removed, or what is left of one; a name that was asked for must be there.
      if (values.lab !== undefined || CodedError.from(error).code !== 'ERR_NOT_FOUND') throw error;
    }
  }
  return found;
}

async function down(values: Values): Promise<string[]> {
  const names = values.lab === undefined ? await allLabs() : [labName(values.lab)];
  for (const name of names) await removeLab(name);
  return names;
}

async function change(verb: string, words: readonly string[], values: Values): Promise<LabState> {
  const lab = await Lab.open(values.lab ?? DEFAULT_LAB);
  const [host, first, second] = words;
  if (host === undefined) throw new CodedError('ERR_USAGE', `${verb}: of which host?`);
  if (verb === 'cut') await lab.cut(host);
  else if (verb === 'heal') await lab.heal(host);
  else if (first === undefined) throw new CodedError('ERR_USAGE', 'rate: which?');
  else
    await lab.setRate(host, { up: bitRate('rate', first), down: bitRate('rate', second ?? first) });
  return lab.state;
}

/** Everything behind `exec HOST` is the command's own. */
async function exec(words: readonly string[]): Promise<number> {
  const hasName = words[0] === '--lab';
  const [host, ...command] = hasName ? words.slice(2) : words;
  if (host === undefined || command.length === 0) {
    throw new CodedError('ERR_USAGE', 'exec: a host and a command');
  }
  const lab = await Lab.open(hasName ? (words[1] ?? '') : DEFAULT_LAB);
  const [tool = '', ...args] = [...lab.enter(host), ...command];
  const child = spawn(tool, args, { stdio: 'inherit' });
  const [exitCode] = await once(child, 'exit');
  return typeof exitCode === 'number' ? exitCode : 128;
}

function render(states: readonly LabState[]): string {
  if (states.length === 0) return 'no lab is up';
  return states.map(renderLab).join('\n');
}

function rate(bits: number): string {
  return bits === 0 ? 'no limit' : `${bits / 1e6} Mbit/s`;
}

function renderLab({ name, delayMs, loss, thin, hosts }: LabState): string {
  const columns = ['host', 'address', 'up', 'down', 'idc', 'namespace', 'state'];
  const rows = hosts.map((host) => ({
    host: host.name,
    address: host.address,
    up: rate(host.rate.up),
    down: rate(host.rate.down),
    idc: host.idc,
    namespace: host.namespace,
    state: host.isCut ? 'cut' : 'up',
  }));
  const facts = [`lab ${name}`, `${hosts.length} hosts`];
  if (delayMs > 0) facts.push(`delay ${delayMs} ms one way`);
  if (loss > 0) facts.push(`loss ${loss * 100} %`);
  if (thin > 0) facts.push(`${rate(thin)} between idcs`);
  return `${facts.join(', ')}\n\n${renderTable(columns, rows)}`;
}

async function main(args: readonly string[], signal: AbortSignal): Promise<void> {
  if (args[0] === 'exec') {
    requireLab();
    process.exitCode = await exec(args.slice(1));
    return;
  }
  const { values, positionals } = parse(args);
  const [verb, ...words] = positionals;
  if (values.help || verb === undefined) {
    console.log(usage);
    return;
  }
  requireLab();
  const say = (state: unknown, text: string): void =>
    console.log(values.json ? JSON.stringify(state) : text);
  if (verb === 'up') {
    const state = await up(values, signal);
    say(state, render([state]));
  } else if (verb === 'status') {
    const states = await status(values);
    say(states, render(states));
  } else if (verb === 'down') {
    const names = await down(values);
    say(names, names.length === 0 ? 'no lab was up' : `removed: ${names.join(', ')}`);
  } else if (['rate', 'cut', 'heal'].includes(verb)) {
    const state = await change(verb, words, values);
    say(state, render([state]));
  } else {
    throw new CodedError('ERR_USAGE', `there is no ${verb}; see npm run lab -- --help`);
  }
}

const interrupt = interruptSignal();
try {
  await main(process.argv.slice(2), interrupt);
} catch (error) {
  const coded = commandError(error);
  console.error(interrupt.aborted ? 'stopped' : `lab: ${coded.message}`);
  process.exitCode = interrupt.aborted ? 130 : coded.facts.exit;
}
