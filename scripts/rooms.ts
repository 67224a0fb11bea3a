// The plan of the house. Arrows go one way: a room may import those that are listed with it, of its own package, and
// nothing else, types included. Whoever needs an arrow that is not here asks first whether the thing stands in the
// right room.
import type { House } from './imports/find-faults.ts';

export const house: House = {
  common: { packages: [] },
  sandbox: { packages: ['common'] },
  executor: { packages: ['common', 'sandbox'] },
  gate: { packages: ['common'] },
  client: { packages: ['common'] },
  cli: { packages: ['common', 'sandbox', 'gate', 'executor', 'client'] },
};
