/** `git-kv-stargate log`: who pushed what, when, through which door, and what became of it. */

import * as fs from "node:fs";
import type { Context } from "../../cli/context.ts";
import { printable } from "../../cli/output.ts";
import { KvError } from "../../errors.ts";
import { parseNamespace } from "../../kv/namespace.ts";
import { parseTime } from "../../quantity.ts";
import { auditLog, describeRecord } from "../audit-log.ts";
import { journalToRead } from "../journal-to-read.ts";
import { stargateDir } from "../settings.ts";
import { oneRepository } from "./common.ts";

const DEFAULT_LIMIT = 50;
const MOST = 1_000_000;

export function run(context: Context): void {
  const { flags, out, clock } = context;
  const ns = flags.value("ns");
  const since = flags.value("since");
  const filter = {
    ns: ns === undefined ? undefined : parseNamespace(ns),
    since: since === undefined ? undefined : parseTime(since, Math.floor(clock.now() / 1000)) * 1000,
    limit: parseLimit(flags.value("limit")),
    rejectedOnly: flags.on("rejected"),
  };
  const repo = oneRepository(context);
  const dir = stargateDir(repo.gitDir);
  if (!fs.existsSync(`${dir}/journal.db`)) {
    throw new KvError("NOT_A_REPOSITORY", `'${repo.gitDir}' has no journal: it is not a Stargate's repository`, {
      hint: `make it one with 'git-kv-stargate init --repo ${repo.gitDir}'`,
    });
  }
  const journal = journalToRead(dir);
  try {
    for (const record of auditLog(journal, repo.refs, filter)) {
      if (out.json) out.record(record);
      else out.line(describeRecord(record).split("\t").map(printable).join("\t"));
    }
  } finally {
    journal.close();
    repo.close();
  }
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = Number(text);
  if (/^\d{1,7}$/.test(text) && limit > 0 && limit <= MOST) return limit;
  throw new KvError("USAGE", `--limit: '${text}' is not a number from 1 to ${MOST}`);
}
