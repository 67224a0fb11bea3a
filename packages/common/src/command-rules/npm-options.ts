import type { Grammar } from './grammar.ts';

/**
 * npm's own definitions (`@npmcli/config`, npm 11 and before). An option that takes a value or none, as `--browser` does,
 * is left out: which word is the command then depends on the next one.
 */
export const npmOptions: Grammar = {
  short: 'adsqnlpfgyvhH?SBDEOPc:C:L:m:w:',
  singleDash: true,
  abbreviations: true,
  long: `all allow-same-version audit bin-links bypass-2fa commit-hooks dangerously-allow-all-scripts description dev
    diff-ignore-all-space diff-name-only diff-no-prefix diff-text dry-run engine-strict expect-results force
    foreground-scripts format-package-lock fund git-tag-version global global-style if-present ignore-scripts
    include-staged include-workspace-root include-attestations init-private install-links json legacy-bundling
    legacy-peer-deps link long offline optional package-lock package-lock-only parseable prefer-dedupe prefer-offline
    prefer-online production progress provenance read-only rebuild-bundle save save-bundle save-dev save-exact
    save-optional save-peer save-prod shrinkwrap sign-git-commit sign-git-tag strict-peer-deps strict-ssl timing unicode
    update-notifier usage version versions workspaces workspaces-update yes
    dd ddd quiet silent verbose desc help local no porcelain readonly iwr ws no-*
    access= also= audit-level= auth-type= before= ca= cache= cache-max= cache-min= cafile= call= cert= cidr= cpu= depth=
    diff= diff-dst-prefix= diff-src-prefix= diff-unified= editor= enjoy-by= expect-result-count= expires=
    fetch-retries= fetch-retry-factor= fetch-retry-maxtimeout= fetch-retry-mintimeout= fetch-timeout= git=
    globalconfig= heading= https-proxy= include= init-author-email= init-author-name= init-author-url= init-license=
    init-module= init-type= init-version= install-strategy= key= libc= local-address= location= lockfile-version=
    loglevel= logs-dir= logs-max= maxsockets= message= min-release-age= node-gyp= node-options= noproxy= omit= only=
    os= otp= package= pack-destination= prefix= preid= provenance-file= proxy= reg= registry= replace-registry-host=
    save-prefix= sbom-format= sbom-type= scope= script-shell= searchexclude= searchlimit= searchopts= searchstaleness=
    shell= tag= tag-version-prefix= umask= user-agent= userconfig= viewer= which= workspace=`,
};
