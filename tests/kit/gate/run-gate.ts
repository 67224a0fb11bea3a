import { runGate } from '../../../packages/gate/src/main.ts';

// A gate with this config in a process of its own.
void runGate(process.argv[2] ?? '');
