import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coveredBy, hasParentSegment, isCoveredBy, parsePath } from './path.ts';

describe('parsePath', () => {
  // The normal forms are what CPython 3.11 gives: str(PurePosixPath(p)) and PureWindowsPath(p).as_posix().lower().
  it.each([
    ['/', 'posix', '/'],
    ['/workspace/app', 'posix', '/workspace/app'],
    ['/Workspace//App/./src/', 'posix', '/Workspace/App/src'],
    ['/a/../b', 'posix', '/a/../b'],
    ['/a\\b', 'posix', '/a\\b'],
    ['/\\host\\share', 'posix', '/\\host\\share'],
    ['/out/**', 'posix', '/out/**'],
    ['C:\\', 'windows-drive', 'c:/'],
    ['C:\\Work\\App', 'windows-drive', 'c:/work/app'],
    ['c:/Work//App\\.\\x/', 'windows-drive', 'c:/work/app/x'],
    ['\\\\Host\\Share', 'unc', '//host/share/'],
    ['//host/share/a//b', 'unc', '//host/share/a/b'],
    ['\\\\host/share\\É\\', 'unc', '//host/share/é'],
  ])('takes %s for %s', (path, flavour, normalized) => {
    expect(parsePath(path)).toEqual({ flavour, normalized });
  });

  it.each([
    '',
    '.',
    'a/b',
    './a',
    '~',
    '~/a',
    'C:',
    'C:a',
    '1:\\a',
    'é:\\a',
    '\\a',
    '//',
    '//host',
    '//host/',
    '///a',
    '//host//share',
    '\\\\',
    '*',
    ' /a',
  ])('does not take %j for absolute', (path) => {
    expect(parsePath(path)).toBeUndefined();
  });

  it('gives a normal form that is its own', () => {
    const segments = fc.array(fc.constantFrom('a', 'B', '.', '..', '', '**', 'é'));
    fc.assert(
      fc.property(fc.constantFrom('/', 'C:\\', '//h/s/'), segments, (root, parts) => {
        const parsed = parsePath(root + parts.join('/'));
        fc.pre(parsed !== undefined);
        expect(parsePath(parsed.normalized)).toEqual(parsed);
      }),
    );
  });
});

describe('isCoveredBy', () => {
  it.each([
    ['/workspace', ['/workspace']],
    ['/workspace/app/src', ['/workspace']],
    ['/workspace/app', ['/workspace/']],
    ['/workspace//./app/', ['/home', '//h/s', '/workspace']],
    ['/any/path', ['/']],
    ['/', ['/']],
    ['C:\\Work\\App', ['c:/work']],
    ['C:\\', ['C:\\']],
    ['C:\\x', ['C:\\']],
    ['\\\\HOST\\share\\x', ['//host/Share']],
  ])('has %s below %j', (path, prefixes) => {
    expect(isCoveredBy(path, prefixes)).toBe(true);
  });

  it.each([
    ['/workspace-evil', ['/workspace']],
    ['/workspace', ['/workspace/app']],
    ['/Workspace', ['/workspace']],
    ['/workspace', []],
    ['/workspace', ['']],
    ['workspace', ['/']],
    ['/workspace', ['workspace']],
    ['C:\\workspace', ['/workspace']],
    ['C:\\workspace', ['/']],
    ['/c:/workspace', ['c:/']],
    ['//host/share/x', ['/']],
    ['//host/share/x', ['/host/share']],
    ['//host/share2', ['//host/share']],
    ['D:\\x', ['C:\\']],
  ])('does not have %s below %j', (path, prefixes) => {
    expect(isCoveredBy(path, prefixes)).toBe(false);
  });

  it('does not fold parent segments: that is for the caller to refuse', () => {
    expect(isCoveredBy('/workspace/../etc', ['/workspace'])).toBe(true);
    expect(hasParentSegment('/workspace/../etc')).toBe(true);
  });
});

describe('coveredBy', () => {
  it('has what isCoveredBy has, of any paths and prefixes', () => {
    const root = fc.constantFrom('/', 'C:\\', 'c:/', '//h/s/', '\\\\h\\s\\', '', '//');
    const segments = fc.array(fc.constantFrom('a', 'aa', 'B', '.', '..', '', '**', 'é', ' '), {
      maxLength: 4,
    });
    const path = fc
      .tuple(root, segments, fc.constantFrom('/', '\\'), fc.constantFrom('', '/'))
      .map(([begin, parts, separator, end]) => begin + parts.join(separator) + end);
    fc.assert(
      fc.property(
        fc.array(path, { maxLength: 6 }),
        fc.array(path, { minLength: 5, maxLength: 20 }),
        (prefixes, paths) => {
          const isCovered = coveredBy(prefixes);
          for (const it of paths) expect(isCovered(it)).toBe(isCoveredBy(it, prefixes));
          for (const it of prefixes) expect(isCovered(`${it}/b`)).toBe(isCoveredBy(`${it}/b`, prefixes));
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('hasParentSegment', () => {
  it.each(['/a/..', '/../a', '/..', 'C:\\a\\..\\b', 'C:/a/../b', '//h/s/..', '../a', 'a\\..\\b', '..'])(
    'finds it in %s',
    (path) => {
      expect(hasParentSegment(path)).toBe(true);
    },
  );

  it.each(['/a', '/a/...', '/a/..b', '/a/b..', '/a\\..\\b', 'C:\\a.b', '', '/*..*/x'])(
    'finds none in %j',
    (path) => {
      expect(hasParentSegment(path)).toBe(false);
    },
  );
});
