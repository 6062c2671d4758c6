import { once } from 'node:events';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { peerIdOfCertificate, selfSignedCertificate } from './certificate.ts';
import { HostKey } from './host-key.ts';

const NOW = Date.UTC(2026, 5, 1, 12, 30, 15);

/** A P-256 certificate in the name of nobody, made with openssl; its dates and name do not matter. */
const P256 = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUMglUH0xbBs8K2rN9D1/7AnQ+SCIwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTEyMTEwMjgzNloXDTM2MTExODEwMjgz
NlowETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
znvElz7k3FTiBbsG0QDuM9TE5pFTW49sENdSz3C+4Gd3Uyzn172Vn10VORYoVead
d5IOVr9MqxCgAmd2tI+koqNTMFEwHQYDVR0OBBYEFEesljzl2SBr2P/w0yk89/Wl
xrHyMB8GA1UdIwQYMBaAFEesljzl2SBr2P/w0yk89/WlxrHyMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhANZSYilvHBd09ve79VYgpV1dc9KdDaCi
5ioFlXgCyR9yAiBam1o00tjdxoBoHUhcT2gFR4D4Xr3wfthuk2ACIgDFCw==
-----END CERTIFICATE-----
`;

function peerOf(socket: TLSSocket): string {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? 'none' : peerIdOfCertificate(certificate);
}

test('selfSignedCertificate() makes a certificate over the host key, for ten years from a day ago', (t) => {
  const key = HostKey.generate();
  const { certificatePem, keyPem } = selfSignedCertificate(key, { now: NOW });
  const certificate = new X509Certificate(certificatePem);
  t.is(keyPem, key.exportPem());
  t.true(certificate.verify(certificate.publicKey));
  t.true(certificate.checkPrivateKey(key.privateKey));
  t.is(certificate.subject, `CN=${key.peerId}`);
  t.is(certificate.issuer, certificate.subject);
  t.deepEqual(certificate.validFromDate, new Date(NOW - 86_400_000));
  t.deepEqual(certificate.validToDate, new Date(NOW + 3651 * 86_400_000));
  t.is(peerIdOfCertificate(certificate), key.peerId);
});

test('selfSignedCertificate() writes dates from 2050 on as they must be', (t) => {
  const now = Date.UTC(2045, 0, 2);
  const { certificatePem } = selfSignedCertificate(HostKey.generate(), { now });
  const { validFromDate, validToDate } = new X509Certificate(certificatePem);
  t.deepEqual(validFromDate, new Date(now - 86_400_000));
  t.deepEqual(validToDate, new Date(now + 3651 * 86_400_000));
});

test('peerIdOfCertificate() refuses a key that is not ed25519', (t) => {
  const certificate = new X509Certificate(P256);
  t.is(certificate.publicKey.asymmetricKeyType, 'ec');
  t.throws(() => peerIdOfCertificate(certificate), { code: 'ERR_NOT_MEMBER' });
});

test('both sides of a mutual TLS 1.3 handshake read the other’s peer id', async (t) => {
  const [serverKey, clientKey] = [HostKey.generate(), HostKey.generate()];
  const serverSide = selfSignedCertificate(serverKey, { now: NOW });
  const clientSide = selfSignedCertificate(clientKey, { now: NOW });
  const server = createServer({
    cert: serverSide.certificatePem,
    key: serverSide.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted: Promise<TLSSocket[]> = once(server, 'secureConnection');
  const client = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    cert: clientSide.certificatePem,
    key: clientSide.keyPem,
    rejectUnauthorized: false,
  });
  try {
    const [[serverSocket]] = await Promise.all([accepted, once(client, 'secureConnect')]);
    t.is(client.getProtocol(), 'TLSv1.3');
    t.is(peerOf(client), serverKey.peerId);
    t.is(serverSocket && peerOf(serverSocket), clientKey.peerId);
    serverSocket?.destroy();
  } finally {
    client.destroy();
    server.close();
  }
});

test('a certificate is of no use without its key: TLS refuses the handshake', async (t) => {
  const { certificatePem } = selfSignedCertificate(HostKey.generate(), { now: NOW });
  const { privateKey } = generateKeyPairSync('ed25519');
  const keyPem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  t.throws(() => createServer({ cert: certificatePem, key: keyPem }), {
    message: /key values mismatch/,
  });
});
