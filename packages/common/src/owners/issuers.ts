import * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { toPart } from '../identity/index.ts';
import {
  boundedText,
  integer,
  nonEmptyText,
  oneOf,
  tokenAlgorithms,
  uniqueList,
  validate,
  versionMember,
} from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';

/** Whose tokens they are: what their claims are called. */
const issuerKinds = ['github', 'buildkite', 'gitlab', 'generic'] as const;
export type IssuerKind = (typeof issuerKinds)[number];

// Anybody may have a token of a public issuer: what does not say whose job it is lets the whole world in. A name that
// was given up can be taken by another (the number cannot), which is for the owners to weigh.
const owningClaims: Readonly<Record<IssuerKind, readonly string[] | undefined>> = {
  github: ['repository', 'repository_id', 'repository_owner', 'repository_owner_id'],
  buildkite: ['organization_slug', 'organization_id', 'pipeline_slug', 'pipeline_id'],
  gitlab: ['project_path', 'project_id', 'namespace_path', 'namespace_id'],
  generic: undefined,
};

// What their tokens say, as far as it is documented: who means another claim has most likely mistyped it.
// https://docs.github.com/actions/reference/security/oidc, https://buildkite.com/docs/agent/cli/reference/oidc,
// https://docs.gitlab.com/ci/secrets/id_token_authentication
const standardClaims = 'iss sub aud exp nbf iat jti';
const knownClaims: Readonly<Record<IssuerKind, ReadonlySet<string> | undefined>> = {
  github: new Set(
    `${standardClaims} actor actor_id base_ref check_run_id enterprise enterprise_id environment environment_node_id event_name head_ref issuer_scope job_workflow_ref job_workflow_sha ref ref_protected ref_type repository repository_id repository_owner repository_owner_id repository_visibility run_attempt run_id run_number runner_environment sha workflow workflow_ref workflow_sha`.split(
      ' ',
    ),
  ),
  buildkite: new Set(
    `${standardClaims} organization_slug organization_id pipeline_slug pipeline_id build_number build_branch build_tag build_commit build_source step_key job_id agent_id cluster_id cluster_name queue_id queue_key runner_environment build_id`.split(
      ' ',
    ),
  ),
  gitlab: new Set(
    `${standardClaims} namespace_id namespace_path project_id project_path user_id user_login user_email user_access_level user_identities pipeline_id pipeline_source job_id job_namespace_id job_namespace_path job_project_id job_project_path job_source ref ref_type ref_path ref_protected environment environment_protected environment_action deployment_tier deployment_action groups_direct runner_id runner_environment sha ci_config_ref_uri ci_config_sha project_visibility`.split(
      ' ',
    ),
  ),
  generic: undefined,
};

/** The claims that the rules of an issuer demand or name, and that its kind is not known to have: most likely mistyped. */
export function strangeClaims({ kind, principals }: Pick<Issuer, 'kind' | 'principals'>): readonly string[] {
  const known = knownClaims[kind];
  if (known === undefined) return [];
  const named = principals.flatMap(({ principal, claims }) => [
    ...Object.keys(claims),
    ...[...principal.matchAll(/\{([a-z0-9_]+)\}/g)].map(([, name = '']) => name),
  ]);
  return [...new Set(named)].filter((name) => !known.has(name));
}

const https = z
  .string()
  .max(512)
  .refine(isHttps, { error: 'must be an https URL without credentials, query and fragment' });

function isHttps(text: string): boolean {
  if (!/^https:\/\/[A-Za-z0-9]/.test(text) || !URL.canParse(text)) return false;
  const { username, password, search, hash } = new URL(text);
  return [username, password, search, hash].every((it) => it === '') && !/[\s?#\\]/.test(text);
}

/** RFC 7517 §4, as far as a signature is verified with it. A private key has members that are none here, and is refused. */
export const jwkSchema = z
  .strictObject({
    kty: oneOf(['RSA', 'EC', 'OKP']),
    kid: boundedText({ min: 1, max: 256 }),
    use: z.literal('sig').exactOptional(),
    alg: boundedText({ min: 1, max: 16 }).exactOptional(),
    n: z.string().max(2048).exactOptional(),
    e: z.string().max(16).exactOptional(),
    crv: oneOf(['P-256', 'Ed25519']).exactOptional(),
    x: z.string().max(64).exactOptional(),
    y: z.string().max(64).exactOptional(),
    // As issuers publish them; they say nothing here.
    x5c: z.array(z.string().max(8192)).max(8).exactOptional(),
    x5t: z.string().max(64).exactOptional(),
    'x5t#S256': z.string().max(64).exactOptional(),
    key_ops: z.array(z.string().max(16)).max(8).exactOptional(),
  })
  .meta({ id: 'IssuerKey', description: 'One public key, as the issuer publishes it (RFC 7517).' });

export type IssuerKey = z.infer<typeof jwkSchema>;

/** As many keys as an issuer may have at a time. */
export const maxIssuerKeys = 64;

/** What an issuer publishes its keys as (RFC 7517 §5). */
const jwksSchema = z.strictObject({ keys: z.array(jwkSchema).min(1).max(maxIssuerKeys) });

const fetchMember = z
  .strictObject({
    jwks_uri: https.exactOptional().meta({
      description:
        'Where the keys are. Absent: where ISSUER/.well-known/openid-configuration says, on the same host.',
    }),
    ca: z.string().max(65_536).exactOptional().meta({
      description: 'The CA of that server, PEM. Absent: those that the host itself trusts.',
    }),
    max_stale_sec: integer({ min: 60, max: 7 * 86_400 })
      .default(86_400)
      .meta({
        description: 'For so long keys that were fetched go on where the issuer cannot be asked.',
      }),
  })
  .meta({ description: 'Leave for gate and hosts to fetch the keys. Absent: they never do.' });

// One * a pattern, which stops at a slash: what it may stand for can be read off it.
const claimPattern = boundedText({ min: 1, max: 255 })
  .refine((text) => text.split('*').length <= 2, {
    error: 'may hold one *, which stands for any characters but /',
  })
  .refine((text) => !/\{[^{}]*\}|<[^<>]*>/.test(text), {
    error: 'is what a claim must be, to the letter: no {placeholder} is replaced here',
  });

const claimName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be the name of a claim');

const principalTemplate = z
  .string()
  .max(255)
  .regex(
    /^[A-Za-z0-9_-]+(\.([A-Za-z0-9_-]+|\{[a-z][a-z0-9_]{0,63}\}))*$/,
    'must be parts that are joined by dots, each a text or a {claim} and the first a text: ci.github.{repository}.{ref}',
  )
  .meta({
    description:
      'The NAME of spiffe://TRUST_DOMAIN/client/NAME. A claim stands there as it is but for what is neither letter, digit nor -, which becomes _ and two hex digits a byte: acme/app is acme_2fapp. So no claim can hold the dot that parts are joined by.',
    examples: ['ci.github.{repository}.{ref}'],
  });

const mapping = z.strictObject({
  principal: principalTemplate,
  claims: z.record(claimName, z.union([claimPattern, uniqueList(claimPattern, 1)])).meta({
    description:
      'What each of these claims must be, whole: a text, or one of several; * stands for any characters but /. One that is not there is not met.',
  }),
});

const issuer = z
  .strictObject({
    issuer: https.meta({
      description: 'The claim iss, to the letter.',
      examples: ['https://token.actions.githubusercontent.com'],
    }),
    kind: oneOf(issuerKinds),
    algorithms: uniqueList(oneOf(tokenAlgorithms), 1).default(['RS256']),
    jwks: jwksSchema.exactOptional().meta({ description: 'The keys, pinned: no other counts.' }),
    fetch: fetchMember.exactOptional(),
    binding: oneOf(['key', 'weak']).default('key').meta({
      description:
        'key: the token’s aud names the key that signs the submission. weak: it cannot (GitLab, whose aud stands in the pipeline’s file): whoever sees the token, as a gate does, can sign for its principal while it lasts.',
    }),
    audience: nonEmptyText.max(255).exactOptional().meta({
      description:
        'With binding weak: the claim aud, to the letter. Otherwise it is csc:TRUST_DOMAIN:KEY_SHA256.',
    }),
    max_token_age_sec: integer({ min: 30, max: 86_400 }).default(3600).meta({
      description: 'A submission is made at most so long after its token was issued.',
    }),
    max_wait_sec: integer({ min: 0, max: 86_400 }).default(3600).meta({
      description: 'It is started at most so long after its token has ended.',
    }),
    clock_tolerance_sec: integer({ min: 0, max: 300 }).default(60),
    principals: z.array(mapping).min(1).max(1000).meta({
      description:
        'Read from the top: the first whose claims are all met says who it is; where none is, nobody.',
    }),
  })
  .superRefine(refineIssuer, { when: () => true });

/** The rules of issuers.yaml. */
export const issuersSchema = z
  .strictObject({
    issuers_version: versionMember('issuers', 'csc.issuers.v0.1'),
    issuers: z
      .array(issuer)
      .max(100)
      .superRefine(refineApart, { when: () => true }),
  })
  .meta({
    title: 'CSC issuers v0.1',
    description: 'Whose tokens say who a CI job is, and which principal that is.',
  });

/** One issuer of tokens, as the owners describe it. */
export type Issuer = z.infer<typeof issuer>;

/** Reads issuers.yaml. Gives every fault at once. */
export function parseIssuers(bytes: Uint8Array): Parsed<z.infer<typeof issuersSchema>> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  return document.ok ? validate(issuersSchema, document.value satisfies JsonValue) : document;
}

/** What a principal's name begins with whatever the claims are: the parts before the first claim. */
export function headOf(template: string): string {
  const parts = template.split('.');
  const at = parts.findIndex((part) => part.startsWith('{'));
  return (at < 0 ? parts : parts.slice(0, at)).map((part) => `${part}.`).join('');
}

type Mapping = z.infer<typeof mapping>;

/** What a part of a name may be: this text, or any with this beginning and this end. */
type Form = { readonly whole: string } | { readonly head: string; readonly tail: string };

function formsOf(part: string, { claims }: Mapping): readonly Form[] {
  if (!part.startsWith('{')) return [{ whole: part }];
  const demanded = new Map(Object.entries(claims)).get(part.slice(1, -1)) ?? '*';
  return [demanded].flat().map((pattern): Form => {
    const [head = '', tail] = pattern.split('*').map(toPart);
    return tail === undefined ? { whole: head } : { head, tail };
  });
}

function mayBeOne(one: Form, other: Form): boolean {
  if ('whole' in one) return 'whole' in other ? one.whole === other.whole : isOf(one.whole, other);
  if ('whole' in other) return isOf(other.whole, one);
  return (
    (one.head.startsWith(other.head) || other.head.startsWith(one.head)) &&
    (one.tail.endsWith(other.tail) || other.tail.endsWith(one.tail))
  );
}

// Of the texts that claims come to.
function isOf(text: string, { head, tail }: Extract<Form, { head: string }>): boolean {
  const isLong = text.length >= head.length + tail.length;
  return (
    isLong && text.startsWith(head) && text.endsWith(tail) && /^([A-Za-z0-9-]|_[0-9a-f]{2})+$/.test(text)
  );
}

type Parts = readonly (readonly Form[])[];

function partsOf(it: Mapping): Parts {
  return it.principal.split('.').map((part) => formsOf(part, it));
}

function mayCollide(one: Parts, other: Parts): boolean {
  return (
    one.length === other.length &&
    one.every((forms, at) => forms.some((a) => (other[at] ?? []).some((b) => mayBeOne(a, b))))
  );
}

// A branch called prod must not be the job for which another rule says `.prod`.
function refineRules(rules: readonly Mapping[], fault: (path: PropertyKey[], message: string) => void): void {
  const parts = rules.map(partsOf);
  for (const [index, { principal }] of rules.entries()) {
    const clash = rules.findIndex(
      (other, at) =>
        at < index && other.principal !== principal && mayCollide(parts[at] ?? [], parts[index] ?? []),
    );
    if (clash < 0) continue;
    const message = `a claim could make it ${rules[clash]?.principal} of principals[${clash}]: tell them apart by a word`;
    fault(['principals', index, 'principal'], message);
  }
}

// Beside the members' own faults, so that all come at once; the value may be anything.
function refineIssuer(value: unknown, context: z.core.$RefinementCtx): void {
  const it = z
    .looseObject({
      kind: oneOf(issuerKinds),
      binding: z.string().optional(),
      principals: z.array(mapping).optional(),
    })
    .safeParse(value).data;
  if (it === undefined) return;
  const fault = (path: PropertyKey[], message: string): void => {
    context.addIssue({ code: 'custom', path, message });
  };
  if ('jwks' in it === 'fetch' in it)
    fault(['jwks'], 'give either jwks (keys that are pinned) or fetch (leave to fetch them)');
  if (it.kind === 'gitlab' && it.binding !== 'weak')
    fault(['binding'], 'must be weak: GitLab cannot bind a token to a key; say so, or leave it out');
  if (it.binding === 'weak' && !('audience' in it))
    fault(['audience'], 'is required with binding: weak: what the pipeline’s file says under aud');
  if (it.binding !== 'weak' && 'audience' in it) fault(['audience'], 'is only for binding: weak');
  refineRules(it.principals ?? [], fault);
  for (const [index, { claims }] of (it.principals ?? []).entries()) {
    const wanted = owningClaims[it.kind];
    const exact = Object.entries(claims).filter(([, patterns]) =>
      [patterns].flat().every((text) => !text.includes('*')),
    );
    if (exact.some(([name]) => wanted?.includes(name) ?? true)) continue;
    const one = wanted === undefined ? 'of a claim' : `of one of ${wanted.join(', ')}`;
    fault(
      ['principals', index, 'claims'],
      `must demand the whole text ${one}, without *: anybody else’s job would do`,
    );
  }
}

// Two issuers must not be able to name the same principal: one of them would speak for the other's jobs.
function refineApart(value: unknown, context: z.core.$RefinementCtx): void {
  const all =
    z.array(z.looseObject({ issuer: z.string(), principals: z.array(mapping) })).safeParse(value).data ?? [];
  for (const [index, one] of all.entries()) {
    const earlier = all.slice(0, index);
    if (earlier.some((other) => other.issuer === one.issuer))
      context.addIssue({
        code: 'custom',
        path: [index, 'issuer'],
        message: 'stands there already: once an issuer',
      });
    const heads = (of: typeof one) => of.principals.map((it) => headOf(it.principal));
    const clash = earlier.find((other) =>
      heads(other).some((a) => heads(one).some((b) => a.startsWith(b) || b.startsWith(a))),
    );
    if (clash === undefined) continue;
    const message = `may come to the same principals as those of ${clash.issuer}: begin them with other words`;
    context.addIssue({ code: 'custom', path: [index, 'principals'], message });
  }
}
