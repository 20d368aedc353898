import { describe, expect, test } from "bun:test";
import type { Program } from "../../src/cli/command.ts";
import { bindArgs, dispatch } from "../../src/cli/dispatch.ts";
import { PROGRAM as KV } from "../../src/commands/table.ts";
import { KvError } from "../../src/errors.ts";
import { PROGRAM as STARGATE } from "../../src/stargate/commands/table.ts";
import { PROGRAM } from "./program.ts";

function commandOf(program: Program, argv: readonly string[]): string {
  const request = dispatch(program, argv);
  if (request.kind !== "run") return request.kind;
  bindArgs(program, request.command, request.parsed.args);
  return request.command.name;
}

const command = (...argv: string[]): string => commandOf(PROGRAM, argv);

function failure(...argv: string[]): KvError {
  try {
    command(...argv);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error(`${argv.join(" ")} is taken`);
}

describe("dispatch", () => {
  test("finds commands of one and two words, global flags anywhere", () => {
    expect(command("set", "k", "v")).toBe("set");
    expect(command("--ns", "a", "set", "--json", "k", "v")).toBe("set");
    expect(command("-C", "dir", "remote", "setup")).toBe("remote setup");
    expect(command("remote", "--json", "setup")).toBe("remote setup");
    expect(command("remote", "undo", "--ns=x")).toBe("remote undo");
    expect(command("--ns", "set", "get", "k")).toBe("get");
  });

  test("keeps flags from before and after the name", () => {
    const request = dispatch(PROGRAM, ["--ns", "a", "-C", "x", "set", "-C", "y", "k", "--json"]);
    if (request.kind !== "run") throw new Error("not run");
    expect(Object.fromEntries(request.parsed.flags)).toEqual({ ns: "a", cwd: ["x", "y"], json: true });
    expect(request.parsed.args).toEqual(["k"]);
  });

  test("no command, help and version", () => {
    expect(command()).toBe("nothing");
    expect(command("--json")).toBe("nothing");
    expect(command("--help")).toBe("help");
    expect(command("-h")).toBe("help");
    expect(command("--version")).toBe("version");
    expect(command("set", "--help")).toBe("help");
    expect(command("set", "k", "--unknown", "--help")).toBe("help");
    expect(command("set", "--unknown", "-h")).toBe("help");
    expect(command("remote", "setup", "-h")).toBe("help");
    expect(command("--help", "set")).toBe("help");
    expect(command("set", "k", "--", "--help")).toBe("set");
  });

  test("unknown commands are refused with the nearest one", () => {
    expect(failure("ste")).toMatchObject({
      code: "USAGE",
      exit: 64,
      message: "unknown command 'ste'",
      hint: "did you mean 'set'?",
    });
    expect(failure("remot").hint).toBe("did you mean 'remote'?");
    expect(failure("frobnicate").hint).toBe("'git demo help' lists the commands");
    expect(failure("remote", "steup")).toMatchObject({
      message: "unknown command 'remote steup'",
      hint: "did you mean 'remote setup'?",
    });
    expect(failure("remote")).toMatchObject({
      message: "'remote' needs one word more",
      hint: "there is: remote setup, remote undo",
    });
    expect(failure("remote", "frobnicate").hint).toBe("there is: remote setup, remote undo");
    expect(failure("secre").hint).not.toContain("secret");
    expect(failure("--", "set", "k").code).toBe("USAGE");
    expect(failure("toString").code).toBe("USAGE");
    expect(failure("").message).toBe("unknown command ''");
  });

  test("a flag of a command before its name is unknown, with a hint where it goes", () => {
    expect(failure("--wait", "set", "k")).toMatchObject({
      message: "unknown flag --wait",
      hint: "the flags of a command go after its name",
    });
  });

  test("missing and extra arguments are refused", () => {
    expect(failure("set")).toMatchObject({
      message: "set needs KEY",
      hint: "'git demo set --help' shows how it is used",
    });
    expect(failure("get").message).toBe("get needs KEY");
    expect(failure("set", "a", "b", "c").message).toBe("unexpected argument 'c' of set");
    expect(failure("remote", "setup", "x").message).toBe("unexpected argument 'x' of remote setup");
    expect(failure("completion", "bsh").hint).toBe("did you mean bash?");
  });

  test("arguments get their names", () => {
    const bind = (...argv: string[]) => {
      const request = dispatch(PROGRAM, argv);
      if (request.kind !== "run") throw new Error("not run");
      return bindArgs(PROGRAM, request.command, request.parsed.args);
    };
    expect(bind("get", "a", "b", "--", "-c").list("key")).toEqual(["a", "b", "-c"]);
    expect(bind("set", "a", "-1").one("key")).toBe("a");
    expect(bind("set", "a", "-1").optional("value")).toBe("-1");
    expect(bind("set", "a").optional("value")).toBeUndefined();
    expect(bind("set", "a", "").optional("value")).toBe("");
    expect(() => bind("set", "a").one("value")).toThrow("not required");
    expect(() => bind("set", "a").list("kee")).toThrow("no argument kee is declared");
  });
});

describe("every command of both programs", () => {
  const all = [KV, STARGATE].flatMap((program) => program.commands.map((command) => ({ program, command })));
  const usage = (program: Program, argv: readonly string[]): KvError => {
    let error: unknown;
    try {
      commandOf(program, argv);
    } catch (thrown) {
      error = thrown;
    }
    if (!(error instanceof KvError) || error.code !== "USAGE") throw new Error(`${argv.join(" ")}: ${error}`);
    return error;
  };

  test("shows its help, whatever else is wrong", () => {
    for (const { program, command } of all) {
      const words = command.name.split(" ");
      for (const rest of [["-h"], ["--help"], ["--no-such-flag", "-h"]]) {
        const asked = dispatch(program, [...words, ...rest]);
        expect([command.name, asked]).toEqual([command.name, { kind: "help", command }]);
      }
    }
  });

  test("names the flag that was meant, and the command", () => {
    for (const { program, command } of all) {
      const words = command.name.split(" ");
      expect(usage(program, [...words, "--jsom"]).hint).toBe("did you mean --json?");
      // Of very short names any word is as near as another.
      for (const { name } of (command.flags ?? []).filter(({ name }) => name.length > 3))
        expect(usage(program, [...words, `--${name}x`]).hint).toMatch(/^did you mean --/);
      // One letter more than any name: the next one is the name itself.
      if (!command.hidden)
        expect(usage(program, [...words.slice(0, -1), `${words.at(-1)}x`]).hint).toContain(words.join(" "));
    }
  });

  test("asks for the argument that is missing, and refuses one too many", () => {
    for (const { program, command } of all) {
      const words = command.name.split(" ");
      const args = command.args ?? [];
      const needed = args.filter(({ count }) => count === "one" || count === "some");
      const some = needed.map(({ choices }) => choices?.[0] ?? "x");
      if (needed.length > 0) expect(usage(program, [...words, ...some.slice(1)]).hint).toContain("--help");
      const isOpen = args.some(({ count }) => count === "some" || count === "any");
      const most = args.map(({ choices }) => choices?.[0] ?? "x");
      if (!isOpen) expect(usage(program, [...words, ...most, "more"]).message).toContain("'more'");
    }
  });
});
