/** Completion for bash. Works with and without bash-completion, and as `git kv` through git's own completion. */

import type { Command, Program } from "../command.ts";
import type { FlagSpec } from "../spec.ts";
import {
  gitWord,
  groups,
  hasKeys,
  identifier,
  isKey,
  keyCommand,
  nextWords,
  offered,
  ownFlags,
  quote,
  spellings,
  takesValue,
  wordsOf,
} from "./shape.ts";

export function bash(program: Program): string {
  const name = `_${identifier(program)}`;
  const valued = program.globals.filter(takesValue).flatMap(spellings).join("|");
  const inGit =
    gitWord(program) === undefined
      ? ""
      : `  while [[ $start -eq 1 || \${COMP_WORDS[start - 1]} != ${gitWord(program)} ]] && [[ \${COMP_WORDS[0]##*/} == git ]] && ((start < COMP_CWORD)); do ((start++)); done\n`;
  return `# Completion of ${program.title} for bash. Load it with: source <(${program.name} completion bash)

${hasKeys(program) ? keysFunction(program) : ""}${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} start=1 i word cmd= skip= words= flags= keys=
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
${offered(program)
  .map((command) => commandCase(program, command))
  .join("\n")}
  esac
${
  hasKeys(program)
    ? `  [[ -n $keys ]] && __${identifier(program)}_keys && return
`
    : ""
}  case "$cmd $prev" in
${valueCases(program).join("\n")}
  esac
  [[ $cur == -* ]] && words="$flags ${flagWords(program.globals)}"
${
  hasKeys(program)
    ? `  [[ -n $keys && $cur != -* ]] && { __${identifier(program)}_keys; return; }
`
    : ""
}  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F ${name} ${program.name}
`;
}

/**
 * Keys that go on from the line. Readline breaks words at : and =, and wants only what comes after the last of them; outside
 * quotes it wants what needs them quoted.
 */
function keysFunction(program: Program): string {
  return `__${identifier(program)}_keys() {
  local line=\${COMP_LINE:0:COMP_POINT} head= key
  local typed=\${line##*[[:space:]]} quote=\${cur:0:1}
  if [[ $quote != [\\"\\'] && $typed == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then
    head=\${typed%"\${typed##*[:=]}"}
    [[ $head == --*=* ]] && head=\${head#*=}
  fi
  while IFS= read -r key; do
    # A key is somebody's data, and what stands on the line is run.
    case $quote in
      \\') key=\${key//\\'/\\'\\\\\\'\\'} ;;
      \\")
        [[ $key == *!* ]] && continue
        key=\${key//\\\\/\\\\\\\\} key=\${key//\\"/\\\\\\"} key=\${key//\\$/\\\\\\$} key=\${key//\\\`/\\\\\\\`}
        ;;
      *) printf -v key %q "$key" ;;
    esac
    COMPREPLY+=("\${key#"$head"}")
  done < <(${keyCommand(program)} "$line" 2>/dev/null)
  ((\${#COMPREPLY[@]} > 0))
}

`;
}

function words(program: Program, group: string): string {
  return nextWords(program, group)
    .map(([word]) => word)
    .join(" ");
}

function commandCase(program: Program, command: Command): string {
  const choices = (command.args ?? []).flatMap((arg) => wordsOf(program, arg)).join(" ");
  const keys = [...(command.args ?? []), ...ownFlags(command)].some(isKey) ? " keys=1" : "";
  return `    ${quote(command.name)}) flags=${quote(flagWords(ownFlags(command)))} words=${quote(choices)}${keys} ;;`;
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
  let reply = "";
  if (flag.choices !== undefined) reply = `COMPREPLY=($(compgen -W ${quote(flag.choices.join(" "))} -- "$cur")); `;
  else if (flag.complete === "directory") reply = 'COMPREPLY=($(compgen -d -- "$cur")); ';
  return `    ${patterns}) ${reply}return ;;`;
}
