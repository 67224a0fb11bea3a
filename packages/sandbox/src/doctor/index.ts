export { type DoctorOptions, diagnose, requireHost } from './doctor.ts';
export { type ProbeOptions, probeHost } from './probe-host.ts';
