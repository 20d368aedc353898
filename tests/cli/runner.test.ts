import { afterEach, describe, expect, test } from "bun:test";
import type { Context } from "../../src/cli/context.ts";
import { run } from "../../src/cli/runner.ts";
import { tempDir } from "../support/temp.ts";
import { PROGRAM, seen } from "./program.ts";

const START = process.cwd();
afterEach(() => process.chdir(START));

async function context(...argv: string[]) {
  seen.context = undefined;
  const status = await run(PROGRAM, { argv, env: { HOME: "/home" }, signal: new AbortController().signal });
  const given = seen.context as Context | undefined;
  if (given === undefined) throw new Error(`no verb ran, status ${status}`);
  return { ...given, status };
}

describe("what a verb is given", () => {
  test("flags by their type", async () => {
    const { flags, status } = await context(
      "set",
      "k",
      "v",
      "-w",
      "--label=a",
      "--label",
      "b",
      "-m",
      "why",
      "--ns",
      "n",
    );
    expect(status).toBe(0);
    expect(flags.on("wait")).toBe(true);
    expect(flags.on("json")).toBe(false);
    expect(flags.toggle("json")).toBeUndefined();
    expect(flags.values("label")).toEqual(["a", "b"]);
    expect(flags.value("message")).toBe("why");
    expect(flags.value("file")).toBeUndefined();
    expect(flags.value("ns")).toBe("n");
    expect((await context("set", "k", "--no-wait")).flags.toggle("wait")).toBe(false);
  });

  test("a flag that is not declared, or is of another type, is a bug", async () => {
    const { flags } = await context("set", "k");
    expect(() => flags.value("expect-tee")).toThrow("declared as nothing");
    expect(() => flags.on("file")).toThrow("declared as string, asked for as boolean");
    expect(() => flags.values("message")).toThrow("asked for as repeatable");
  });

  test("the folder that -C names, each counted from the one before", async () => {
    const dir = tempDir("cwd");
    expect((await context("set", "k")).cwd).toBe(START);
    expect((await context("-C", dir, "set", "k", "-C", "..")).cwd).toBe(dir.slice(0, dir.lastIndexOf("/")));
    expect(process.cwd()).toBe(dir.slice(0, dir.lastIndexOf("/")));
  });

  test("arguments and the environment", async () => {
    const { args, env } = await context("get", "a", "b");
    expect(args.list("key")).toEqual(["a", "b"]);
    expect(env.HOME).toBe("/home");
  });
});
