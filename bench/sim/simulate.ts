import type { SimCase } from './sim-case.ts';
import type { SimHost } from './sim-host.ts';
import { SimWorld } from './sim-world.ts';

/** What one simulated host took; times in seconds. */
export interface SimHostResult {
  readonly idc: number;
  readonly isSlow: boolean;
  readonly joined: number;
  /** From its own join to its end; undefined when it died. */
  readonly seconds: number | undefined;
  readonly fromSeed: number;
  readonly fromPeers: number;
  readonly fromOrigin: number;
  readonly duplicate: number;
}

/** How far all were at a moment. */
export interface SimMoment {
  readonly seconds: number;
  /** How many hosts had the rarest, the middle, the commonest piece. */
  readonly rarest: number;
  readonly middle: number;
  readonly commonest: number;
  /** Bytes of a few hosts, always the same. */
  readonly bytes: readonly number[];
  /** Shares of what the cards of the seed and of all hosts could have sent since the last moment. */
  readonly seedBusy: number;
  readonly hostsBusy: number;
}

/** All that came of one case. */
export interface SimResult {
  readonly swarm: SimCase;
  readonly pieceLength: number;
  readonly pieces: number;
  readonly hosts: readonly SimHostResult[];
  readonly killedAfter: number | undefined;
  readonly seedBytes: number;
  readonly originBytes: number;
  /** From one idc to another; all that was sent, whether of use or not. */
  readonly crossedBytes: number;
  /** Requests made twice because a parent was late, and those taken back for a shorter line. */
  readonly hedges: number;
  readonly moves: number;
  readonly events: number;
  readonly moments: readonly SimMoment[];
}

/** Moments looked at in the least time that the content can take. */
const MOMENTS = 100;
const MAX_CURVES = 60;

/** Told of each moment while a case runs. */
export type OnMoment = (moment: SimMoment) => void;

/** Runs a case from its first byte to its last. */
export function simulate(swarm: SimCase, onMoment?: OnMoment): SimResult {
  const world = new SimWorld(swarm);
  const moments = watch(world, swarm, onMoment);
  world.run();
  const { pieceLength, pieces, killedAtMs, hedges, moves } = world;
  const firstSlow = swarm.hosts - (swarm.slow?.hosts ?? 0);
  return {
    swarm,
    pieceLength,
    pieces,
    hosts: world.hosts.map((host, at) => hostResult(host, at >= firstSlow)),
    killedAfter: killedAtMs === undefined ? undefined : killedAtMs / 1000,
    seedBytes: world.seedBytes,
    originBytes: world.originBytes,
    crossedBytes: world.pipes?.crossedBytes ?? 0,
    hedges,
    moves,
    events: world.queue.fired,
    moments,
  };
}

function hostResult(host: SimHost, isSlow: boolean): SimHostResult {
  const { idc, joinedMs, doneMs, isDown } = host;
  return {
    idc,
    isSlow,
    joined: joinedMs / 1000,
    seconds: doneMs === undefined || isDown ? undefined : (doneMs - joinedMs) / 1000,
    fromSeed: host.fromSeed,
    fromPeers: host.fromPeers,
    fromOrigin: host.fromOrigin,
    duplicate: host.duplicate,
  };
}

function watch(world: SimWorld, swarm: SimCase, onMoment?: OnMoment): readonly SimMoment[] {
  const { queue, pieces, pieceLength } = world;
  const stepMs = ((swarm.size / Math.min(swarm.up, swarm.down)) * 1000) / MOMENTS;
  const every = Math.ceil(swarm.hosts / MAX_CURVES);
  const shown = world.hosts.filter((_host, at) => at % every === 0);
  const moments: SimMoment[] = [];
  let seedSent = 0;
  let hostsSent = 0;
  const look = (): void => {
    const sorted = world.copies.toSorted();
    const seed = world.seedBytes;
    const hosts = world.hosts.reduce((sum, { card }) => sum + card.sentBytes, 0);
    const stepSeconds = stepMs / 1000;
    const moment: SimMoment = {
      seconds: queue.nowMs / 1000,
      rarest: sorted[0] ?? 0,
      middle: sorted[pieces >> 1] ?? 0,
      commonest: sorted.at(-1) ?? 0,
      bytes: shown.map(({ have }) => Math.min(swarm.size, have.count * pieceLength)),
      seedBusy: (seed - seedSent) / (swarm.seedUp * stepSeconds),
      hostsBusy: (hosts - hostsSent) / (swarm.up * swarm.hosts * stepSeconds),
    };
    moments.push(moment);
    onMoment?.(moment);
    seedSent = seed;
    hostsSent = hosts;
    if (world.isRunning) queue.call(stepMs, look);
  };
  queue.call(stepMs, look);
  return moments;
}
