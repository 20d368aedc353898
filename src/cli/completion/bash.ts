/** Completion for bash. Works with and without bash-completion, and as `git kv` through git's own completion. */

import type { Command, Program } from "../command.ts";
import type { FlagSpec } from "../spec.ts";
import { gitWord, groups, identifier, nextWords, offered, ownFlags, quote, spellings, takesValue } from "./shape.ts";

export function bash(program: Program): string {
  const name = `_${identifier(program)}`;
  const valued = program.globals.filter(takesValue).flatMap(spellings).join("|");
  const inGit =
    gitWord(program) === undefined
      ? ""
      : `  while [[ $start -eq 1 || \${COMP_WORDS[start - 1]} != ${gitWord(program)} ]] && [[ \${COMP_WORDS[0]##*/} == git ]] && ((start < COMP_CWORD)); do ((start++)); done\n`;
  return `# Completion of ${program.title} for bash. Load it with: source <(${program.name} completion bash)

${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} start=1 i word cmd= skip= words= flags=
  # --flag=value arrives as three words.
  [[ $cur == = ]] && cur=
  [[ $prev == = ]] && prev=\${COMP_WORDS[COMP_CWORD - 2]}
  COMPREPLY=()
${inGit}  for ((i = start; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then
      [[ $word == = ]] || skip=
      continue
    fi
    case $word in
      ${valued}) skip=1 ;;
      -*) ;;
      *)
        cmd=\${cmd:+$cmd }$word
        case $cmd in
          ${groups(program).join("|") || "''"}) ;;
          *) break ;;
        esac
        ;;
    esac
  done
  case $cmd in
${["", ...groups(program)].map((group) => `    ${quote(group)}) words=${quote(words(program, group))} ;;`).join("\n")}
${offered(program).map(commandCase).join("\n")}
  esac
  case "$cmd $prev" in
${valueCases(program).join("\n")}
  esac
  [[ $cur == -* ]] && words="$flags ${flagWords(program.globals)}"
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F ${name} ${program.name}
`;
}

function words(program: Program, group: string): string {
  return nextWords(program, group)
    .map(([word]) => word)
    .join(" ");
}

function commandCase(command: Command): string {
  const choices = (command.args ?? []).flatMap((arg) => arg.choices ?? []).join(" ");
  return `    ${quote(command.name)}) flags=${quote(flagWords(ownFlags(command)))} words=${quote(choices)} ;;`;
}

function flagWords(flags: readonly FlagSpec[]): string {
  return flags.map((flag) => `--${flag.name}`).join(" ");
}

/** Where the word before is a flag that takes a value: its choices, folders, or what bash offers by default (files). */
function valueCases(program: Program): string[] {
  const cases = program.globals.filter(takesValue).map((flag) => valueCase("*", flag));
  for (const command of offered(program)) {
    for (const flag of ownFlags(command).filter(takesValue)) cases.push(valueCase(quote(command.name), flag));
  }
  return cases.length > 0 ? cases : ["    *) ;;"];
}

function valueCase(command: string, flag: FlagSpec): string {
  const patterns = spellings(flag)
    .map((spelling) => `${command}" ${spelling}"`)
    .join("|");
  const reply =
    flag.choices === undefined
      ? flag.complete === "directory"
        ? 'COMPREPLY=($(compgen -d -- "$cur")); '
        : ""
      : `COMPREPLY=($(compgen -W ${quote(flag.choices.join(" "))} -- "$cur")); `;
  return `    ${patterns}) ${reply}return ;;`;
}
