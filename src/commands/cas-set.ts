/** `git kv cas set`: a set that demands both the key's blob and the ledger's tree. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { run as set } from "./set.ts";

export async function run(context: Context): Promise<void> {
  const { flags } = context;
  if (flags.value("expect-blob") === undefined && !flags.on("if-absent")) {
    throw new KvError("USAGE", "cas set needs --expect-blob", {
      hint: "--expect-blob 0 stands for a key that is not there",
    });
  }
  if (flags.value("expect-tree") === undefined) {
    throw new KvError("USAGE", "cas set needs --expect-tree", {
      hint: "every write answers it with --json, and 'git kv log --limit 1 --json' says the newest",
    });
  }
  await set(context);
}
