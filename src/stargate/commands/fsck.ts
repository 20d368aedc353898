/** `git-kv-stargate fsck`: checks the whole repository of a Stargate. */

import type { Context } from "../../cli/context.ts";
import { printable } from "../../cli/output.ts";
import { EXIT, KvError } from "../../errors.ts";
import type { Fault } from "../fsck/fault.ts";
import { fsck } from "../fsck/fsck.ts";
import { isStargateRepository } from "../settings.ts";
import { oneRepository } from "./common.ts";

/** Exit status 0 where nothing is wrong, 8 where the ledger does not say what it holds, else 5. */
export async function run(context: Context): Promise<number> {
  const { out, env, clock, signal } = context;
  const repo = oneRepository(context);
  if (!isStargateRepository(repo.gitDir)) {
    throw new KvError("NOT_A_REPOSITORY", `'${repo.gitDir}' is not a Stargate's repository`, {
      hint: `make it one with 'git-kv-stargate init --repo ${repo.gitDir}'; 'git fsck' checks any other`,
    });
  }
  const faults: Fault[] = [];
  const report = (fault: Fault): void => {
    faults.push(fault);
    if (out.json) out.record({ fault });
    else out.line(describe(fault));
  };
  const progress = (text: string): void => out.progress(text);
  const summary = await fsck(repo, { env, clock, signal, report, progress });
  out.progress("");
  repo.close();
  if (out.json) out.record({ summary: { faults: faults.length, ...summary } });
  else {
    const { refs, objects, namespaces, transactions, rows } = summary;
    out.line(
      `${refs} refs, ${objects} objects, ${transactions} transactions in ${namespaces} namespaces, ${rows} journal rows`,
    );
    out.line(faults.length === 0 ? "no faults" : faults.length === 1 ? "1 fault" : `${faults.length} faults`);
  }
  if (faults.length === 0) return EXIT.ok;
  return faults.some(({ part }) => part === "attestation") ? EXIT.attestation : EXIT.io;
}

function describe({ part, subject, code, message }: Fault): string {
  return [code, part, subject, message.replace(/\s*\n\s*/g, "; ")].map(printable).join("\t");
}
