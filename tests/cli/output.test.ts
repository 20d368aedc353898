import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { Output, OutputClosed, type OutputOptions, printable } from "../../src/cli/output.ts";
import { KvError } from "../../src/errors.ts";
import { tempDir } from "../support/temp.ts";

/** An output into two files. */
function open(options: Partial<OutputOptions> = {}) {
  const dir = tempDir("output");
  const files = [path.join(dir, "out"), path.join(dir, "err")] as const;
  const [stdout, stderr] = files.map((file) => fs.openSync(file, "w")) as [number, number];
  const out = new Output({
    json: false,
    quiet: false,
    debug: false,
    noColor: false,
    env: {},
    stdout,
    stderr,
    ...options,
  });
  return { out, answered: () => fs.readFileSync(files[0], "utf8"), said: () => fs.readFileSync(files[1], "utf8") };
}

describe("answers", () => {
  test("are gathered, and written in order as they are", () => {
    const { out, answered } = open();
    out.answer(Buffer.from([0xff, 0x00]));
    out.line("two");
    out.record({ three: "\n", big: 2 ** 40 });
    expect(answered()).toBe("");
    out.flush();
    expect(answered()).toBe(`${Buffer.from([0xff, 0x00])}two\n{"three":"\\n","big":1099511627776}\n`);
    out.flush();
    expect(answered()).toContain("two");
  });

  test("are written on their own at 64 KiB", () => {
    const { out, answered } = open();
    out.answer("x".repeat(64 * 1024 - 1));
    expect(answered().length).toBe(0);
    out.answer("y");
    expect(answered().length).toBe(64 * 1024);
  });

  test("come before what is said after them", () => {
    const { out, answered } = open();
    out.line("first");
    out.note("then");
    expect(answered()).toBe("first\n");
  });

  test("a full disk is an error with its code", () => {
    if (!fs.existsSync("/dev/full")) throw new Error("this test needs /dev/full");
    const { out } = open({ stdout: fs.openSync("/dev/full", "w") });
    out.line("x");
    expect(() => out.flush()).toThrow(expect.objectContaining({ code: "STORAGE", exit: 5 }));
  });

  test("an error in JSON goes to stderr where stdout takes nothing", () => {
    const { out, said } = open({ json: true, stdout: fs.openSync("/dev/full", "w") });
    out.fail(new KvError("IO", "it broke"));
    expect(said()).toBe("error: it broke\n");
  });

  test("a reader that is gone ends the program, not as an error", () => {
    const pipe = closedPipe();
    const { out } = open({ stdout: pipe });
    out.line("x");
    expect(() => out.flush()).toThrow(OutputClosed);
  });
});

describe("what is said", () => {
  test("goes to stderr; progress and hints only to a terminal; nothing with --quiet but errors", () => {
    const loud = open();
    loud.out.note("done");
    // A wait that finds the same with each look says it once.
    for (const text of ["old", "old", "older", "old"]) loud.out.warn(text);
    loud.out.hint("next");
    loud.out.progress("50%");
    loud.out.detail("deep");
    expect(loud.said()).toBe("done\nwarning: old\nwarning: older\nwarning: old\n");
    expect(loud.answered()).toBe("");
    const quiet = open({ quiet: true });
    quiet.out.note("done");
    quiet.out.warn("old");
    quiet.out.fail(new KvError("LOCKED", "it is locked", { hint: "wait" }));
    expect(quiet.said()).toBe("error: it is locked\nhint: wait\n");
    const debug = open({ debug: true });
    debug.out.detail("deep");
    expect(debug.said()).toBe("debug: deep\n");
  });

  test("a stderr nobody reads is no error", () => {
    const { out } = open({ stderr: closedPipe() });
    out.note("x");
    out.fail(new KvError("IO", "x"));
  });
});

describe("errors", () => {
  const error = new KvError("CAS_CONFLICT", "the tree is\x1b[31m not that", { cause: new Error("inner cause") });

  test("as text, with control characters shown", () => {
    const { out, said, answered } = open();
    out.fail(error);
    expect(said()).toBe("error: the tree is\\x1b[31m not that\nhint: read the new state and try again\n");
    expect(answered()).toBe("");
  });

  test("as JSON on stdout", () => {
    const { out, said, answered } = open({ json: true });
    out.fail(error);
    out.fail(new KvError("IO", "no hint"));
    out.flush();
    const [first, second] = answered()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(first).toEqual({
      error: { code: "CAS_CONFLICT", exit: 2, message: error.message, hint: "read the new state and try again" },
    });
    expect(second).toEqual({ error: { code: "IO", exit: 5, message: "no hint" } });
    expect(said()).toBe("");
  });

  test("with the stacks of the causes for --debug only", () => {
    const { out, said } = open({ debug: true });
    out.fail(error);
    expect(said()).toContain("output.test.ts");
    expect(said()).toContain("caused by: Error: inner cause");
  });

  test("lines of a message stay lines", () => {
    expect(printable("a\nb\tc\r\x07\x9b")).toBe("a\nb\tc\\x0d\\x07\\x9b");
    expect(printable("cfg:\u202egpj.exe \u2066a\u2069\u2028 \u0633\u0644")).toBe(
      "cfg:\\u202egpj.exe \\u2066a\\u2069\\u2028 \u0633\u0644",
    );
  });
});

/** The writing end of a pipe whose reading end is closed. */
function closedPipe(): number {
  const fifo = path.join(tempDir("fifo"), "pipe");
  Bun.spawnSync(["mkfifo", fifo]);
  const reader = fs.openSync(fifo, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const writer = fs.openSync(fifo, fs.constants.O_WRONLY);
  fs.closeSync(reader);
  return writer;
}
