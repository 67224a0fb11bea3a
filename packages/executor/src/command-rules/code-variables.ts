/** Variables whose value some program that inherits them runs, or takes options that bring code from. */
interface CodeVariables {
  readonly names: RegExp;
  /** Values that are nothing of the kind. Absent: none is. */
  readonly harmless?: RegExp;
}

const table: readonly CodeVariables[] = [
  // bash(1): exported functions; values that it expands before it reads a script.
  { names: /^(?:BASH_FUNC_.*|BASH_ENV|PROMPT_COMMAND|PS[0-4]|SHELLOPTS)$/ },
  // git(1): commands, and configuration, which can name some.
  {
    names:
      /^GIT_(?:\w*_COMMAND|SSH|ASKPASS|EXTERNAL_DIFF|CONFIG(?!_NOSYSTEM$)\w*|EXEC_PATH|TEMPLATE_DIR|ALLOW_PROTOCOL|(?:DIFF|MERGE)_?TOOL\w*)$/,
    harmless: /^(?:\/dev\/null|(?:\/bin\/|\/usr\/bin\/)?(?:true|false)|:)?$/,
  },
  {
    names:
      /^(?:SSH_ASKPASS|SUDO_ASKPASS|CVS_RSH|RSYNC_RSH|SVN_SSH|CVS_SERVER|ARCH_CLIENT|LESSOPEN|LESSCLOSE|BROWSER|VIMINIT|EXINIT)$/,
  },
  {
    names: /^(?:\w*PAGER|\w*EDITOR|VISUAL|FCEDIT)$/,
    harmless: /^(?:cat|less|more|true|false|:)?$/,
  },
  { names: /^(?:PERL5OPT|PERL5DB|LUA_INIT\w*|TAR_OPTIONS|RUSTC_\w*WRAPPER|CARGO_\w*(?:RUNNER|LINKER))$/ },
  { names: /^(?:GNU)?MAKEFLAGS$/, harmless: /^(?:(?:-j\d*|-[kswB]+|-l\d*)\s*)*$/ },
  // Modules and agents are files; these values are not.
  { names: /^NODE_OPTIONS$/, harmless: /^(?![\s\S]*data:)/i },
  {
    names: /^(?:JAVA_TOOL|_JAVA|JDK_JAVA)_OPTIONS$/,
    harmless: /^(?![\s\S]*OnOutOfMemoryError|[\s\S]*OnError)/,
  },
  { names: /^npm_config_(?:call|script_shell|shell|editor|viewer|node_options|init_module)$/i },
];

/** True where what is assigned to a variable may be run by the program that is started with it. */
export function isCodeVariable(name: string, value: string): boolean {
  return table.some(({ names, harmless }) => names.test(name) && harmless?.test(value) !== true);
}
