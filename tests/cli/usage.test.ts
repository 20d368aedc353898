import { describe, expect, test } from "bun:test";
import { commandHelp, overview, usageLines } from "../../src/cli/usage.ts";
import { PROGRAM as KV } from "../../src/commands/table.ts";
import { PROGRAM as STARGATE } from "../../src/stargate/commands/table.ts";
import { PROGRAM } from "./program.ts";

const named = (name: string) => PROGRAM.commands.find((command) => command.name === name)!;

describe("help", () => {
  test("the overview lists every command under its topic, hidden ones not", () => {
    const text = overview(PROGRAM);
    expect(text.indexOf("\nData\n")).toBeLessThan(text.indexOf("  set "));
    expect(text.indexOf("  set ")).toBeLessThan(text.indexOf("\nRemote\n"));
    expect(text).toContain("  remote setup  Set up\n");
    expect(text).not.toContain("secret");
    expect(text).toContain("  -C, --cwd DIR");
  });

  test("usage lines come from the arguments, or from the table where it says more", () => {
    expect(usageLines(PROGRAM, named("get"))).toBe("usage: git demo get KEY... [flags]");
    expect(usageLines(PROGRAM, named("completion"))).toBe("usage: git demo completion bash|zsh|fish");
    expect(usageLines(PROGRAM, named("help"))).toBe("usage: git demo help [COMMAND...] [flags]");
    expect(usageLines(PROGRAM, named("remote setup"))).toBe("usage: git demo remote setup");
    expect(usageLines(PROGRAM, named("set"))).toBe(
      "usage: git demo set KEY VALUE [flags]\n   or: git demo set KEY --file PATH [flags]",
    );
  });

  test("a command's page has all its parts", () => {
    const text = commandHelp(PROGRAM, named("set"));
    for (const part of [
      "Set a key.",
      "KEY ",
      "-m, --message MSG",
      "(may be repeated)",
      "Another one.",
      "git demo set a b",
      "--json",
    ]) {
      expect(text).toContain(part);
    }
    expect(commandHelp(PROGRAM, named("get"))).toContain("--read-from local|mirror");
  });

  test("no line is wider than 80 columns", () => {
    for (const program of [PROGRAM, KV, STARGATE]) {
      const pages = [overview(program), ...program.commands.map((command) => commandHelp(program, command))];
      const wide = pages.flatMap((page) => page.split("\n")).filter((line) => line.length > 80);
      expect(wide.filter((line) => !/^(usage:| {3}or:| {2}git)/.test(line))).toEqual([]);
    }
  });
});

describe("tables of the programs", () => {
  for (const program of [PROGRAM, KV, STARGATE]) {
    test(`${program.name} is well formed`, () => {
      const names = program.commands.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const command of program.commands) {
        expect(program.topics).toContain(command.topic);
        expect(command.name).toMatch(/^[a-z-]+( [a-z-]+)?$/);
        expect(names).not.toContain(command.name.includes(" ") ? command.name.split(" ")[0]! : "");
        expect(command.summary).toMatch(/^[A-Z].*[^.]$/);
        const flags = [...program.globals, ...(command.flags ?? [])];
        for (const key of ["name", "alias"] as const) {
          const given = flags.flatMap((flag) => flag[key] ?? []);
          expect([command.name, new Set(given).size]).toEqual([command.name, given.length]);
        }
        for (const flag of flags) expect(flag.summary).toMatch(/^[A-Z].*([^.]|\.\.\.)$/);
        const counts = (command.args ?? []).map(({ count }) => count);
        expect(counts.slice(0, -1).filter((count) => count === "some" || count === "any")).toEqual([]);
      }
    });
  }
});
