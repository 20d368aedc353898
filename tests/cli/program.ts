/** A program to test the runner with: its verbs tell what they were given. */

import { builtins } from "../../src/cli/builtins.ts";
import type { Command, Program } from "../../src/cli/command.ts";
import type { Context } from "../../src/cli/context.ts";
import { COMMON_FLAGS } from "../../src/cli/globals.ts";

/** What the last verb saw. */
export const seen: { context: Context | undefined } = { context: undefined };

const record = async () => ({
  run(context: Context) {
    seen.context = context;
  },
});

const COMMANDS: readonly Command[] = [
  {
    name: "set",
    topic: "Data",
    summary: "Set a key",
    usage: ["KEY VALUE", "KEY --file PATH"],
    args: [
      { name: "key", count: "one", summary: "The key" },
      { name: "value", count: "optional", summary: "The value" },
    ],
    flags: [
      { name: "file", type: "string", value: "PATH", complete: "file", summary: "Value from a file" },
      { name: "message", alias: "m", type: "string", value: "MSG", summary: "Why" },
      { name: "label", type: "repeatable", value: "K=V", summary: "Label it" },
      { name: "expect-tree", type: "string", value: "OID", summary: "Only on that tree" },
      { name: "wait", alias: "w", type: "boolean", summary: "Wait" },
    ],
    details: "A paragraph.\n\nAnother one.",
    examples: ["set a b"],
    load: record,
  },
  {
    name: "get",
    topic: "Data",
    summary: "Get keys",
    args: [{ name: "key", count: "some", summary: "The keys" }],
    flags: [
      { name: "read-from", type: "string", choices: ["local", "mirror"], summary: "Where" },
      { name: "null", alias: "0", type: "boolean", summary: "End with NUL" },
      { name: "at", type: "string", value: "STATE", summary: "When" },
    ],
    load: record,
  },
  { name: "remote setup", topic: "Remote", summary: "Set up", load: record },
  { name: "remote undo", topic: "Remote", summary: "Undo", load: record },
  {
    name: "secret",
    topic: "Remote",
    summary: "Hidden",
    hidden: true,
    load: async () => ({
      run() {
        throw new TypeError("a bug");
      },
    }),
  },
  {
    name: "shout",
    topic: "Remote",
    summary: "Write much",
    args: [{ name: "bytes", count: "one", summary: "How many" }],
    load: async () => ({
      run: ({ args, out }) => {
        for (let left = Number(args.one("bytes")); left > 0; left -= 8) out.answer("1234567\n");
      },
    }),
  },
  {
    name: "linger",
    topic: "Remote",
    summary: "Wait for a signal",
    flags: [
      { name: "deaf", type: "boolean", summary: "Do not listen" },
      { name: "calm", type: "boolean", summary: "End without an error" },
    ],
    load: async () => ({ run: linger }),
  },
];

async function linger({ flags, out, signal }: Context): Promise<void> {
  out.line("waiting");
  out.flush();
  if (flags.on("deaf")) await Bun.sleep(20_000);
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, 20_000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  if (flags.on("calm")) return;
  out.note("cleaned up");
  signal.throwIfAborted();
}

export const PROGRAM: Program = {
  name: "git-demo",
  title: "git demo",
  summary: "A program to test with.",
  topics: ["Data", "Remote", "Other"],
  globals: [{ name: "ns", type: "string", value: "NAME", summary: "Namespace" }, ...COMMON_FLAGS],
  commands: [...COMMANDS, ...builtins("Other", () => PROGRAM)],
};
