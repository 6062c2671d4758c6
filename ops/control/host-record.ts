import { Type } from 'typebox';
import type { Static } from 'typebox';
import { HostFacts } from '../../core/wire/messages.ts';

/** Bounds of what is kept of hosts. */
export const hostLimits = {
  /** Hosts, retired ones among them. */
  hosts: 20_000,
  /** Labels of one host. */
  labels: 32,
  /** Hosts that are labelled in one go: each is a row beside one record of the audit. */
  labelled: 4_000,
} as const;

const LABEL_KEY = '[a-z0-9][a-z0-9._/-]{0,62}';
const LABEL_VALUE = '[A-Za-z0-9._:/@+-]{1,128}';

export const LabelKey = Type.String({ pattern: `^${LABEL_KEY}$` });
export const LabelValue = Type.String({ pattern: `^${LABEL_VALUE}$` });
/** What operators say of a host. */
export const Labels = Type.Record(LabelKey, LabelValue, {
  maxProperties: hostLimits.labels,
  additionalProperties: false,
});

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

/** What of labels is to become otherwise. */
export const LabelChange = Type.Object({
  set: Type.Optional(Labels),
  remove: Type.Optional(Type.Array(LabelKey, { maxItems: hostLimits.labels })),
});

export type Labels = Static<typeof Labels>;
export type LabelChange = Static<typeof LabelChange>;
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
