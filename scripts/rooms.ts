// The plan of the house. Arrows go one way: a room may import those that are listed with it, of its own package, and
// nothing else, types included. Whoever needs an arrow that is not here asks first whether the thing stands in the
// right room.
import type { House } from './imports/find-faults.ts';

export const house: House = {
  common: {
    packages: [],
    rooms: {
      errors: [],
      paths: [],
      gen: [],
      encoding: ['errors'],
      files: ['errors'],
      service: ['errors'],
      messages: ['gen'],
      yaml: ['encoding', 'errors', 'files'],
      crypto: ['encoding', 'errors', 'files'],
      schema: ['encoding', 'errors', 'paths'],
      contract: ['encoding', 'errors', 'gen', 'schema'],
      policy: ['contract', 'encoding', 'errors', 'files', 'schema', 'yaml'],
      decision: ['contract', 'encoding', 'errors', 'paths', 'policy', 'schema'],
      'policy-directory': ['contract', 'decision', 'encoding', 'errors', 'files', 'policy', 'schema', 'yaml'],
      approval: ['contract', 'encoding', 'errors', 'schema'],
      receipt: ['contract', 'encoding', 'errors', 'schema'],
      ticket: ['crypto', 'encoding', 'errors', 'receipt', 'schema'],
      'executor-key': ['crypto', 'encoding', 'errors', 'schema'],
      'json-schema': [
        'approval',
        'contract',
        'decision',
        'executor-key',
        'policy',
        'policy-directory',
        'receipt',
        'ticket',
      ],
      identity: ['errors', 'files'],
      pki: ['encoding', 'errors', 'files', 'identity'],
      rpc: ['crypto', 'encoding', 'errors', 'files', 'gen', 'identity', 'messages'],
    },
  },
  sandbox: { packages: ['common'] },
  executor: { packages: ['common', 'sandbox'] },
  gate: { packages: ['common'] },
  client: { packages: ['common'] },
  cli: { packages: ['common', 'sandbox', 'gate', 'executor', 'client'] },
};
