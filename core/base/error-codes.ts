/** Who has to act: our code, the machine, the caller, somebody else's server, or we cannot tell. */
export type ErrorClass = 'system' | 'environment' | 'user' | 'third-party' | 'unknown';

/** What is known of every failure with one code; docs/errors.md is this table. */
export interface ErrorFacts {
  readonly class: ErrorClass;
  /** True when the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** dfget's exit code. */
  readonly exit: number;
  /** Status on our HTTP APIs. */
  readonly http: number;
  readonly meaning: string;
  /** What the reader should do. */
  readonly next: string;
}

/** Exit codes of dfget; scripts rely on them. */
export const exitCodes = {
  done: 0,
  usage: 1,
  originRefused: 2,
  originFailing: 3,
  digest: 4,
  space: 5,
  timeout: 6,
  mesh: 7,
  output: 8,
  interrupted: 9,
  internal: 10,
} as const;

/** The facts of a code, in the order class, retryable, exit code, HTTP status; then meaning and advice. */
function facts(
  kind: readonly [ErrorClass, boolean, keyof typeof exitCodes, number],
  meaning: string,
  next: string,
): ErrorFacts {
  const [errorClass, retryable, exit, http] = kind;
  return { class: errorClass, retryable, exit: exitCodes[exit], http, meaning, next };
}

/** Every error code there is. */
export const errorCodes = {
  // Callers
  ERR_USAGE: facts(
    ['user', false, 'usage', 400],
    'A flag or argument is missing, unknown or malformed.',
    'Correct the named flag; --help lists them.',
  ),
  ERR_CONFIG: facts(
    ['user', false, 'usage', 400],
    'A configuration file or environment variable holds a bad value.',
    'Correct the named key; --print-config shows what is in force.',
  ),
  ERR_CLIENT_CONFIG: facts(
    ['user', false, 'usage', 409],
    'The configuration of a client holds something that "dfdaemon setup" cannot change safely.',
    'Change the named file as the message says and run the command again; nothing was written.',
  ),
  ERR_URL: facts(
    ['user', false, 'usage', 400],
    'The URL cannot be parsed or its scheme is not supported.',
    'Use an absolute URL: http, https, file, s3 or oci for dfget, http or https elsewhere.',
  ),
  ERR_REQUEST: facts(
    ['user', false, 'usage', 400],
    'A request to an API does not match its schema.',
    'Correct the named field.',
  ),
  ERR_UNAUTHORIZED: facts(
    ['user', false, 'usage', 401],
    'The API key is missing or wrong.',
    'Send the key as "Authorization: Bearer KEY".',
  ),
  ERR_FORBIDDEN: facts(
    ['user', false, 'usage', 403],
    'The caller may not use this API.',
    'Call it from the machine itself, or start the program with --api-key-file and send a key.',
  ),
  ERR_DENIED: facts(
    ['user', false, 'usage', 403],
    'No policy allows this caller to do this, or one forbids it; nothing was done.',
    'Ask whoever keeps the policies; `dfops policies list` shows them.',
  ),
  ERR_APPROVAL_NEEDED: facts(
    ['user', false, 'usage', 403],
    'Others must agree to this before it is done, and have not, or to something else; nothing was done.',
    'Have those whom the message names run `dfops approvals approve ID`; then ask for the same with `--approval ID`.',
  ),
  ERR_CAP: facts(
    ['user', true, 'usage', 429],
    'The caller has used up the hosts or calls that it may use within a time; nothing was done.',
    'Wait until the time has passed, or ask for a higher cap.',
  ),
  ERR_NOT_FOUND: facts(
    ['user', false, 'usage', 404],
    'The named task, host or path is not known here.',
    'Check the name.',
  ),
  ERR_BUSY: facts(
    ['system', true, 'mesh', 503],
    'A bound on concurrent work is reached.',
    'Try again in a moment, or raise the named limit.',
  ),
  // Origin
  ERR_ORIGIN_REFUSED: facts(
    ['user', false, 'originRefused', 502],
    'The origin answered with a 4xx status.',
    'Check URL and credentials; the status is in the message.',
  ),
  ERR_ORIGIN_FORBIDDEN: facts(
    ['user', false, 'originRefused', 403],
    'The address of the origin is not one this host may connect to.',
    'Add its network to --origin-allow if it should be reachable.',
  ),
  ERR_ORIGIN_FAILING: facts(
    ['third-party', true, 'originFailing', 502],
    'The origin kept answering with 5xx or an unusable reply.',
    'Look at the origin; then run the same command again, it resumes.',
  ),
  ERR_ORIGIN_UNREACHABLE: facts(
    ['third-party', true, 'originFailing', 502],
    'No connection to the origin could be made.',
    'Check name, port, network and TLS of the origin.',
  ),
  ERR_ORIGIN_SHORT: facts(
    ['third-party', true, 'originFailing', 502],
    'The origin closed the body before its announced end, again and again.',
    'Look at the origin; then run the same command again, it resumes.',
  ),
  ERR_ORIGIN_STALLED: facts(
    ['third-party', true, 'originFailing', 504],
    'The origin sent nothing for too long.',
    'Look at the origin; then run the same command again, it resumes.',
  ),
  ERR_ORIGIN_CHANGED: facts(
    ['third-party', true, 'originFailing', 409],
    'The content changed at the origin while it was being fetched.',
    'Run the same command again to get the new version.',
  ),
  ERR_ORIGIN_RANGE: facts(
    ['user', false, 'originRefused', 416],
    'The asked range lies outside the content or the origin has no ranges.',
    'Check --range against the length of the content.',
  ),
  ERR_LISTING: facts(
    ['third-party', false, 'originFailing', 502],
    'The listing of a folder is none, is too long, or names something that cannot be a file below it.',
    'Look at the folder with a browser; narrow what is asked for, or name the files one by one.',
  ),
  // Content
  ERR_DIGEST_MISMATCH: facts(
    ['third-party', false, 'digest', 502],
    'The content does not have the digest that was asked for.',
    'Check --digest and the origin; nothing was written.',
  ),
  ERR_PIECE_DIGEST: facts(
    ['system', true, 'digest', 502],
    'A piece does not have the digest of the manifest; its sender is named.',
    'Look at the named host: disk, memory or intent.',
  ),
  ERR_MANIFEST: facts(
    ['system', true, 'digest', 502],
    'A manifest entry is malformed, contradicts another or is not signed by this cell.',
    'Look at the named signer.',
  ),
  // Machine
  ERR_NO_SPACE: facts(
    ['environment', true, 'space', 507],
    'There is not enough free space for the content and the reserve.',
    'Free space, raise --quota, or use another folder.',
  ),
  ERR_TIMEOUT: facts(
    ['unknown', true, 'timeout', 504],
    'The deadline of the caller passed.',
    'Raise --timeout; what was fetched is kept and resumed.',
  ),
  ERR_MESH_UNAVAILABLE: facts(
    ['environment', true, 'mesh', 503],
    'The mesh cannot serve the content and going to the origin is forbidden.',
    'Check the supernode, or allow back-to-source.',
  ),
  ERR_STALLED: facts(
    ['system', true, 'mesh', 504],
    'The next bytes of content that is read while it comes in did not come in time.',
    'Nothing where the proxy reads: it goes on at the origin. Else look at the supernode and at the hosts that serve it.',
  ),
  ERR_DAEMON_UNAVAILABLE: facts(
    ['environment', true, 'mesh', 503],
    'No dfdaemon answers on the socket.',
    'Start dfdaemon, correct --socket, or use --no-daemon.',
  ),
  ERR_OUTPUT_EXISTS: facts(
    ['user', false, 'output', 409],
    'The output exists already.',
    'Use --overwrite, or another -O.',
  ),
  ERR_OUTPUT_UNWRITABLE: facts(
    ['environment', false, 'output', 409],
    'The output cannot be created or written.',
    'Check the folder and its permissions.',
  ),
  ERR_INTERRUPTED: facts(
    ['user', true, 'interrupted', 499],
    'The work was stopped by a signal or by its caller.',
    'Run the same command again; it resumes.',
  ),
  ERR_INTERNAL: facts(
    ['system', false, 'internal', 500],
    'A defect of this program.',
    'Please report it with the log.',
  ),
  ERR_WORKER: facts(
    ['system', true, 'internal', 503],
    'A thread that carries payload ended; it is replaced unless that happens again and again.',
    'Try again; when it persists look at the log and restart the program.',
  ),
  // Store
  ERR_STORE_LOCKED: facts(
    ['environment', true, 'internal', 409],
    'Another process uses the data folder.',
    'Stop it, or use another --data-dir.',
  ),
  ERR_STORE_NEWER: facts(
    ['environment', false, 'internal', 409],
    'The data folder was written by a newer version; it was left untouched.',
    'Run the newer version, or use another --data-dir.',
  ),
  ERR_STORE_IO: facts(
    ['environment', true, 'internal', 500],
    'Reading or writing the data folder failed.',
    'Look at the disk; the cause is in the log.',
  ),
  ERR_CONFLICT: facts(
    ['user', true, 'internal', 409],
    'What a change was based on has changed meanwhile; nothing was written.',
    'Read again and decide again.',
  ),
  ERR_AUDIT_UNWRITABLE: facts(
    ['environment', true, 'internal', 503],
    'The audit cannot be written, so nothing that would have to stand in it is done.',
    'Look at the disk of the supernode; the cause is in its log.',
  ),
  ERR_AUDIT_BROKEN: facts(
    ['unknown', false, 'digest', 409],
    'An export of the audit is not what the supernode wrote: changed, cut, or signed by another key.',
    'Look at the named record; export again, compare with an earlier export, and find out who could change it.',
  ),
  ERR_TASK_IN_USE: facts(
    ['user', true, 'mesh', 409],
    'The task cannot be removed because it is being downloaded, sent or read.',
    'Wait until nobody uses it; /v1/status counts the downloads.',
  ),
  // Identity and mesh
  ERR_KEY_FILE: facts(
    ['environment', false, 'usage', 500],
    'A key file is missing, malformed or readable by others.',
    'Restore it from backup, or set its mode to 0600.',
  ),
  ERR_TOKEN: facts(
    ['user', false, 'usage', 401],
    'The join token is malformed, unknown, expired, used up, or not for this address.',
    'Make a new one with "supernode token create".',
  ),
  ERR_TOKEN_GRANT: facts(
    ['user', false, 'usage', 403],
    'The join token does not grant the role or idc that was asked for.',
    'Ask for what it grants, or make another token.',
  ),
  ERR_NOT_MEMBER: facts(
    ['user', false, 'mesh', 403],
    'The other side holds no valid membership record of this cell.',
    'Join the cell with a token.',
  ),
  ERR_SIGNATURE: facts(
    ['user', false, 'mesh', 403],
    'A signed statement is malformed, expired, or not signed by whom it must be.',
    'Check clocks and that all hosts belong to one cell.',
  ),
  ERR_REVOCATIONS_STALE: facts(
    ['environment', true, 'mesh', 503],
    'A host has not heard for too long who is revoked, and so does not do what only the trusted may ask; nothing was done.',
    'Let the host reach its supernode; `dfops hosts` and its log tell since when it did not.',
  ),
  ERR_TICKET: facts(
    ['system', true, 'mesh', 403],
    'The ticket does not allow this host to take this content.',
    'Nothing; a new one is asked for.',
  ),
  ERR_PROTOCOL: facts(
    ['system', true, 'mesh', 400],
    'The other side sent something the protocol does not allow.',
    'Check that versions fit; report it if they do.',
  ),
  ERR_LINK: facts(
    ['environment', true, 'mesh', 503],
    'A connection between hosts could not be made or was lost.',
    'Nothing; another host is used.',
  ),
  ERR_ADDRESS_IN_USE: facts(
    ['environment', false, 'usage', 409],
    'A port to listen on is taken.',
    'Stop the other program, or choose another port.',
  ),
  // Calls on hosts
  ERR_COMMAND_FAILED: facts(
    ['user', false, 'internal', 502],
    'A program that was called on a host ended with another status than 0, or by a signal.',
    'Look at its output; the status is in the result.',
  ),
  ERR_COMMAND_START: facts(
    ['environment', false, 'internal', 502],
    'A program that was called on a host cannot be started there.',
    'Look at the named program and at the file of commands on that host.',
  ),
  ERR_OUTCOME_UNKNOWN: facts(
    ['unknown', false, 'internal', 502],
    'A call had begun on a host whose daemon then ended: it may or may not have had its effect.',
    'Look at the host; call again only what may be done twice.',
  ),
  ERR_RELEASE_NOT_DONE: facts(
    ['user', false, 'internal', 409],
    'A release has ended otherwise than done, or is paused.',
    'See which hosts failed and why with `dfops release show ID`; a paused one goes on with `dfops release continue ID`.',
  ),
} as const satisfies Record<string, ErrorFacts>;

/** A code of the table. */
export type ErrorCode = keyof typeof errorCodes;
