/** Manual pages: every page of both programs, read by groff; words that roff would take for its own. */

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import type { Command, Program } from "../../src/cli/command.ts";
import { manPages } from "../../src/cli/man-page.ts";
import { PROGRAM as KV } from "../../src/commands/table.ts";
import { PROGRAM as STARGATE } from "../../src/stargate/commands/table.ts";
import { PROGRAM } from "./program.ts";

/** What a terminal of 78 columns shows; groff must have nothing to warn of. */
function shown(page: string): string {
  const run = spawnSync("groff", ["-man", "-ww", "-Tascii", "-P-c", "-rLL=78n"], { input: page, encoding: "utf8" });
  expect({ status: run.status, stderr: run.stderr }).toEqual({ status: 0, stderr: "" });
  // Bold and underlined letters are overstruck.
  return run.stdout.replace(/.\x08/g, "");
}

/** Words with one space between them. */
function flat(text: string): string {
  return text.replace(/\s+/g, " ");
}

describe.each([KV, STARGATE, PROGRAM])("$name", (program: Program) => {
  test("has a page of its own and one for each command, with every flag and argument", async () => {
    const pages = await manPages(program, "1.2.3");
    const commands = program.commands.filter((command) => !command.hidden);
    const name = (command: Command) => `${program.name}-${command.name.replaceAll(" ", "-")}.1`;
    expect(pages.map(({ file }) => file)).toEqual([`${program.name}.1`, ...commands.map(name)]);
    const [main, ...others] = pages.map(({ text }) => flat(shown(text)));
    for (const command of commands) {
      expect(main).toContain(`${program.title} ${command.name} ${command.summary}.`);
      expect(main).toContain(`${name(command).replace(/\.1$/, "")}(1)`);
    }
    for (const [i, command] of commands.entries()) {
      for (const arg of command.args ?? []) expect(others[i]).toContain(` ${arg.name.toUpperCase()} ${arg.summary}.`);
      for (const flag of [...(command.flags ?? []), ...program.globals]) {
        expect(others[i]).toContain(`--${flag.name}`);
        expect(others[i]).toContain(flat(flag.summary));
      }
      if (command.details !== undefined) expect(others[i]).toContain(flat(command.details));
    }
  });
});

test("text that looks like a request, an escape or a quote is printed as it stands", async () => {
  const odd = `.SH no 'section' \\fB "quoted" \`tick\` ~/x ^ --flag`;
  const command: Command = {
    name: "odd",
    topic: "Data",
    summary: odd,
    details: `'br ${odd}\n\n.. ${odd}`,
    examples: [odd],
    load: () => Promise.reject(new Error("not run")),
  };
  const program: Program = {
    ...PROGRAM,
    summary: odd,
    commands: [command],
    topics: ["Data"],
    manual: async () => ({ environment: [[odd, odd]], configuration: [[odd, odd]] }),
  };
  for (const { text } of await manPages(program, '"1"')) {
    const page = flat(shown(text));
    // NAME, and at least once more.
    expect(page.split(odd).length).toBeGreaterThan(2);
    expect(page).not.toContain("\nno");
  }
});
