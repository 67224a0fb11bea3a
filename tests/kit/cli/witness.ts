import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { cosignText, formatSignatureLine, formatVkey, type NoteKey } from '@csc-fleet/common/tlog';
import { logKey } from '@csc-fleet/test-kit/gate/logged-gate';
import { inMemory } from '@csc-fleet/test-kit/gate/test-gate';
import { onTestFinished } from 'vitest';
import { createWitnessServer } from '../../../packages/cli/src/witness/serve.ts';
import { Witness } from '../../../packages/cli/src/witness/witness.ts';

/** A witness of the log of `openStage`, served at an address. */
export async function witnessed() {
  const directory = mkdtempSync(join(inMemory, 'csc-witness-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const signer = createSigner(generateKeyPair().seed, 'witness.example/w1');
  const key: NoteKey = { name: 'witness.example/w1', type: 'cosignature', publicKey: signer.publicKey };
  const forks: string[] = [];
  // As a gate's clock in a test has it.
  let now = new Date(Date.UTC(2026, 0, 1));
  const open = (ports: { readonly patienceMs?: number } = {}) =>
    new Witness({
      ...ports,
      name: key.name,
      signer,
      logs: [logKey],
      directory,
      now: () => now,
      onFork: (message) => forks.push(message),
    });
  const server = createWitnessServer(open(), (error) => forks.push(String(error)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(stop);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    directory,
    key,
    forks,
    open,
    url,
    stop,
    passes: (ms: number) => {
      now = new Date(now.getTime() + ms);
    },
    demand: { witnessVkeys: [formatVkey(key)], quorum: 1, now: () => new Date(Date.UTC(2026, 0, 1)) },
    /** A checkpoint that it has cosigned at that time, whatever it has cosigned before. */
    cosigns: (note: string, at: Date): string =>
      note +
      formatSignatureLine(cosignText(`${note.split('\n\n')[0]}\n`, key.name, signer, at.getTime() / 1000)),
  };
}
