import { gitBehind, gitDetails } from './git-options.ts';
import { named } from './grammar.ts';
import { npmOptions } from './npm-options.ts';
import type { PlainTool, SubcommandTool } from './subcommand-tool.ts';

const gnuStyle = { abbreviations: true, permutes: true } as const;

const docker: SubcommandTool = {
  names: named('docker podman nerdctl'),
  grammar: {
    short: 'c:DH:l:vhr',
    long: `config= context= debug host= log-level= tls tlscacert= tlscert= tlskey= tlsverify version help remote url=
      identity= connection= root= runroot= storage-driver= storage-opt= runtime= cgroup-manager= namespace= address=`,
  },
  careful: `-c -H -r --config --context --host --tlscacert --tlscert --tlskey --remote --url --identity --connection --root
    --runroot --storage-driver --storage-opt --runtime --namespace --address`,
  groups: `builder buildx checkpoint compose config container context image machine manifest network node plugin pod
    scout secret service stack swarm system trust volume`,
  details: {
    compose: {
      grammar: {
        short: 'f:p:',
        long: `file= project-name= profile= env-file= project-directory= ansi= progress= parallel= compatibility dry-run
          all-resources`,
      },
    },
    // What follows the image belongs to the program in it.
    run: { grammar: { short: '' } },
    exec: { grammar: { short: '' } },
    'container run': { grammar: { short: '' } },
    'container exec': { grammar: { short: '' } },
  },
};

const apt: SubcommandTool = {
  names: named('apt apt-get aptitude'),
  grammar: {
    short: 'hvyq::sdfmuVPt:c:o:a:',
    long: `yes assume-yes assume-no quiet? simulate just-print dry-run recon no-act download-only fix-broken
      ignore-missing no-download only-upgrade upgrade purge reinstall default-release= target-release= config-file= option=
      host-architecture= allow-downgrades allow-remove-essential allow-change-held-packages allow-unauthenticated
      print-uris list-cleanup trivial-only no-remove auto-remove autoremove diff-only dsc-only tar-only
      arch-only indep-only build-profiles= compile build install-recommends install-suggests show-progress with-source=
      verbose-versions show-upgraded help version no-*`,
    permutes: true,
  },
  careful: `-c -o --config-file --option --allow-downgrades --allow-remove-essential --allow-change-held-packages
    --allow-unauthenticated --with-source`,
  everywhere: true,
};

/** What this version knows of the tools that policies have rules for. A program may match one at most. */
export const subcommandTools: readonly SubcommandTool[] = [
  {
    names: named('git'),
    grammar: {
      short: 'pPvhc:C:',
      long: `config-env= exec-path? git-dir= work-tree= namespace= super-prefix= attr-source= list-cmds= shallow-file=
        html-path man-path info-path paginate no-pager bare no-replace-objects no-lazy-fetch no-optional-locks no-advice
        literal-pathspecs glob-pathspecs noglob-pathspecs icase-pathspecs version help`,
    },
    careful: `-c -C --config-env --exec-path --git-dir --work-tree --namespace --super-prefix --attr-source --shallow-file
      --bare`,
    aliases: 'stage:add pickaxe:blame annotate:blame init-db:init fsck-objects:fsck',
    groups: `bisect bundle commit-graph config lfs maintenance multi-pack-index notes reflog remote rerere
      sparse-checkout stash submodule subtree svn worktree`,
    behind: gitBehind,
    details: gitDetails,
  },
  {
    names: named('npm'),
    grammar: npmOptions,
    careful: `-g -c -L --global --location --userconfig --globalconfig --script-shell --shell --git --editor --viewer
      --node-options --node-gyp --init-module --call`,
    everywhere: true,
    abbreviates: true,
    // `npm installTest`
    fold: (text) => text.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    commands: `access adduser approve-scripts audit bugs cache ci completion config dedupe deny-scripts deprecate diff
      dist-tag docs doctor edit exec explain explore find-dupes fund get help help-search hook init install
      install-ci-test install-scripts install-test link ll login logout ls org outdated owner pack ping pkg prefix profile
      prune publish query rebuild repo restart root run sbom search set set-script shrinkwrap stage star stars start stop
      team test token trust undeprecate uninstall unpublish unstar update version view whoami`,
    aliases: `author:owner home:docs issues:bugs info:view show:view find:search add:install unlink:uninstall
      remove:uninstall rm:uninstall r:uninstall un:uninstall rb:rebuild list:ls ln:link create:init i:install
      it:install-test cit:install-ci-test u:update up:update c:config s:search se:search tst:test t:test ddp:dedupe
      v:view run-script:run clean-install:ci clean-install-test:install-ci-test x:exec why:explain la:ll
      verison:version ic:ci innit:init in:install ins:install inst:install insta:install instal:install isnt:install
      isnta:install isntal:install isntall:install install-clean:ci isntall-clean:ci hlep:help dist-tags:dist-tag
      upgrade:update udpate:update rum:run sit:install-ci-test urn:run ogr:org add-user:adduser`,
    groups: 'access cache config dist-tag hook org owner pkg profile stage team token trust',
  },
  {
    names: named('pnpm'),
    grammar: {
      short: 'rwhvsC:F:',
      long: `recursive workspace-root help version silent dir= filter= filter-prod= test-pattern= changed-files-ignore-pattern=
        reporter= stream aggregate-output loglevel= use-stderr color no-color yes ignore-scripts offline prefer-offline
        frozen-lockfile fail-if-no-match if-present parallel`,
    },
    groups: 'audit config env store patch server licenses cat-file',
    aliases: `i:install add:add remove:remove rm:remove uninstall:remove un:remove up:update upgrade:update list:list
      ls:list la:list ll:list ln:link t:test tst:test run-script:run c:config rb:rebuild`,
  },
  {
    names: named('yarn yarnpkg'),
    grammar: {
      short: 'shv',
      long: `silent cwd= verbose offline prefer-offline json no-progress non-interactive no-color frozen-lockfile
        ignore-scripts help version`,
    },
    groups: 'cache config global npm owner plugin tag team version workspaces workspace',
  },
  {
    names: named('pip'),
    grammar: {
      short: 'hVvq',
      long: `help debug isolated require-virtualenv python= verbose version quiet log= no-input keyring-provider= proxy=
        retries= timeout= exists-action= trusted-host= cert= client-cert= cache-dir= no-cache-dir
        disable-pip-version-check no-color no-python-version-warning use-feature= use-deprecated= resume-retries=`,
      abbreviations: true,
    },
    careful: '--python --proxy --trusted-host --cert --client-cert --use-deprecated',
    groups: 'cache config index',
    behind: { short: '', ...gnuStyle },
    details: {
      install: {
        grammar: {
          short: 'r:c:e:t:i:f:C:UIqv',
          long: `requirement= constraint= editable= target= index-url= extra-index-url= find-links= platform=
            python-version= implementation= abi= root= prefix= src= upgrade-strategy= progress-bar= report=
            config-settings= global-option= no-binary= only-binary= group= upgrade force-reinstall no-deps user
            dry-run pre require-hashes no-index no-build-isolation break-system-packages`,
          ...gnuStyle,
        },
        same: 'r:requirement c:constraint e:editable t:target i:index-url f:find-links U:upgrade I:ignore-installed',
      },
    },
  },
  docker,
  {
    names: named('cargo'),
    grammar: {
      short: 'vqVhC:Z:',
      long: 'version list explain= verbose quiet color= locked offline frozen config= help',
    },
    careful: '-C -Z --config',
    leading: /^\+/,
    aliases: 'b:build c:check d:doc t:test r:run rm:remove',
    groups: 'report',
  },
  apt,
  {
    names: named('dnf dnf5 yum microdnf'),
    grammar: {
      short: 'yqvhbCd:e:c:R:x:46',
      long: `assumeyes assumeno quiet verbose help best nobest cacheonly config= debuglevel= errorlevel= releasever=
        installroot= enablerepo= disablerepo= repo= repoid= exclude= setopt= disableplugin= enableplugin= nogpgcheck
        nodocs allowerasing skip-broken refresh color= forcearch= noplugins rpmverbosity= advisory= security version`,
      abbreviations: true,
      permutes: true,
    },
    careful: '-c --config --installroot --setopt --enableplugin --nogpgcheck --forcearch --releasever',
    aliases: 'in:install rm:remove erase:remove up:upgrade update:upgrade upgrade-minimal:upgrade',
    groups: 'group module history',
    everywhere: true,
  },
  {
    names: named('go'),
    grammar: { short: '', singleDash: true, long: 'C=' },
    careful: '--C',
    groups: 'mod work tool telemetry',
    behind: { short: '', singleDash: true, permutes: true },
  },
  {
    names: named('kubectl oc'),
    grammar: {
      short: 'hn:s:v:',
      long: `help namespace= server= kubeconfig= context= cluster= user= token= username= password= as= as-group= as-uid=
        certificate-authority= client-certificate= client-key= insecure-skip-tls-verify? tls-server-name=
        request-timeout= cache-dir= match-server-version? disable-compression? profile= profile-output= warnings-as-errors?
        v= vmodule= log-flush-frequency=`,
    },
    careful: `-s --server --kubeconfig --context --cluster --user --token --username --password --as --as-group --as-uid
      --certificate-authority --client-certificate --client-key --insecure-skip-tls-verify --tls-server-name`,
    groups: 'alpha apply auth certificate config create rollout set top adm plugin',
  },
  {
    names: named('helm'),
    grammar: {
      short: 'hn:',
      long: `help namespace= debug burst-limit= qps= kube-apiserver= kube-as-group= kube-as-user= kube-ca-file= kube-context=
        kube-insecure-skip-tls-verify kube-tls-server-name= kube-token= kubeconfig= registry-config=
        repository-cache= repository-config=`,
    },
    careful: `--kube-apiserver --kube-as-group --kube-as-user --kube-ca-file --kube-context --kube-insecure-skip-tls-verify
      --kube-tls-server-name --kube-token --kubeconfig --registry-config --repository-config`,
    aliases: 'ls:list del:uninstall delete:uninstall un:uninstall upd:update',
    groups: 'dependency get history plugin registry repo search show',
  },
  {
    names: named('gh glab'),
    grammar: { short: 'h', long: 'help version' },
    groups: `agent-task alias attestation auth cache ci codespace config discussion extension gist gpg-key issue label mr
      org pr preview project release repo ruleset run search secret ssh-key status variable workflow`,
  },
  {
    names: named('terraform tofu'),
    grammar: { short: '', singleDash: true, long: 'chdir= help version' },
    careful: '--chdir',
    groups: 'providers state workspace metadata',
    behind: { short: '', singleDash: true, permutes: true },
  },
  {
    names: named('gem'),
    grammar: { short: 'hvC:', long: 'help version norc config-file=' },
    abbreviates: true,
    commands: `build cert check cleanup contents dependency environment exec fetch generate_index help info install list
      lock mirror open outdated owner pristine push query rdoc rebuild search server signin signout sources specification
      stale uninstall unpack update which yank`,
  },
  {
    names: named('bundle bundler'),
    grammar: { short: 'rVh', long: 'retry= verbose no-color help version' },
    // thor: any unique beginning of a command.
    abbreviates: true,
    commands: `add binstubs cache check clean config console doctor env exec fund gem help info init inject install issue
      licenses list lock open outdated package platform plugin pristine remove show update version viz`,
    aliases: 'e:exec ex:exec exe:exec i:install c:check ls:list',
  },
  {
    names: named('composer'),
    grammar: {
      short: 'hqVnd:v',
      long: `help quiet version ansi no-ansi no-interaction profile no-plugins no-scripts working-dir= no-cache verbose`,
      abbreviations: true,
    },
    careful: '-d --working-dir',
    // Symfony Console: any unique beginning.
    abbreviates: true,
    commands: `about archive audit browse bump check-platform-reqs clear-cache completion config create-project depends
      diagnose dump-autoload exec fund global help init install licenses list outdated prohibits reinstall remove require
      run-script search self-update show status suggests update validate`,
    aliases: `cc:clear-cache clearcache:clear-cache dumpautoload:dump-autoload home:browse i:install info:show r:require
      rm:remove run:run-script selfupdate:self-update u:update upgrade:update uninstall:remove why:depends
      why-not:prohibits`,
  },
  {
    names: named('uv'),
    grammar: {
      short: 'qvhVn',
      long: `quiet verbose color= native-tls offline allow-insecure-host= no-progress directory= project= config-file=
        no-config no-cache cache-dir= no-python-downloads managed-python no-managed-python help version`,
    },
    careful: '--allow-insecure-host --directory --project --config-file',
    groups: 'auth cache pip python self tool',
  },
  {
    names: named('poetry'),
    grammar: {
      short: 'hqVnvP:C:',
      long: 'help quiet version ansi no-ansi no-interaction no-plugins no-cache project= directory= verbose',
    },
    careful: '-P -C --project --directory',
    groups: 'cache config debug env self source python',
  },
  {
    names: named('systemctl'),
    grammar: {
      short: 'hlqart:p:P:H:M:n:o:s:fiT',
      long: `type= state= property= all recursive reverse with-dependencies job-mode= show-transaction full no-pager quiet
        no-legend no-block wait user system now runtime global plain value force root= host= machine= signal= kill-whom=
        lines= output= firmware-setup help version no-wall no-reload no-ask-password`,
      abbreviations: true,
      permutes: true,
    },
    careful: '-H -M --host --machine --root --global --user --system',
    everywhere: true,
  },
  {
    names: named('g?make ninja samu just'),
    grammar: {
      short: 'bmBeikLnpqrRsStvwhC:f:I:o:W:E:j::l::O::',
      long: `eval= file= makefile= directory= include-dir= old-file= assume-old= what-if= new-file= assume-new=
        jobserver-style= jobs? load-average? max-load? output-sync? debug? shuffle? keep-going always-make silent quiet
        dry-run just-print no-print-directory print-directory question touch trace warn-undefined-variables
        ignore-errors environment-overrides no-builtin-rules no-builtin-variables stop no-keep-going version help`,
      ...gnuStyle,
    },
    careful: '-C -f -I -E -e --directory --file --makefile --include-dir --eval --environment-overrides',
    several: true,
    everywhere: true,
  },
  {
    names: named('gradlew? mvnw?'),
    grammar: { short: '', permutes: true },
    several: true,
  },
];

const coreutils = { ...gnuStyle } as const;

/** What this version knows of programs without subcommands. */
export const plainTools: readonly PlainTool[] = [
  {
    names: named('g?rm'),
    grammar: {
      short: 'fiIrRdv',
      long: 'force interactive? one-file-system no-preserve-root preserve-root? recursive dir verbose help version',
      ...coreutils,
    },
    same: 'f:force r:recursive R:recursive d:dir v:verbose',
    paths: true,
  },
  {
    names: named('g?cp g?mv g?ln'),
    grammar: {
      short: 'abdfiHlLnPpRrsTuvxZFt:S:',
      long: `archive attributes-only backup? copy-contents debug force interactive link dereference no-clobber
        no-dereference preserve? no-preserve= parents recursive reflink? remove-destination sparse= strip-trailing-slashes
        symbolic-link suffix= target-directory= no-target-directory update? verbose one-file-system context? exchange
        directory logical physical relative symbolic help version`,
      ...coreutils,
    },
    same: 'a:archive f:force i:interactive n:no-clobber r:recursive R:recursive t:target-directory v:verbose',
    paths: true,
  },
  {
    names: named('g?rmdir g?unlink g?shred g?mkdir g?touch'),
    grammar: {
      short: 'pvmzufxacht:n:s:d:r:',
      long: `ignore-fail-on-non-empty parents verbose mode= force iterations= random-source= size= remove? exact zero
        no-create date= reference= time= no-dereference help version`,
      ...coreutils,
    },
    same: 'p:parents v:verbose f:force',
    paths: true,
  },
  {
    names: named('g?sort'),
    grammar: {
      short: 'bdfgiMhnRrVcCmsuzk:o:S:t:T:',
      long: `ignore-leading-blanks dictionary-order ignore-case general-numeric-sort ignore-nonprinting month-sort
        human-numeric-sort numeric-sort random-sort random-source= reverse sort= version-sort batch-size= check?
        compress-program= debug files0-from= key= merge output= stable buffer-size= field-separator=
        temporary-directory= parallel= unique zero-terminated help version`,
      ...coreutils,
    },
    same: 'o:output k:key t:field-separator T:temporary-directory r:reverse u:unique n:numeric-sort',
    paths: true,
  },
];
