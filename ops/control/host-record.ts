import { Type } from 'typebox';
import type { Static } from 'typebox';
import { HostFacts } from '../../core/wire/messages.ts';
import type { Labels } from './host-labels.ts';

/** Bounds of what is kept of hosts. */
export const hostLimits = {
  /** Hosts, retired ones among them. */
  hosts: 20_000,
} as const;

/** A host as it is kept: what it said of itself, and what the cell has signed. */
export const HostRow = Type.Object({
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
  location: Type.Optional(Type.String()),
  role: Type.Enum(['host', 'seed']),
  /** Cell time, ms. */
  firstSeen: Type.Integer(),
  facts: HostFacts,
});

/** That a host is out of the cell for good: since when (cell time, ms) and by whom. */
export const Retirement = Type.Object({ at: Type.Integer(), by: Type.String() });

/** When a host was last here, cell time, ms. */
export const SeenRow = Type.Object({ at: Type.Integer() });

export type HostRow = Static<typeof HostRow>;
export type Retirement = Static<typeof Retirement>;

/** A connected host as the table sees it. */
export interface PresentHost {
  /** Peer id. */
  readonly peer: string;
  readonly hostname?: string | undefined;
  readonly idc?: string | undefined;
  readonly location?: string | undefined;
  readonly role: 'host' | 'seed';
  /** Undefined: it says none. */
  readonly facts?: HostFacts | undefined;
}

/** Who is told which hosts come and go. */
export interface HostListener {
  connected(host: PresentHost): void;
  /** A host that came back on another connection is another `PresentHost`: the former one is not missed. */
  disconnected(host: PresentHost): void;
}

/** Everything that is known of a host that is or was connected. */
export interface KnownHost extends Readonly<HostRow> {
  readonly peer: string;
  readonly labels: Labels;
  readonly isConnected: boolean;
  /** Cell time, ms; of a connected one when it came. */
  readonly lastSeen: number;
  readonly retired?: Retirement | undefined;
}
