/** `git kv policy check --as KEY --file BATCH`: what a Stargate under this policy would say to the batch, key by key. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { EXIT, KvError } from "../errors.ts";
import type { Signer } from "../gitwire/object/commit-signature.ts";
import { SHA1 } from "../gitwire/object/oid.ts";
import { type BatchLine, BatchReader } from "../kv/batch.ts";
import { beginDryRun, type Verdict, type Wish } from "../kv/dry-run.ts";
import { keyText } from "../kv/key.ts";
import { parseNamespace } from "../kv/namespace.ts";
import { namespacePolicy, type Policy } from "../kv/policy.ts";
import { givenPolicy } from "../kv/policy-check.ts";
import { adminsOf, readKey, type Writer, writersOf } from "../kv/policy-keys.ts";
import { sizeOfFile } from "../kv/value-source.ts";
import type { Workspace } from "../kv/workspace.ts";
import { LIMITS } from "../limits.ts";
import { readLines } from "../lines.ts";
import { openBatch } from "./mset.ts";
import type { PolicySource } from "./policy-file.ts";
import { readable } from "./set.ts";

interface Judged extends Verdict {
  readonly op: Wish["op"] | "transaction";
  readonly key: string | undefined;
}

/** Prints a verdict for each operation; returns the exit status: 3 where one is refused. */
export async function dryRun(
  context: Context,
  workspace: Workspace | undefined,
  source: PolicySource,
  { as, batch }: { readonly as: string; readonly batch: string },
): Promise<number> {
  const { clock, cwd, flags, out } = context;
  const policy = await givenPolicy(source.text, source.name);
  const ns = workspace?.ns ?? parseNamespace(flags.value("ns") ?? "main");
  const signer = as === "unsigned" ? undefined : await signerOf(policy, ns, as, cwd);
  const run = await beginDryRun(policy, ns, signer, clock.now());
  const { maxValueInline } = namespacePolicy(policy, ns);
  const base = batch === "-" ? cwd : path.dirname(path.resolve(cwd, batch));
  const file = (name: string): string => readable(path.resolve(base, name), name);
  const judged: Judged[] = [];
  const reader = new BatchReader(
    { format: workspace?.repo.format ?? SHA1, now: Math.floor(clock.now() / 1000), file },
    (line) => {
      const wish = wishOf(line, maxValueInline);
      judged.push({ op: wish.op, key: keyText(wish.key), ...run.judge(wish) });
    },
  );
  await readLines(openBatch(context, batch).read, LIMITS.batchLine, (line) => reader.add(line));
  reader.finish();
  const whole = run.finish();
  if (whole !== undefined) judged.push({ op: "transaction", key: undefined, ...whole });
  for (const one of judged) tell(context, one);
  const refused = judged.filter(({ refusal }) => refusal !== undefined);
  if (refused.length > 0) {
    out.note("the transaction would be refused as a whole");
    if (refused[0]!.refusal?.hint !== undefined) out.hint(refused[0]!.refusal.hint);
  }
  return refused.length > 0 ? EXIT.policy : EXIT.ok;
}

function tell({ out }: Context, { op, key, rule, refusal }: Judged): void {
  if (out.json) {
    const why = refusal === undefined ? {} : { code: refusal.code, message: refusal.message, hint: refusal.hint };
    out.record({ op, ...(key !== undefined && { key }), allowed: refusal === undefined, rule, ...why });
    return;
  }
  const verdict = refusal === undefined ? "allow" : "refuse";
  const why = refusal === undefined ? "" : `\t${refusal.code}: ${refusal.message}`;
  out.line(`${verdict}\t${op}\t${key ?? "-"}\t${rule}${why}`);
}

function wishOf(line: BatchLine, maxInline: number): Wish {
  if (line.op !== "set") return { op: line.op, key: line.key };
  const { key, value } = line;
  const size = value.kind === "bytes" ? value.data.length : sizeOfFile(value.path);
  // A pipe is not read here: what comes out of it is for the write.
  if (size === undefined) return { op: "set", key, value: { size: 0, data: undefined } };
  // What is larger is cut into pieces: only its size is looked at.
  if (size > maxInline) return { op: "set", key, value: { size, data: undefined } };
  const data = value.kind === "bytes" ? value.data : fs.readFileSync(value.path);
  return { op: "set", key, value: { size, data } };
}

/** Whose signature is meant: a public key, a file with one, or the name or fingerprint of a key in the policy. */
async function signerOf(policy: Policy, ns: string, as: string, cwd: string): Promise<Signer> {
  const listed = [...(await writersOf(policy, ns)), ...(await adminsOf(policy))];
  const known = listed.find(({ name, fingerprint }) => as === name || as === fingerprint);
  if (known !== undefined) return asSigner(known);
  const file = path.resolve(cwd, as);
  const text = fs.existsSync(file) && fs.statSync(file).isFile() ? fs.readFileSync(file, "utf8").trim() : as;
  try {
    return asSigner(await readKey(text.includes("BEGIN PGP") ? { pgp: text } : { ssh: text.split("\n")[0]! }));
  } catch (cause) {
    if (!(cause instanceof KvError)) throw cause;
    throw new KvError("INPUT_INVALID", `--as: '${as}' is no key, no file with one and no name in the policy`, {
      hint: "give a .pub file, the line in it, or a writer's comment; 'unsigned' stands for no signature",
      cause,
    });
  }
}

function asSigner({ ssh, openpgp, id, fingerprint }: Pick<Writer, "ssh" | "openpgp" | "id" | "fingerprint">): Signer {
  if (ssh !== undefined) return { kind: "ssh", type: ssh.type, blob: id, fingerprint };
  return { kind: "openpgp", fingerprint, signedBy: fingerprint, userIds: openpgp?.userIds ?? [] };
}
