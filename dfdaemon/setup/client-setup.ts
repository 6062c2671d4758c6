/**
 * What `dfdaemon setup` knows of one client: which files it reads, and how each of them comes to name this host's
 * dfdaemon. One file per client; nothing here touches the disk, set-up.ts does, and undoes it from its record.
 */
import type { Edited } from './file-edit.ts';

/** The clients that can be set up. */
export const clientNames = ['containerd', 'docker', 'podman', 'apt', 'npm', 'pip'] as const;

/** One of them. */
export type ClientName = (typeof clientNames)[number];

/** A registry that a client is to ask dfdaemon for. */
export interface Registry {
  /** `HOST` or `HOST:PORT`, as images are named. */
  readonly name: string;
  /** It speaks http. */
  readonly isPlain: boolean;
}

/** What the caller asked for. */
export interface SetupWishes {
  /** `HOST:PORT` of the proxy port. */
  readonly address: string;
  /** Empty: all registries, or the one that clients use by default. */
  readonly registries: readonly Registry[];
  /** The configuration of this user instead of that of the machine. */
  readonly user: SetupUser | undefined;
}

/** Whose configuration it is. */
export interface SetupUser {
  readonly home: string;
  /** `XDG_CONFIG_HOME`, or where that is by default. */
  readonly configHome: string;
}

/** The files of the machine as they would be without us; paths are absolute, below `--root`. */
export interface FileView {
  /** Undefined when there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** Names in a folder, in order; none when there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
  exists(path: string): Promise<boolean>;
}

/** One file that is to change. */
export interface FileChange {
  readonly path: string;
  /** Of the file where there is none yet; default 0644. */
  readonly mode?: number;
  /** Pure. Throws ERR_CLIENT_CONFIG naming the file when it cannot take the change. */
  readonly edit: (before: string | undefined) => Edited;
}

/** Everything that setting up one client means. */
export interface SetupPlan {
  readonly files: readonly FileChange[];
  /** Commands that make the client read its configuration again; printed, never run. */
  readonly commands: readonly string[];
  /** The same after `--undo`, where that takes others. */
  readonly undoCommands?: readonly string[];
  /** One sentence each: what the caller should know. */
  readonly notes: readonly string[];
}

/** A client that can be set up. */
export interface ClientSetup {
  /** Programs and folders, one of which is there when the client is installed. */
  readonly traces: readonly string[];
  /** Where the client has no setting for a registry of its own choice: why `--registry` is refused. */
  readonly noRegistries?: string;
  /** True: `--user` sets up this user alone. */
  readonly hasUserFiles: boolean;
  /** Decides; throws ERR_CLIENT_CONFIG when what is there cannot be reconciled with us. */
  plan(view: FileView, wishes: SetupWishes): Promise<SetupPlan>;
}
