import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { camelKeys, parseConfig, readConfig, resolveFrom } from './config.ts';

const dir = mkdtempSync(join(tmpdir(), 'csc-config-'));
afterAll(() => rmSync(dir, { recursive: true }));

const schema = z.strictObject({
  listen: z.string(),
  slots: z.int().min(1).default(2),
  tls: z.strictObject({ ca: z.string(), cert: z.string() }).optional(),
});

function write(text: string): string {
  const path = join(dir, 'config.yaml');
  writeFileSync(path, text);
  return path;
}

function faultsOf(text: string): { code: string; paths: string[] } {
  try {
    readConfig(write(text), schema);
  } catch (error) {
    const { code, faults } = error as { code: string; faults: { path: string }[] };
    return { code, paths: faults.map(({ path }) => path) };
  }
  return { code: 'none', paths: [] };
}

describe('readConfig', () => {
  it('gives what the schema makes of the file', () => {
    expect(readConfig(write('listen: "0.0.0.0:7443"\n'), schema)).toEqual({
      listen: '0.0.0.0:7443',
      slots: 2,
    });
  });

  it('names every bad member at once', () => {
    expect(faultsOf('lisen: x\nslots: 0\ntls:\n  ca: ca.pem\n  key: k\n')).toEqual({
      code: 'CONFIG_INVALID',
      paths: ['listen', 'slots', 'tls.cert', 'tls.key', 'lisen'],
    });
  });

  it('refuses what strict YAML refuses', () => {
    expect(faultsOf('listen: a\nlisten: b\nslots: 010\n')).toEqual({
      code: 'CONFIG_INVALID',
      paths: ['listen', 'slots'],
    });
    expect(faultsOf('')).toEqual({ code: 'CONFIG_INVALID', paths: [''] });
  });

  it('says what file cannot be read', () => {
    expect(() => readConfig(join(dir, 'nothing.yaml'), schema)).toThrowError(
      expect.objectContaining({ code: 'FILE_UNREADABLE', message: expect.stringContaining('nothing.yaml') }),
    );
  });
});

describe('parseConfig', () => {
  it('gives the faults of bytes', () => {
    expect(parseConfig(Buffer.from('slots: 1\n'), schema)).toMatchObject({
      ok: false,
      faults: [{ path: 'listen' }],
    });
  });
});

describe('resolveFrom', () => {
  it('takes paths from the directory of the file', () => {
    expect(resolveFrom('/etc/csc/gate.yaml', 'tls/ca.pem')).toBe('/etc/csc/tls/ca.pem');
    expect(resolveFrom('/etc/csc/gate.yaml', '/run/ca.pem')).toBe('/run/ca.pem');
    expect(resolveFrom('/etc/csc/gate.yaml', '../ca.pem')).toBe('/etc/ca.pem');
  });
});

it('camelKeys renames an object, and nothing in it', () => {
  const labels = { some_label: 'x' };
  expect(camelKeys({ max_queued: 1, plain: 3, labels })).toEqual({
    maxQueued: 1,
    plain: 3,
    labels,
  });
});
