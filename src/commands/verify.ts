/** `git kv verify`: an audit of the ledger that trusts no server. */

import type { Context } from "../cli/context.ts";
import { printable } from "../cli/output.ts";
import { EXIT, KvError } from "../errors.ts";
import { type AuditReport, audit } from "../kv/audit.ts";
import type { Finding, VerifySummary } from "../kv/verify.ts";
import { oidFlag } from "./conditions.ts";
import { countOf } from "./count.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  const since = flags.value("since");
  const all = flags.on("all");
  if (since !== undefined && all)
    throw new KvError("USAGE", "--since is a commit of one ledger, --all means all of them");
  if (since !== undefined) oidFlag(workspace.repo.format, "since", since);
  let findings = 0;
  const report = await audit(workspace, {
    since,
    all,
    found: (finding) => {
      findings++;
      if (out.json) out.record({ finding });
      else out.line(describe(finding));
    },
    progress: (text) => out.progress(text),
  });
  out.progress("");
  if (out.json) out.record({ summary: toJson(report, findings) });
  else tell(context, report, findings);
  return findings === 0 ? EXIT.ok : EXIT.attestation;
}

function describe({ ns, seq, oid, code, message }: Finding): string {
  const where = ns === undefined ? "policy" : `${ns}${seq === undefined ? "" : ` #${seq}`}`;
  return `${code}\t${where}\t${oid}\t${printable(message.replace(/\s*\n\s*/g, "; "))}`;
}

function toJson({ namespaces, policy, pin }: AuditReport, findings: number): object {
  return {
    findings,
    namespaces: namespaces.map(({ signers, starts, ...summary }) => ({
      ...summary,
      signers: Object.fromEntries(signers),
    })),
    policy: policy === undefined ? null : { ...policy, trust: pin.kind },
  };
}

function tell({ out }: Context, { namespaces, policy, pin }: AuditReport, findings: number): void {
  for (const summary of namespaces) out.line(sentence(summary));
  for (const { ns, firstSeq, epochBefore } of namespaces) {
    if (epochBefore !== undefined)
      out.note(
        `${ns}: begins with #${firstSeq}; --all brings the archive of the epoch '${epochBefore}' and looks at it too`,
      );
  }
  for (const { ns, chunkedUnread } of namespaces) {
    if (chunkedUnread > 0) out.note(`${ns}: ${notRead(chunkedUnread)} not in this clone and were not looked at`);
  }
  if (policy === undefined) out.line("policy: none, so no signature is required");
  else
    out.line(
      `policy: ${policy.commits} ${policy.commits === 1 ? "commit" : "commits"} from the root ${policy.root} (${pin.kind}) to ${policy.tip}`,
    );
  if (pin.kind === "pinned now")
    out.note("kv.policyRoot now holds this root of trust: compare it with what the administrators say it is");
  out.line(findings === 0 ? "no findings" : countOf(findings, "finding"));
}

function sentence({ ns, tip, seq, transactions, signed, keysSet, keysDel, chunked, signers }: VerifySummary): string {
  const by =
    signed === 0 ? "none signed" : `${signed} signed by ${signers.size} ${signers.size === 1 ? "key" : "keys"}`;
  const large = chunked === 0 ? "" : `, ${chunked} of them large`;
  return `${ns}: ${countOf(transactions, "transaction")} to #${seq} ${tip}, ${keysSet} set${large}, ${keysDel} del, ${by}`;
}

const notRead = (values: number): string =>
  values === 1 ? "the pieces of 1 large value are" : `the pieces of ${values} large values are`;
