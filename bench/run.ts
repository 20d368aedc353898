/**
 * `make bench`: measures git-kv beside what one would use instead, in one run, on one machine, in a temporary folder.
 *
 *     bun bench/run.ts [--quick] [--save FILE] [CASE]...
 *
 * --quick takes 100,000 keys instead of 1,000,000 and repeats less. --save writes the table to FILE as well. Figures are
 * medians; processes count from before they are spawned to after they have ended, files being in the page cache.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import { parseArgs } from "node:util";
import { accept } from "./cases/accept.ts";
import { admission, verification } from "./cases/admission.ts";
import { attestation } from "./cases/attestation.ts";
import { build } from "./cases/build.ts";
import type { Case, Setting } from "./cases/case.ts";
import { clone } from "./cases/clone.ts";
import { epoch } from "./cases/epoch.ts";
import { get } from "./cases/get.ts";
import { history } from "./cases/history.ts";
import { indexing } from "./cases/index-pack.ts";
import { largeValues } from "./cases/large-values.ts";
import { list } from "./cases/list.ts";
import { mset } from "./cases/mset.ts";
import { noClone } from "./cases/no-clone.ts";
import { push } from "./cases/push.ts";
import { serve } from "./cases/serve.ts";
import { set } from "./cases/set.ts";
import { signatures } from "./cases/signatures.ts";
import { snapshot } from "./cases/snapshot.ts";
import { startUp } from "./cases/start-up.ts";
import { everyKey } from "./data.ts";
import { Etcd } from "./etcd.ts";
import { Scratch } from "./scratch.ts";
import { Stores } from "./stores.ts";
import { formatTable, type Row } from "./table.ts";

/** In the order they run: who makes a store comes before who uses it. */
const CASES: Readonly<Record<string, Case>> = {
  "start-up": startUp,
  build,
  get,
  history,
  list,
  snapshot,
  set,
  clone,
  epoch,
  "no-clone": noClone,
  serve,
  "index-pack": indexing,
  push,
  accept,
  mset,
  "large-values": largeValues,
  attestation,
  admission,
  verify: verification,
  signatures,
};

const ETCD_KEYS = 100_000;

const { values: flags, positionals } = parseArgs({
  options: { quick: { type: "boolean", default: false }, save: { type: "string" } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !Object.hasOwn(CASES, name));
if (unknown.length > 0) {
  console.error(`unknown case ${unknown.join(", ")}; there is ${Object.keys(CASES).join(", ")}`);
  process.exit(64);
}
process.exit(await main());

async function main(): Promise<number> {
  const scratch = new Scratch();
  const interrupted = Promise.withResolvers<never>();
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => interrupted.reject(new Error(signal)));
  try {
    const text = await Promise.race([measureAll(scratch), interrupted.promise]);
    if (flags.save !== undefined) fs.writeFileSync(flags.save, text);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? (error.stack ?? error.message) : error);
    return 1;
  } finally {
    await scratch.close();
  }
}

async function measureAll(scratch: Scratch): Promise<string> {
  const keys = flags.quick ? 100_000 : 1_000_000;
  const runs = flags.quick ? { short: 11, middle: 7, long: 3 } : { short: 41, middle: 21, long: 3 };
  let etcd: Promise<Etcd | undefined> | undefined;
  const setting: Setting = {
    scratch,
    stores: new Stores(scratch, keys),
    keys,
    runs,
    etcd: () => {
      etcd ??= Etcd.start(scratch, everyKey(ETCD_KEYS));
      return etcd;
    },
  };
  const rows: Row[] = [];
  for (const [name, measure] of Object.entries(CASES)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const started = performance.now();
    rows.push(...(await measure(setting)));
    console.error(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  const text = `${heading(scratch, keys)}\n\n${formatTable(rows)}\n`;
  console.log(text);
  return text;
}

function heading(scratch: Scratch, keys: number): string {
  const version = (command: string[]): string => scratch.run("", command).stdout.toString().trim();
  const cpus = os.cpus();
  const load = os.loadavg()[0]!.toFixed(2);
  return [
    `${new Date().toISOString().slice(0, 10)}: ${version([scratch.gitKv, "version"])}; ${version(["git", "--version"])};`,
    `${cpus.length} cores (${cpus[0]?.model.trim() ?? "unknown"}), ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()}, load ${load};`,
    `${keys.toLocaleString("en")} keys in the stores.`,
  ].join(" ");
}
