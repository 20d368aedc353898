/** The policy a command of `policy` works on: a file that is named, the one in the worktree, or the one in force. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { knownPolicy } from "../kv/policy-in-force.ts";
import { policyText } from "../kv/read-policy.ts";
import type { Workspace } from "../kv/workspace.ts";

const WRITTEN = path.join(".kv", "policy.yaml");

export interface PolicySource {
  readonly text: string;
  /** For messages: the file as it was given, or the commit. */
  readonly name: string;
}

/** The text of `given`, `-` being standard input. Throws INPUT_INVALID. */
export async function readPolicyFile({ cwd, stdin }: Context, given: string): Promise<PolicySource> {
  if (given === "-") {
    const chunks: Buffer[] = [];
    for (let chunk = await stdin.read(); chunk !== undefined; chunk = await stdin.read()) chunks.push(chunk);
    return { text: Buffer.concat(chunks).toString("utf8"), name: "-" };
  }
  try {
    return { text: fs.readFileSync(path.resolve(cwd, given), "utf8"), name: given };
  } catch (error) {
    throw new KvError("INPUT_INVALID", `cannot read '${given}': ${(error as Error).message}`, { cause: error });
  }
}

/** The file in the worktree; undefined where there is none. */
export function writtenPolicy({ repo }: Workspace): PolicySource | undefined {
  const file = repo.worktree === undefined ? undefined : path.join(repo.worktree, WRITTEN);
  if (file === undefined || !fs.existsSync(file)) return undefined;
  return { text: fs.readFileSync(file, "utf8"), name: WRITTEN };
}

/** The policy in force as far as this clone knows. Throws CONFIG where there is none. */
export function policyInForce(workspace: Workspace): PolicySource {
  const known = knownPolicy(workspace);
  if (known !== undefined) return { text: policyText(workspace.repo.objects, known.oid), name: known.oid };
  throw new KvError("CONFIG", "there is no policy in force here", {
    hint: "name a file, or bring one into force with 'git kv policy apply FILE'",
  });
}
