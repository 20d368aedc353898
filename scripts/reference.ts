/** Writes docs/reference: every command of both programs, from the tables they run by. `bun scripts/reference.ts [DIR]`. */

import * as fs from "node:fs";
import * as path from "node:path";
import { type AnswerSchema, ERROR_ANSWER } from "../src/answer-schema.ts";
import type { Command, Program } from "../src/cli/command.ts";
import { commandHelp } from "../src/cli/usage.ts";
import { PROGRAM as KV } from "../src/commands/table.ts";
import { PROGRAM as STARGATE } from "../src/stargate/commands/table.ts";

/** The files of the reference by name. */
export async function reference(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const program of [KV, STARGATE]) {
    const answers = (await program.answers!()) as Readonly<Record<string, AnswerSchema>>;
    files.set(`${program.name}.md`, page(program, answers));
    files.set(`${program.name}.schema.json`, schemaFile(program, answers));
  }
  return files;
}

function page(program: Program, answers: Readonly<Record<string, AnswerSchema>>): string {
  const shown = program.commands.filter((command) => !command.hidden);
  const blocks = [
    `# ${program.title}: every command`,
    `Made from the program itself by \`bun scripts/reference.ts\`. With \`--json\` a command answers one JSON object a line; the tables
show what is in it (\`?\`: it may be missing), [${program.name}.schema.json](${program.name}.schema.json) is the same as JSON Schema. Instead of an
answer, or after part of it, there may be one line with \`error\`: \`code\`, \`exit\`, \`message\` and perhaps \`hint\`
([exit codes](../exit-codes.md)).`,
  ];
  for (const topic of program.topics) {
    const commands = shown.filter((command) => command.topic === topic);
    if (commands.length > 0)
      blocks.push(`## ${topic}`, ...commands.map((one) => section(program, one, answers[one.name])));
  }
  return `${blocks.join("\n\n")}\n`;
}

function section(program: Program, command: Command, answer: AnswerSchema | undefined): string {
  // The flags of every command are the same: they stand in the help of the program.
  const help = commandHelp(program, command).split("\n\nFlags of every command")[0]!;
  const parts = [`### ${program.title} ${command.name}`, `\`\`\`text\n${help}\n\`\`\``];
  for (const kind of answer === undefined ? [] : (answer.anyOf ?? [answer])) {
    if (kind.properties === undefined) parts.push(`JSON: ${kind.description}.`);
    else parts.push(`| JSON | type | |\n|---|---|---|\n${rows(kind, "").join("\n")}`);
  }
  return parts.join("\n\n");
}

function rows({ properties = {}, required = [] }: AnswerSchema, before: string): string[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const full = `${before}${name}${required.includes(name) ? "" : "?"}`;
    const own = `| \`${full}\` | ${typeOf(schema)} | ${(schema.description ?? "").replaceAll("|", "\\|")} |`;
    const inner = schema.anyOf?.find(({ properties }) => properties !== undefined) ?? schema;
    if (inner.properties !== undefined) return [own, ...rows(inner, `${full}.`)];
    if (inner.items?.properties !== undefined) return [own, ...rows(inner.items, `${full}[].`)];
    return [own];
  });
}

function typeOf(schema: AnswerSchema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.pattern !== undefined) return "object id";
  if (schema.format === "date-time") return "time";
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  return schema.type ?? "anything";
}

function schemaFile(program: Program, answers: Readonly<Record<string, AnswerSchema>>): string {
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: `A line that a command of ${program.name} answers with --json`,
    $defs: { error: ERROR_ANSWER, ...answers },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (import.meta.main) {
  const dir = process.argv[2] ?? path.join(import.meta.dir, "../docs/reference");
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, content] of await reference()) fs.writeFileSync(path.join(dir, name), content);
}
