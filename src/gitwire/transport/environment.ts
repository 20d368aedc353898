/** The environment of the process as it is passed in, and what of it the programs we start may see. */

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that speak of this repository, not of another one (git: `git rev-parse --local-env-vars`). */
const REPOSITORY_VARIABLES = [
  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
  "GIT_CONFIG",
  "GIT_CONFIG_PARAMETERS",
  "GIT_CONFIG_COUNT",
  "GIT_OBJECT_DIRECTORY",
  "GIT_DIR",
  "GIT_WORK_TREE",
  "GIT_IMPLICIT_WORK_TREE",
  "GIT_GRAFT_FILE",
  "GIT_INDEX_FILE",
  "GIT_NO_REPLACE_OBJECTS",
  "GIT_REPLACE_REF_BASE",
  "GIT_PREFIX",
  "GIT_SHALLOW_FILE",
  "GIT_COMMON_DIR",
  "GIT_INTERNAL_SUPER_PREFIX",
];

/** `env` without what speaks of this repository: for a program that serves another one. */
export function withoutRepository(env: Environment): Environment {
  const copy: Record<string, string | undefined> = { ...env };
  for (const name of REPOSITORY_VARIABLES) delete copy[name];
  return copy;
}

/** True for git's ways to say yes in a variable: set and not `0`, `false`, `no`, `off` or empty. */
export function isTrue(value: string | undefined): boolean {
  return value !== undefined && !/^(|0|false|no|off)$/i.test(value);
}

/** `text` as one word for sh (git: `sq_quote`): in single quotes, `'` and `!` outside of them. */
export function shellQuote(text: string): string {
  return `'${text.replace(/['!]/g, "'\\$&'")}'`;
}

/**
 * Arguments that run `command` followed by `args` as git runs a configured program: through sh where it has anything that
 * sh would read, as it is otherwise (git: run-command.c `prepare_shell_cmd`).
 */
export function shellCommand(command: string, args: readonly string[]): string[] {
  if (!/[|&;<>()$`\\"' \t\n*?[#~=%]/.test(command)) return [command, ...args];
  return args.length === 0 ? ["/bin/sh", "-c", command] : ["/bin/sh", "-c", `${command} "$@"`, command, ...args];
}
