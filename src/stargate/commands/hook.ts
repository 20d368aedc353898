/** `git-kv-stargate hook pre-receive|update`: what the installed hooks run. */

import type { Context } from "../../cli/context.ts";
import { LIMITS } from "../../limits.ts";
import { refsOfPreReceive, refuseGuarded } from "../hooks.ts";

export async function run({ args, stdin }: Context): Promise<void> {
  const hook = args.one("hook");
  // update: <ref> <old> <new> as arguments; pre-receive: lines of standard input.
  if (hook === "update") refuseGuarded(args.list("args").slice(0, 1));
  else refuseGuarded(refsOfPreReceive((await stdin.bytes(LIMITS.requestBody)).toString("utf8")));
}
