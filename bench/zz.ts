import * as fs from "node:fs";
import { openRepository } from "../src/gitwire/repo.ts";
import { etagHasher } from "../src/kv/etag.ts";
import { replayTransaction } from "../src/kv/replay.ts";
import { readState, stateAt } from "../src/kv/state.ts";
import { Scratch } from "./scratch.ts"; import { Stores } from "./stores.ts";
import { storeTransaction } from "./cases/attestation.ts";
const [mode, n] = process.argv.slice(2); const keys=100_000;
if (mode === "build") {
  const scratch = new Scratch(); const stores = new Stores(scratch, keys);
  stores.ours(); fs.cpSync(scratch.path("ours"), "/tmp/hk/ours100k", {recursive:true}); await scratch.close();
  const next = await storeTransaction("/tmp/hk/ours100k/.git", 15000, keys);
  fs.writeFileSync("/tmp/hk/ours100k.json", JSON.stringify([next.ledger.oid, next.index]));
} else {
  const [l, i] = JSON.parse(fs.readFileSync("/tmp/hk/ours100k.json","utf8"));
  const hasher = await etagHasher(Infinity); const t:number[]=[];
  for (let r=0;r<Number(n);r++){ const repo=openRepository("/tmp/hk/ours100k",{}); const base=readState(repo.objects, repo.refs,"main"); const next=stateAt(repo.objects,l,i);
    const c=process.cpuUsage(); replayTransaction(repo.objects, base, next, hasher, {maxKeys:15000,maxInline:1<<20} as never); const d=process.cpuUsage(c); t.push((d.user+d.system)/1000); repo.close(); }
  console.log(t.map(x=>x.toFixed(0)).join(" "));
}
