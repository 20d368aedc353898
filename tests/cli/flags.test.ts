import { describe, expect, test } from "bun:test";
import { parseArgs } from "citty";
import { FlagSet, type FlagValue, type Parsed, parseFlags } from "../../src/cli/flags.ts";
import type { FlagSpec } from "../../src/cli/spec.ts";
import { KvError } from "../../src/errors.ts";
import { random } from "../support/random.ts";

const SPECS: readonly FlagSpec[] = [
  { name: "json", alias: "j", type: "boolean", summary: "" },
  { name: "quiet", alias: "q", type: "boolean", summary: "" },
  { name: "file", alias: "f", type: "string", value: "PATH", summary: "" },
  { name: "label", type: "repeatable", summary: "" },
  { name: "read-from", type: "string", choices: ["local", "mirror", "stargate"], summary: "" },
  { name: "no-color", type: "boolean", summary: "" },
  { name: "null", alias: "0", type: "boolean", summary: "" },
];
const KNOWN = new FlagSet([SPECS]);

function parse(...argv: string[]): { flags: Record<string, FlagValue>; args: string[] } {
  const into: Parsed = { flags: new Map(), args: [] };
  parseFlags(argv, 0, KNOWN, into);
  return { flags: Object.fromEntries(into.flags), args: into.args };
}

function failure(...argv: string[]): KvError {
  try {
    parse(...argv);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error(`${argv.join(" ")} is taken`);
}

describe("flags", () => {
  test("values after the flag, after '=', and attached to the letter", () => {
    for (const argv of [["--file", "x"], ["--file=x"], ["-f", "x"], ["-fx"], ["-f=x"], ["-qjf", "x"], ["-qjfx"]]) {
      expect(parse(...argv).flags.file).toBe("x");
    }
    expect(parse("--file=a=b").flags.file).toBe("a=b");
    expect(parse("--file=").flags.file).toBe("");
    expect(parse("-qjfx").flags).toEqual({ quiet: true, json: true, file: "x" });
  });

  test("switches, their negation, and one whose own name begins with no-", () => {
    expect(parse("--json").flags).toEqual({ json: true });
    expect(parse("--no-json").flags).toEqual({ json: false });
    expect(parse("--json", "--no-json").flags).toEqual({ json: false });
    expect(parse("--no-color").flags).toEqual({ "no-color": true });
    expect(parse("--no-no-color").flags).toEqual({ "no-color": false });
  });

  test("repeatable flags keep every value in order", () => {
    expect(parse("--label", "a=1", "--label=b=2", "--label", "a=1").flags.label).toEqual(["a=1", "b=2", "a=1"]);
  });

  test("'--' ends the flags; '-' and numbers are arguments; a declared digit is a flag", () => {
    expect(parse("a", "--", "--json", "--", "-q")).toEqual({ flags: {}, args: ["a", "--json", "--", "-q"] });
    expect(parse("k", "-")).toEqual({ flags: {}, args: ["k", "-"] });
    expect(parse("k", "-5", "-.5")).toEqual({ flags: {}, args: ["k", "-5", "-.5"] });
    expect(parse("-0")).toEqual({ flags: { null: true }, args: [] });
    expect(parse("--file", "-5").flags.file).toBe("-5");
    expect(parse("--file", "-").flags.file).toBe("-");
    expect(parse("--file=--json").flags.file).toBe("--json");
  });

  test("an unknown flag is refused with the nearest one", () => {
    expect(failure("--jsno")).toMatchObject({
      code: "USAGE",
      message: "unknown flag --jsno",
      hint: "did you mean --json?",
    });
    expect(failure("--read").hint).toBe("did you mean --read-from?");
    expect(failure("--no-jsn").hint).toBe("did you mean --json?");
    expect(failure("--zzzzzz").hint).toContain("'--'");
    expect(failure("-x").message).toBe("unknown flag -x");
    expect(failure("-qx").message).toBe("unknown flag -x");
    expect(failure("-----BEGIN").code).toBe("USAGE");
    expect(failure("--j").message).toBe("unknown flag --j");
    expect(failure("--no-file", "x").code).toBe("USAGE");
    expect(failure("--=x").code).toBe("USAGE");
  });

  test("a missing value and a value too many are refused", () => {
    expect(failure("--file")).toMatchObject({ message: "flag --file needs a value", hint: "write --file=PATH" });
    expect(failure("--file", "--json").hint).toBe("a value that begins with '-' is written --file=PATH");
    expect(failure("-f", "-q").message).toBe("flag -f needs a value");
    expect(failure("--file", "--").code).toBe("USAGE");
    expect(failure("--json=true").message).toBe("flag --json takes no value");
    expect(failure("--no-json=1").message).toBe("flag --no-json takes no value");
    expect(failure("--file", "a", "--file", "b").message).toBe("flag --file is given twice: 'a' and 'b'");
    expect(parse("--file", "a", "-fa").flags.file).toBe("a");
  });

  test("a value outside the choices is refused with the nearest one", () => {
    expect(parse("--read-from", "mirror").flags["read-from"]).toBe("mirror");
    expect(failure("--read-from", "miror")).toMatchObject({
      message: "flag --read-from is one of local, mirror, stargate, not 'miror'",
      hint: "did you mean mirror?",
    });
  });

  test("agrees with citty wherever citty is strict enough", () => {
    const { int, pick } = random("flags against citty");
    const definition = {
      json: { type: "boolean", alias: "j" },
      quiet: { type: "boolean", alias: "q" },
      file: { type: "string", alias: "f" },
      words: { type: "positional", required: false },
    } as const;
    for (let round = 0; round < 300; round++) {
      const argv: string[] = [];
      if (int(2) === 0) argv.push(pick(["--json", "-j", "--no-json"]));
      if (int(2) === 0) argv.push(...pick([["--file", "v"], ["--file=v"], ["-f", "v"]]));
      if (int(2) === 0) argv.push(pick(["word", "other"]));
      if (int(2) === 0) argv.push(pick(["--quiet", "-q"]));
      const theirs = parseArgs(argv, definition);
      const ours = parse(...argv);
      expect({ argv, json: ours.flags.json, quiet: ours.flags.quiet, file: ours.flags.file, args: ours.args }).toEqual({
        argv,
        json: theirs.json,
        quiet: theirs.quiet,
        file: theirs.file,
        args: theirs._,
      } as never);
    }
  });
});
