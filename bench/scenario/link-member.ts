import { SystemClock } from '../../core/base/clock.ts';
import { issueCertificate } from '../../core/identity/cell.ts';
import { selfSignedCertificate } from '../../core/identity/certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { issueRecord } from '../../core/identity/membership.ts';
import { issueTicket } from '../../core/identity/ticket.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import type { TransferInit, TransferTrust } from '../../core/swarm/transfer-messages.ts';
import type { LinkWay } from './link.ts';

/** The version of content that a ticket is for. */
export interface LinkTask {
  readonly task: string;
  readonly version: string;
}

/** What a transfer worker needs to link as a member of a cell. */
export interface LinkMember {
  readonly peer: string;
  readonly init: TransferInit;
  readonly trust: TransferTrust;
}

/** A parent and a child of a new cell, and the ticket for the child: a supernode's part in this, without one. */
export function makeMembers(
  way: LinkWay,
  task: LinkTask,
): { readonly parent: LinkMember; readonly child: LinkMember; readonly ticket: string } {
  const [cell, supernode] = [HostKey.generate(), HostKey.generate()];
  const now = new SystemClock().now();
  const trust = new CellTrust(cell.peerId);
  trust.addCertificate(issueCertificate(cell, { supernode: supernode.peerId, now }));
  const member = (): LinkMember => {
    const key = HostKey.generate();
    const { certificatePem, keyPem } = selfSignedCertificate(key, { now });
    const record = issueRecord(supernode, {
      peerId: key.peerId,
      role: 'host',
      idc: 'bench',
      now,
    });
    return {
      peer: key.peerId,
      init: {
        origin: { allow: [], connectionsPerHost: 1 },
        link: {
          hostKeyPem: key.exportPem(),
          certificatePem,
          certificateKeyPem: keyPem,
          encryption: way === 'tls' ? 'tls' : 'none',
        },
      },
      trust: { cell: trust.toData(), record, now, isSupervised: true },
    };
  };
  const [parent, child] = [member(), member()];
  const ticket = issueTicket(supernode, { ...task, scope: '', child: child.peer, now });
  return { parent, child, ticket };
}
