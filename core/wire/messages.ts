import { Type } from 'typebox';
import type { Static } from 'typebox';
import { priorities } from '../base/priority.ts';

/**
 * What hosts and supernodes say to each other over the mesh, as schemas; types follow from them.
 * docs/protocol.md tells the order of the conversation.
 */

/** Protocol names; the number changes when an old reader could not understand a new writer. */
export const protocols = {
  join: '/odonata/join/1',
  control: '/odonata/control/1',
} as const;

const PeerId = Type.String({ minLength: 20, maxLength: 100 });
const TaskId = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Version = Type.String({ pattern: '^[0-9a-f]{16}$' });
const Envelope = Type.String({ maxLength: 900_000 });
const Address = Type.String({ minLength: 3, maxLength: 300 });
const Addresses = Type.Array(Address, { maxItems: 16 });
const PieceIndex = Type.Integer({ minimum: 0, maximum: 16_777_215 });
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Digest = Type.String({
  pattern:
    '^(?:md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|crc32:[0-9a-f]{8})$',
});
const Text = Type.String({ maxLength: 4096 });
const RequestId = Type.Integer({ minimum: 0 });

const Failure = Type.Object({
  code: Type.String({ maxLength: 64 }),
  message: Text,
  detail: Type.Optional(
    Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
  ),
});

const Validators = Type.Object({
  etag: Type.Optional(Type.String({ maxLength: 1024 })),
  lastModified: Type.Optional(Type.String({ maxLength: 100 })),
});

/** What a supernode says first to whoever opens the join protocol. */
export const Credentials = Type.Object({
  type: Type.Literal('credentials'),
  cell: PeerId,
  certificates: Type.Array(Envelope, { maxItems: 64 }),
});

export const Join = Type.Object({
  type: Type.Literal('join'),
  token: Type.String({ maxLength: 200 }),
  secret: Type.String({ maxLength: 200 }),
  role: Type.Optional(Type.Union([Type.Literal('host'), Type.Literal('seed')])),
  idc: Type.Optional(Type.String({ maxLength: 100 })),
});

/** That the revocations of the cell map were those in force at a time, signed by the control key, and its certificate. */
const StampedList = Type.Object({
  stamp: Type.String({ maxLength: 2_048 }),
  certificate: Type.String({ maxLength: 2_048 }),
});

/** What a host must know to act as a member. */
export const Membership = Type.Object({
  type: Type.Literal('membership'),
  record: Envelope,
  certificates: Type.Array(Envelope, { maxItems: 64 }),
  map: Type.Optional(Envelope),
  /** Absent: nobody dates the revocations of the map. */
  revocations: Type.Optional(StampedList),
  /** Cell time, milliseconds since the epoch. */
  now: Type.Number(),
});

/** The revocations are still the same: a newer date of them. For hosts that name `revocations`. */
export const Revocations = Type.Object({
  type: Type.Literal('revocations'),
  list: StampedList,
});

export const Refused = Type.Object({ type: Type.Literal('refused'), error: Failure });

/**
 * What a host says of its machine and its program, by name. Later versions may say more, and nothing that is not a
 * text or a whole number.
 */
export const HostFacts = Type.Record(
  Type.String({ pattern: '^[a-z][A-Za-z0-9]{0,31}$' }),
  Type.Union([
    Type.String({ maxLength: 128 }),
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  ]),
  { maxProperties: 24, additionalProperties: false },
);

/** A host's first words on the control protocol. */
export const Hello = Type.Object({
  v: Type.Integer({ minimum: 1 }),
  record: Envelope,
  /** Where its piece link listens; empty: reach it at the address it connects from. */
  addresses: Addresses,
  linkPort: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  hostname: Type.Optional(Type.String({ maxLength: 255 })),
  location: Type.Optional(Type.String({ maxLength: 255 })),
  facts: Type.Optional(HostFacts),
  /** Messages of later versions that this host understands, by type: it is sent no others. */
  features: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 64 })),
});

export const Welcome = Type.Object({
  v: Type.Integer({ minimum: 1 }),
  membership: Membership,
});

/** Origin, identity and wishes of one download, as the host was asked for it. */
export const TaskSpec = Type.Object({
  url: Type.String({ maxLength: 8192 }),
  headers: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 8192 }))),
  tag: Type.Optional(Type.String({ maxLength: 1024 })),
  application: Type.Optional(Type.String({ maxLength: 1024 })),
  filteredQueryParams: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 64 })),
  digest: Type.Optional(Digest),
  range: Type.Optional(Type.Object({ start: Bytes, end: Type.Optional(Bytes) })),
});

/** How important a download is. */
const PriorityName = Type.Enum([...priorities]);

/** What a host holds of one version of a task. */
export const Holding = Type.Object({
  version: Version,
  /** Base64 of the bitfield; absent: every piece. */
  pieces: Type.Optional(Type.String({ maxLength: 3_000_000 })),
});

export const Register = Type.Object({
  type: Type.Literal('register'),
  id: RequestId,
  task: TaskId,
  spec: TaskSpec,
  holding: Type.Optional(Holding),
  /** Default normal. */
  priority: Type.Optional(PriorityName),
});

export const Parent = Type.Object({
  peer: PeerId,
  addresses: Addresses,
  role: Type.Union([Type.Literal('peer'), Type.Literal('seed')]),
  idc: Type.Optional(Type.String({ maxLength: 100 })),
  reason: Type.Optional(Type.String({ maxLength: 200 })),
});

/** One version of a task: shape, and how the origin would recognise it. */
export const TaskShape = Type.Object({
  version: Version,
  pieceLength: Type.Integer({ minimum: 1024, maximum: 64 * 1024 * 1024 }),
  length: Type.Optional(Bytes),
  validators: Validators,
  acceptsRanges: Type.Optional(Type.Boolean()),
  isPrivate: Type.Optional(Type.Boolean()),
});

export const Registered = Type.Object({
  type: Type.Literal('registered'),
  id: RequestId,
  task: TaskId,
  shape: TaskShape,
  manifest: Type.Array(Envelope, { maxItems: 4096 }),
  parents: Type.Array(Parent, { maxItems: 64 }),
  /** Absent where the content is here: nobody is asked for a piece. */
  ticket: Type.Optional(Envelope),
  /** The whole content, when it is small enough to travel here. */
  content: Type.Optional(Type.String({ maxLength: 200_000 })),
  digest: Type.Optional(Digest),
});

export const Rejected = Type.Object({
  type: Type.Literal('rejected'),
  id: RequestId,
  error: Failure,
});

/** News about a task for a host that takes part in it. */
export const Update = Type.Object({
  type: Type.Literal('update'),
  task: TaskId,
  version: Version,
  manifest: Type.Optional(Type.Array(Envelope, { maxItems: 4096 })),
  parents: Type.Optional(Type.Array(Parent, { maxItems: 64 })),
  ticket: Type.Optional(Envelope),
  /** The origin failed for good: this version will not be completed by the seed. */
  failed: Type.Optional(Failure),
});

/** The supernode doubts a piece this host offers: hash it again, withdraw it if it is bad. */
export const Check = Type.Object({
  type: Type.Literal('check'),
  task: TaskId,
  version: Version,
  piece: PieceIndex,
});

const OrderId = Type.String({ pattern: '^[0-9A-Za-z.-]{1,64}$' });

/** An order: bring this task here before anybody asks. For hosts that name `warm` among their features. */
export const Warm = Type.Object({
  type: Type.Literal('warm'),
  id: OrderId,
  spec: TaskSpec,
  /** Default warm-up. */
  priority: Type.Optional(PriorityName),
});

/** Orders that nobody wants any more. */
export const WarmStop = Type.Object({
  type: Type.Literal('warm-stop'),
  ids: Type.Array(OrderId, { maxItems: 1024 }),
});

export const PieceFailure = Type.Object({
  parent: PeerId,
  piece: PieceIndex,
  code: Type.String({ maxLength: 64 }),
});

/** What changed on a host for one task since its last report. */
export const TaskReport = Type.Object({
  task: TaskId,
  version: Version,
  had: Type.Optional(Type.Array(PieceIndex, { maxItems: 65_536 })),
  lost: Type.Optional(Type.Array(PieceIndex, { maxItems: 65_536 })),
  complete: Type.Optional(Type.Boolean()),
  /** False: the host no longer downloads (finished, gave up); it may still hold pieces. */
  active: Type.Optional(Type.Boolean()),
  /** True: nothing of this version is held any more. */
  gone: Type.Optional(Type.Boolean()),
  failures: Type.Optional(Type.Array(PieceFailure, { maxItems: 1024 })),
  fromPeers: Type.Optional(Bytes),
  fromSeed: Type.Optional(Bytes),
  fromOrigin: Type.Optional(Bytes),
});

export const Report = Type.Object({
  type: Type.Literal('report'),
  tasks: Type.Array(TaskReport, { maxItems: 1024 }),
});

/** How far one order is; bytes by where they came from. */
export const WarmState = Type.Object({
  id: OrderId,
  state: Type.Union([Type.Literal('running'), Type.Literal('done'), Type.Literal('failed')]),
  received: Bytes,
  length: Type.Optional(Bytes),
  fromPeers: Type.Optional(Bytes),
  fromSeed: Type.Optional(Bytes),
  fromOrigin: Type.Optional(Bytes),
  fromCache: Type.Optional(Bytes),
  /** Of a failed one. */
  error: Type.Optional(Failure),
});

/** What became of orders since the last word on them. */
export const Warmed = Type.Object({
  type: Type.Literal('warmed'),
  orders: Type.Array(WarmState, { maxItems: 1024 }),
});

/** Bytes per second. */
const Rate = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** What a host moved since its last word, and whether it was held back; a second, for one budget. */
const Demanded = Type.Object({
  rate: Rate,
  wantsMore: Type.Boolean(),
  /** Its own limit, 0 for none. */
  most: Rate,
});

/** Of budgets for one host of origins or two idcs, by name. */
const BudgetName = Type.String({ minLength: 1, maxLength: 300 });

/** A host that was sent a share says that it took it, and from time to time what it needs. */
export const Demand = Type.Object({
  type: Type.Literal('demand'),
  /** Of the last share that is in force. */
  seq: Type.Integer({ minimum: 0 }),
  download: Demanded,
  origin: Demanded,
  /** Of those with names that the last share named. */
  named: Type.Optional(Type.Record(BudgetName, Demanded, { maxProperties: 64 })),
  /** After a reconnection: what it holds of earlier, which the supernode may have forgotten. */
  holds: Type.Optional(
    Type.Object({
      download: Type.Optional(Rate),
      origin: Type.Optional(Rate),
      named: Type.Optional(Type.Record(BudgetName, Rate, { maxProperties: 64 })),
    }),
  ),
});

/** Of one budget: what the host may move, and what it may still once the lease has run out in silence. */
const SharedRate = Type.Object({ rate: Rate, after: Rate });

/** What a host may move of the cell's budgets; absent where there is none. For hosts that name `limits`. */
export const Share = Type.Object({
  type: Type.Literal('share'),
  seq: Type.Integer({ minimum: 0 }),
  leaseMs: Type.Integer({ minimum: 1, maximum: 3_600_000 }),
  download: Type.Optional(SharedRate),
  origin: Type.Optional(SharedRate),
  /** For hosts that name `limits-named`. */
  named: Type.Optional(Type.Record(BudgetName, SharedRate, { maxProperties: 64 })),
});

const CallId = Type.String({ pattern: '^[0-9a-z]{8,32}$' });

/** A command for this host, as a signed order and the certificate of who signed it. For hosts that name `calls`. */
export const Call = Type.Object({
  type: Type.Literal('call'),
  order: Type.String({ maxLength: 131_072 }),
  certificate: Type.String({ maxLength: 2_048 }),
});

/** Calls that nobody wants any more: what runs of them is ended, with all its processes. */
export const CallStop = Type.Object({
  type: Type.Literal('call-stop'),
  calls: Type.Array(CallId, { maxItems: 1_024 }),
});

/** Results that the supernode has on its disk: the host may forget what it kept to tell them again. */
export const CallsHeard = Type.Object({
  type: Type.Literal('calls-heard'),
  calls: Type.Array(CallId, { maxItems: 1_024 }),
});

/** What a running call has written since the last word of it. */
export const CallOutput = Type.Object({
  type: Type.Literal('call-output'),
  call: CallId,
  stream: Type.Union([Type.Literal('stdout'), Type.Literal('stderr')]),
  /** Bytes of the stream that were told of before. */
  at: Bytes,
  /** Base64. */
  data: Type.String({ maxLength: 90_000 }),
});

/** Calls that run, and those that ended: told again until the supernode has heard it. */
export const CallStates = Type.Object({
  type: Type.Literal('call-states'),
  /** That have begun, or wait for their turn. */
  running: Type.Array(CallId, { maxItems: 1_024 }),
  /** Envelopes of kind `call-result`. */
  ended: Type.Array(Type.String({ maxLength: 8_192 }), { maxItems: 64 }),
});

/**
 * What a host says of this moment, by name. Later versions may say more, by other names, and nothing that is not a text
 * or a number.
 */
export const LiveValues = Type.Record(
  Type.String({ pattern: '^[a-z][A-Za-z0-9]{0,31}$' }),
  Type.Union([
    Type.String({ maxLength: 128 }),
    Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  ]),
  { maxProperties: 32, additionalProperties: false },
);

/** Asks a host how it is at this moment; answered by `values`. For hosts that name `query`. */
export const Query = Type.Object({ type: Type.Literal('query'), id: RequestId });

/** How a host is, or why it does not say. */
export const Values = Type.Object({
  type: Type.Literal('values'),
  /** Of the `query`. */
  id: RequestId,
  values: Type.Optional(LiveValues),
  error: Type.Optional(Failure),
});

/** After a (re)connection: everything held of one version, with the signed manifest that proves it. */
export const Announce = Type.Object({
  type: Type.Literal('announce'),
  task: TaskId,
  shape: TaskShape,
  holding: Holding,
  spec: Type.Optional(TaskSpec),
  digest: Type.Optional(Digest),
  manifest: Type.Array(Envelope, { maxItems: 4096 }),
  provisional: Type.Optional(Type.Array(Envelope, { maxItems: 4096 })),
  /** True while it wants the rest. */
  active: Type.Boolean(),
  /** Hosts that it takes the version from: they will have something to announce too. */
  parents: Type.Optional(Type.Array(PeerId, { maxItems: 64 })),
});

/** Asks for other parents: those it has do not bring it forward. */
export const MoreParents = Type.Object({
  type: Type.Literal('more-parents'),
  task: TaskId,
  version: Version,
  reason: Text,
});

/** Asks for a fresh ticket, answered by an update. */
export const RenewTicket = Type.Object({
  type: Type.Literal('renew-ticket'),
  task: TaskId,
  version: Version,
});

/** Asks to go to the origin itself; answered by `source`. */
export const AskSource = Type.Object({
  type: Type.Literal('ask-source'),
  id: RequestId,
  task: TaskId,
  reason: Text,
});

export const Source = Type.Object({
  type: Type.Literal('source'),
  id: RequestId,
  granted: Type.Boolean(),
  reason: Text,
});

/** Asks to be told when everything sent before it was taken in; answered by `synced`. */
export const Sync = Type.Object({ type: Type.Literal('sync'), id: RequestId });

export const Synced = Type.Object({ type: Type.Literal('synced'), id: RequestId });

/** Asks for a new membership record; answered by `membership`. */
export const RenewRecord = Type.Object({ type: Type.Literal('renew-record') });

/** Supernode to host, every few seconds: cell time, so that offsets stay true. */
export const CellNow = Type.Object({
  type: Type.Literal('now'),
  now: Type.Number(),
  /** Connected hosts: the more there are, the longer the time over which they come back together. */
  hosts: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
});

export const FromHost = Type.Union([
  Register,
  Report,
  Announce,
  MoreParents,
  RenewTicket,
  AskSource,
  Sync,
  RenewRecord,
  Warmed,
  Demand,
  CallOutput,
  CallStates,
  Values,
]);

export const FromSupernode = Type.Union([
  Registered,
  Rejected,
  Update,
  Check,
  Source,
  Synced,
  Membership,
  Revocations,
  CellNow,
  Warm,
  WarmStop,
  Share,
  Call,
  CallStop,
  CallsHeard,
  Query,
]);

/** Body of a `manifest` or `provisional` envelope: digests of a run of pieces of one version. */
export const ManifestBody = Type.Object({
  v: Type.Literal(1),
  task: TaskId,
  version: Version,
  pieceLength: Type.Integer({ minimum: 1024, maximum: 64 * 1024 * 1024 }),
  start: PieceIndex,
  /** Base64 of 32 bytes a piece. */
  digests: Type.String({ maxLength: 800_000 }),
  /** Set on the final batch, which covers every piece. */
  length: Type.Optional(Bytes),
  digest: Type.Optional(Digest),
});

export type Credentials = Static<typeof Credentials>;
export type Join = Static<typeof Join>;
export type Membership = Static<typeof Membership>;
export type Revocations = Static<typeof Revocations>;
export type Refused = Static<typeof Refused>;
export type HostFacts = Static<typeof HostFacts>;
export type Hello = Static<typeof Hello>;
export type Welcome = Static<typeof Welcome>;
export type TaskSpec = Static<typeof TaskSpec>;
export type Holding = Static<typeof Holding>;
export type Register = Static<typeof Register>;
export type Parent = Static<typeof Parent>;
export type TaskShape = Static<typeof TaskShape>;
export type Registered = Static<typeof Registered>;
export type Rejected = Static<typeof Rejected>;
export type Update = Static<typeof Update>;
export type Check = Static<typeof Check>;
export type Warm = Static<typeof Warm>;
export type WarmStop = Static<typeof WarmStop>;
export type WarmState = Static<typeof WarmState>;
export type Warmed = Static<typeof Warmed>;
export type Demand = Static<typeof Demand>;
export type Share = Static<typeof Share>;
export type Call = Static<typeof Call>;
export type CallStop = Static<typeof CallStop>;
export type CallsHeard = Static<typeof CallsHeard>;
export type CallOutput = Static<typeof CallOutput>;
export type CallStates = Static<typeof CallStates>;
export type LiveValues = Static<typeof LiveValues>;
export type Query = Static<typeof Query>;
export type Values = Static<typeof Values>;
export type TaskReport = Static<typeof TaskReport>;
export type Report = Static<typeof Report>;
export type Announce = Static<typeof Announce>;
export type MoreParents = Static<typeof MoreParents>;
export type AskSource = Static<typeof AskSource>;
export type Source = Static<typeof Source>;
export type Synced = Static<typeof Synced>;
export type FromHost = Static<typeof FromHost>;
export type FromSupernode = Static<typeof FromSupernode>;
export type ManifestBody = Static<typeof ManifestBody>;
