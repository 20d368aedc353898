/** `git kv cas set`: a set that demands both the key's blob and the ledger's tree. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { run as set } from "./set.ts";

export async function run(context: Context): Promise<void> {
  for (const name of ["expect-blob", "expect-tree"]) {
    if (context.flags.value(name) === undefined) {
      throw new KvError("USAGE", `cas set needs --${name}`, {
        hint: "--expect-blob 0 stands for a key that is not there",
      });
    }
  }
  await set(context);
}
