/**
 * Brings a policy into force: the next commit of the chain at refs/kv-policy/current, signed by an admin of the one before, pushed
 * through the Stargate; in local mode the ref is moved here. It is judged first with the Stargate's own functions.
 */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import { encodeCommit } from "../gitwire/object/commit.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { encodeTree, MODE } from "../gitwire/object/tree.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { sendPack } from "../gitwire/protocol/send-pack.ts";
import { writePack } from "../gitwire/store/object-writer.ts";
import { type PackKeeps, whileKept } from "../gitwire/store/pack-keep.ts";
import { POLICY_REF } from "./namespace.ts";
import { POLICY_FILE, type Policy } from "./policy.ts";
import { givenPolicy } from "./policy-check.ts";
import { chainOf, knownPolicy } from "./policy-in-force.ts";
import { hasAdmins } from "./policy-keys.ts";
import { linkProblem } from "./policy-link.ts";
import { policyAt, policyText } from "./read-policy.ts";
import { fetchObjects, pushUrl, withConnection } from "./remote-session.ts";
import { adminSigner } from "./signer.ts";
import { throwRefusal } from "./stargate-acceptor.ts";
import type { Workspace } from "./workspace.ts";

/** What a policy was applied with. */
export interface ApplyOptions {
  readonly text: string;
  /** Name of the file, for problems. */
  readonly name: string;
  readonly message: string | undefined;
}

export type Applied =
  | { readonly kind: "applied"; readonly oid: Oid; readonly before: Oid | undefined }
  | { readonly kind: "in force already"; readonly oid: Oid };

/** Throws INPUT_INVALID with all problems of the file, POLICY_UNTRUSTED, CAS_CONFLICT and what a push throws. */
export function applyPolicy(workspace: Workspace, options: ApplyOptions): Promise<Applied> {
  return whileKept((keeps) => applyKept(workspace, options, keeps));
}

async function applyKept(workspace: Workspace, options: ApplyOptions, keeps: PackKeeps): Promise<Applied> {
  const policy = await givenPolicy(options.text, options.name);
  const { repo } = workspace;
  if (!workspace.hasStargate) workspace.requireLocalMode();
  const tip = workspace.hasStargate ? await fetchTip(workspace, keeps) : repo.refs.resolve(POLICY_REF);
  if (tip !== undefined && policyText(repo.objects, tip) === options.text) {
    if (workspace.hasStargate) await keep(workspace, tip);
    return { kind: "in force already", oid: tip };
  }
  const before = tip === undefined ? undefined : policyAt(repo.objects, tip);
  const pack = new PackBuilder(repo.format);
  const data = await makeCommit(workspace, options, pack, tip, before ?? policy);
  const oid = pack.write("commit", data);
  const problem = await linkProblem(withCommit(repo.objects, oid, data), oid, before, workspace.around.clock.now());
  if (problem !== undefined) throw problem;
  const stored = pack.finish();
  if (workspace.hasStargate) await push(workspace, oid, tip, stored);
  writePack(repo.objects, stored, { fsync: true, onName: (packPath) => keeps.add(packPath) });
  if (workspace.hasStargate) await keep(workspace, oid);
  // Here this decides: nobody may have applied another one meanwhile.
  else await repo.refs.update([{ name: POLICY_REF, oldOid: tip ?? repo.format.zeroOid, newOid: oid }]);
  return { kind: "applied", oid, before: tip };
}

/**
 * The policy the Stargate has in force; it is here then. Throws NOT_FAST_FORWARD where it does not follow the one this clone knows: an
 * admin must not be made to sign on top of another chain, or of an old policy.
 */
async function fetchTip(workspace: Workspace, keeps: PackKeeps): Promise<Oid | undefined> {
  const { repo, around } = workspace;
  const known = knownPolicy(workspace)?.oid;
  const refs = await fetchObjects(repo, around, pushUrl(workspace), [POLICY_REF], undefined, { keeps });
  const tip = refs.get(POLICY_REF);
  if (known === undefined || (tip !== undefined && chainOf(repo.objects, tip).includes(known))) return tip;
  const text = `the policy of the Stargate (${tip ?? "none"}) does not follow the one this clone knows (${known})`;
  throw new KvError("NOT_FAST_FORWARD", text, { hint: "sign nothing on top of it before it is known who moved it" });
}

/** The commit, signed where `judge` (the policy before; of the first one itself) names admins. */
async function makeCommit(
  workspace: Workspace,
  { text, message }: ApplyOptions,
  pack: PackBuilder,
  tip: Oid | undefined,
  judge: Policy,
): Promise<Buffer> {
  const { format } = workspace.repo;
  const blob = pack.write("blob", Buffer.from(text));
  const commit = encodeCommit({
    tree: pack.write("tree", encodeTree(format, [{ mode: MODE.file, name: POLICY_FILE, oid: blob }])),
    parents: tip === undefined ? [] : [tip],
    author: workspace.ident("author"),
    committer: workspace.ident("committer"),
    message: `${(message ?? "Apply a new policy").trim()}\n`,
  });
  if (!hasAdmins(judge)) return commit;
  const sign = await adminSigner(workspace, judge);
  return sign(commit);
}

async function push(workspace: Workspace, oid: Oid, tip: Oid | undefined, pack: ReturnType<PackBuilder["finish"]>) {
  const { repo, around } = workspace;
  const url = pushUrl(workspace);
  await withConnection(repo, around, url, "git-receive-pack", async (transport, words) => {
    const result = await sendPack(transport, {
      commands: [{ ref: POLICY_REF, oldOid: tip ?? repo.format.zeroOid, newOid: oid }],
      pack,
      format: repo.format,
      atomic: true,
      pushOptions: [],
      useAdvertisement: false,
      agent: AGENT,
      progress: words.hear,
    });
    throwRefusal(result, url, words);
  });
}

/** Moves the ref here to what the Stargate has in force. */
async function keep({ repo }: Workspace, oid: Oid): Promise<void> {
  const own = repo.refs.resolve(POLICY_REF);
  if (own === oid) return;
  await repo.refs.update([{ name: POLICY_REF, oldOid: own ?? repo.format.zeroOid, newOid: oid }]);
}

/** The repository's objects and the new commit. */
function withCommit(objects: ObjectSource, oid: Oid, data: Buffer): ObjectSource {
  return {
    format: objects.format,
    has: (one) => one === oid || objects.has(one),
    read: (one) => (one === oid ? { kind: "commit", data } : objects.read(one)),
  };
}
