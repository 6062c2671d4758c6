import { apt } from './apt.ts';
import type { ClientName, ClientSetup } from './client-setup.ts';
import { containerd } from './containerd.ts';
import { docker } from './docker.ts';
import { npm } from './npm.ts';
import { pip } from './pip.ts';
import { podman } from './podman.ts';

/** Every client by its name. */
export const clients: Readonly<Record<ClientName, ClientSetup>> = {
  containerd,
  docker,
  podman,
  apt,
  npm,
  pip,
};
