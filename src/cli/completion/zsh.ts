/** Completion for zsh, for the executable; zsh's completion of git finds `_git-kv` for `git kv` by its name. */

import type { Command, Program } from "../command.ts";
import { valueName } from "../flags.ts";
import type { ArgSpec, FlagSpec } from "../spec.ts";
import {
  gitWord,
  groups,
  hasKeys,
  identifier,
  keyCommand,
  nextWords,
  offered,
  ownFlags,
  quote,
  takesValue,
  wordsOf,
} from "./shape.ts";

export function zsh(program: Program): string {
  const name = `_${program.name}`;
  const id = identifier(program);
  const git = gitWord(program);
  return `#compdef ${program.name}
# Completion of ${program.title} for zsh. Load it with: source <(${program.name} completion zsh)
${git === undefined ? "" : `\nzstyle ':completion:*:*:git:*' user-commands ${quote(`${git}:${program.summary}`)}\n`}
(( $+functions[__${id}_globals] )) || __${id}_globals() {
  reply=(
${program.globals
  .flatMap((flag) => flagSpecs(program, flag))
  .map((spec) => `    ${spec}`)
  .join("\n")}
  )
}

${hasKeys(program) ? keysFunction(program) : ""}${name}() {
  local curcontext=$curcontext context state state_descr line cmd=
  local -a reply
  local -A opt_args
  __${id}_globals
  _arguments -C -S -A '-*' $reply '1: :->word' '*:: :->rest'
  if [[ $state == rest ]]; then
    cmd=$words[1]
    case $cmd in
      ${groups(program).join("|") || "''"})
        __${id}_globals
        _arguments -C -S -A '-*' $reply '1: :->word' '*:: :->rest'
        [[ $state == rest ]] && cmd+=" $words[1]"
        ;;
    esac
  fi
  local -a choices
  if [[ $state == word ]]; then
    case $cmd in
${["", ...groups(program)].map((group) => `      ${quote(group)}) choices=(${wordList(program, group)}) ;;`).join("\n")}
    esac
    _describe command choices
    return
  fi
  __${id}_globals
  case $cmd in
${offered(program)
  .map((command) => commandCase(program, command))
  .join("\n")}
  esac
}

if [[ $funcstack[1] == ${name} ]]; then
  ${name} "$@"
elif (( $+functions[compdef] )); then
  compdef ${name} ${program.name}
fi
`;
}

/** Keys that go on from the line: a function that _arguments calls by its name. */
function keysFunction(program: Program): string {
  const name = keysName(program);
  return `(( $+functions[${name}] )) || ${name}() {
  local -a keys
  # The quote that the word begins with is not on the line that zsh shows here.
  local typed=$LBUFFER
  [[ -n $compstate[quote] ]] && typed=\${LBUFFER%"$PREFIX"}$compstate[quote]$PREFIX
  keys=(\${(f)"$(${keyCommand(program)} "$typed" 2>/dev/null)"})
  compadd "$@" -a keys
}

`;
}

function keysName(program: Program): string {
  return `__${identifier(program)}_keys`;
}

function wordList(program: Program, group: string): string {
  return nextWords(program, group)
    .map(([word, summary]) => quote(`${word}:${summary}`))
    .join(" ");
}

function commandCase(program: Program, command: Command): string {
  const flags = ownFlags(command).flatMap((flag) => flagSpecs(program, flag));
  const specs = [...flags, ...(command.args ?? []).map((arg) => argSpec(program, arg))];
  return `    ${quote(command.name)}) _arguments -S $reply ${specs.join(" ")} ;;`;
}

/** One optspec for each spelling, as in zshcompsys(1), `_arguments`. */
function flagSpecs(program: Program, flag: FlagSpec): string[] {
  const repeat = flag.type === "repeatable" ? "*" : "";
  const value = takesValue(flag) ? `:${escapeSpec(valueName(flag))}:${action(program, flag)}` : "";
  const text = `[${escapeSpec(flag.summary)}]${value}`;
  const long = quote(`${repeat}--${flag.name}${takesValue(flag) ? "=" : ""}${text}`);
  return flag.alias === undefined
    ? [long]
    : [long, quote(`${repeat}-${flag.alias}${takesValue(flag) ? "+" : ""}${text}`)];
}

function argSpec(program: Program, arg: ArgSpec): string {
  const many = arg.count === "some" || arg.count === "any" ? "*" : "";
  return quote(`${many}:${escapeSpec(arg.name)}:${action(program, arg)}`);
}

function action(program: Program, spec: Pick<FlagSpec, "choices" | "complete">): string {
  const { complete } = spec;
  const words = wordsOf(program, spec);
  if (words.length > 0) return `(${words.join(" ")})`;
  if (complete === "key") return keysName(program);
  // An action of one space would show a message, which keeps zsh from inserting a flag that is typed in this place.
  return complete === undefined ? "()" : complete === "directory" ? "_files -/" : "_files";
}

function escapeSpec(text: string): string {
  return text.replace(/[[\]:\\]/g, "\\$&");
}
