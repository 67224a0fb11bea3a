/**
 * What sandboxes show of the host's /etc, and why: docs/sandbox-etc.md is this table. All of it is for everybody on the
 * host to read; what is not, is left out wherever it lies, and so are passwords: of accounts, networks, package mirrors and
 * private keys nothing is shown. A `*` stands for anything within a name.
 */
export interface EtcEntry {
  /** Below /etc, or elsewhere where a distribution keeps there what belongs into /etc. */
  readonly path: string;
  readonly why: string;
  /** People write passwords into it: a file that looks like having one is left out. */
  readonly checked?: true;
}

/**
 * Mounted as they are, so that what an administrator changes is seen by the next command. Each costs every command a mount:
 * only what changes while a host runs.
 */
export const liveEtc: readonly EtcEntry[] = [
  { path: '/etc/alternatives', why: 'which java, awk or editor a name stands for' },
  { path: '/etc/ld.so.cache', why: 'where the dynamic linker finds libraries' },
  { path: '/etc/ssl/certs', why: 'CA certificates (Debian, Alpine, Arch)' },
  { path: '/etc/pki/ca-trust/extracted', why: 'CA certificates (Fedora, RHEL)' },
  {
    path: '/etc/pki/tls/certs',
    why: 'CA certificates (Fedora, RHEL), by the name that OpenSSL has for them',
  },
  { path: '/etc/ca-certificates/extracted', why: 'CA certificates (Arch)' },
  { path: '/var/lib/ca-certificates', why: 'CA certificates (openSUSE)' },
];

/** Copied when the executor starts. */
export const copiedEtc: readonly EtcEntry[] = [
  { path: '/etc/services', why: 'numbers of ports by name: getservbyname, getaddrinfo' },
  { path: '/etc/protocols', why: 'numbers of protocols by name: getprotobyname' },
  { path: '/etc/rpc', why: 'numbers of RPC programs by name' },
  { path: '/etc/ethertypes', why: 'numbers of Ethernet types by name' },
  { path: '/etc/netconfig', why: 'transports of libtirpc' },
  { path: '/etc/iproute2', why: 'names of tables for ip' },
  { path: '/etc/host.conf', why: 'how names of hosts are looked up' },
  { path: '/etc/gai.conf', why: 'which address of a host comes first' },
  { path: '/etc/mime.types', why: 'types of files by their ending: Python’s mimetypes, web servers' },
  { path: '/etc/mailcap', why: 'programs by type of file' },
  { path: '/etc/magic', why: 'types of files by their content: file' },
  { path: '/etc/magic.mime', why: 'types of files by their content: file' },
  { path: '/etc/localtime', why: 'the host’s time zone; /usr/share/zoneinfo has them all' },
  { path: '/etc/timezone', why: 'the same by its name (Debian)' },
  { path: '/etc/locale.conf', why: 'the host’s language (Fedora, Arch, openSUSE)' },
  { path: '/etc/locale.alias', why: 'other names of locales' },
  { path: '/etc/os-release', why: 'which distribution this is: installers and language tools ask' },
  { path: '/etc/lsb-release', why: 'the same, older' },
  { path: '/etc/*-release', why: 'the same, older (Fedora, RHEL, Arch, openSUSE, Alpine)' },
  { path: '/etc/debian_version', why: 'the same, older (Debian)' },
  { path: '/etc/dpkg/origins', why: 'whose distribution this is: dpkg-vendor, dpkg-buildpackage' },
  { path: '/etc/ld.so.conf', why: 'where ldconfig looks for libraries' },
  { path: '/etc/ld.so.conf.d', why: 'where ldconfig looks for libraries' },
  { path: '/etc/terminfo', why: 'terminals that the host has added' },
  { path: '/etc/inputrc', why: 'keys of readline' },
  { path: '/etc/shells', why: 'which shells there are' },
  { path: '/etc/papersize', why: 'the size of paper: groff, ghostscript, LaTeX' },
  { path: '/etc/ssl/openssl.cnf', why: 'OpenSSL; without it openssl req does not work' },
  { path: '/etc/ssl/ct_log_list.cnf', why: 'OpenSSL’s list of certificate logs' },
  { path: '/etc/ssl/cert.pem', why: 'CA certificates, by the name that LibreSSL, Go and Rust look for' },
  { path: '/etc/ssl/ca-bundle.pem', why: 'CA certificates (openSUSE)' },
  { path: '/etc/ssl/certs', why: 'where it is a link, or its links lead out of it: what they lead to' },
  { path: '/etc/pki/tls/certs', why: 'where it is a link, or its links lead out of it: what they lead to' },
  { path: '/etc/pki/tls/cert.pem', why: 'CA certificates, by another name (Fedora, RHEL)' },
  { path: '/etc/pki/tls/openssl.cnf', why: 'OpenSSL (Fedora, RHEL)' },
  { path: '/etc/pki/tls/openssl.d', why: 'OpenSSL (Fedora, RHEL)' },
  { path: '/etc/pki/tls/ct_log_list.cnf', why: 'OpenSSL’s list of certificate logs (Fedora, RHEL)' },
  { path: '/etc/pki/java/cacerts', why: 'CA certificates for Java (Fedora, RHEL)' },
  { path: '/etc/crypto-policies', why: 'which algorithms the host’s TLS libraries may use (Fedora, RHEL)' },
  { path: '/etc/gnutls', why: 'which algorithms GnuTLS may use' },
  { path: '/etc/java*', why: 'the JDK’s conf folder, which is a link to here: java, javac' },
  { path: '/etc/jvm*', why: 'where the JDKs are (Fedora, openSUSE)' },
  {
    path: '/etc/maven',
    why: 'mvn reads m2.conf before anything else; settings.xml only where no password is in it',
    checked: true,
  },
  { path: '/etc/ant', why: 'where ant has its libraries', checked: true },
  { path: '/etc/ant.conf', why: 'where ant has its libraries (Fedora)' },
  { path: '/etc/gradle', why: 'the distribution’s gradle', checked: true },
  {
    path: '/etc/php*',
    why: 'php.ini and the extensions that are switched on; a file only where no password is in it',
    checked: true,
  },
  { path: '/etc/perl', why: 'perl’s own site configuration' },
  { path: '/etc/python*', why: 'what the distribution sets for its Python' },
  { path: '/etc/mono', why: 'which native library a .NET program gets' },
  { path: '/etc/dotnet', why: 'where .NET is' },
  { path: '/etc/R', why: 'R’s own configuration', checked: true },
  { path: '/etc/octave*', why: 'Octave’s own configuration' },
  { path: '/etc/texmf', why: 'TeX’s own configuration' },
  { path: '/etc/matplotlibrc', why: 'matplotlib, as the distribution packs it' },
  { path: '/etc/fonts', why: 'fontconfig: fc-list, whatever draws text' },
  { path: '/etc/ImageMagick*', why: 'ImageMagick’s policy and colours: convert' },
  { path: '/etc/ghostscript', why: 'ghostscript’s fonts' },
  { path: '/etc/OpenCL', why: 'drivers of OpenCL' },
  { path: '/etc/glvnd', why: 'drivers of OpenGL' },
  { path: '/etc/vulkan', why: 'drivers of Vulkan' },
  { path: '/etc/xml', why: 'catalogues of XML: xmllint, xsltproc, docbook' },
  { path: '/etc/sgml', why: 'catalogues of SGML' },
  { path: '/etc/groff', why: 'groff’s own macros: man' },
  { path: '/etc/manpath.config', why: 'where manuals are: man' },
  { path: '/etc/mke2fs.conf', why: 'defaults of mkfs, which also makes images in files' },
  {
    path: '/etc/gitconfig',
    why: 'git’s own configuration of the host, only where nothing in it is for signing in; every repository counts as safe',
    checked: true,
  },
  { path: '/etc/login.defs', why: 'ranges of ids, which shadow’s tools ask for' },
];

/** Made up: the host's own would name its users and its network. */
export const madeUpEtc: readonly EtcEntry[] = [
  { path: '/etc/passwd', why: 'one user' },
  { path: '/etc/group', why: 'its group' },
  { path: '/etc/hosts', why: 'localhost and the sandbox’s name' },
  { path: '/etc/nsswitch.conf', why: 'files, and DNS for hosts' },
];
