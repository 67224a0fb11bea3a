import { forged, verified } from './receipt-scenes.ts';
import { approved, denied, needsApproval, usedUp } from './rule-scenes.ts';
import { allowed, build, pipeline, walledIn } from './run-scenes.ts';
import type { Scene } from './scene.ts';
import type { Stage } from './stage.ts';

/** The demo from its first scene to its last; later scenes use what earlier ones have left. */
export function demoScenes(stage: Stage, mode: 'hardened' | 'local'): Scene[] {
  return [
    allowed(stage),
    pipeline(stage),
    build(stage),
    ...(mode === 'hardened' ? [walledIn(stage)] : []),
    denied(stage),
    needsApproval(stage),
    approved(stage),
    usedUp(),
    verified(
      stage,
      'build',
      stage.hostKey,
      'The receipt of the build verifies with the host’s public key alone.',
    ),
    verified(stage, 'denied', stage.gateKey, 'A refusal is on record as well, signed by the gate.'),
    forged(stage),
  ];
}
