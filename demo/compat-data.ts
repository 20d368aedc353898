/** A real data set: MDN's browser compatibility data, one key for each feature of the web platform. */

import * as fs from "node:fs";
import * as path from "node:path";
import compat from "@mdn/browser-compat-data" with { type: "json" };

type Node = { readonly [name: string]: unknown };

/** What was written: two batches, and a prefix to look at. */
export interface CompatBatches {
  readonly sets: number;
  readonly deletions: number;
  readonly prefix: string;
}

/** Writes compat.jsonl (sets all features) and deletions.jsonl (takes every second or so away again) into `dir`. */
export function compatBatches(dir: string, deletions: number): CompatBatches {
  const lines: string[] = [];
  const keys: string[] = [];
  const walk = (node: Node, trail: readonly string[]): void => {
    for (const [name, child] of Object.entries(node)) {
      if (typeof child !== "object" || child === null) continue;
      if (name === "__compat") {
        const key = `mdn:${trail.join(".")}`;
        keys.push(key);
        lines.push(JSON.stringify({ op: "set", key, value: (child as Node).support }));
      } else if (name !== "__meta") {
        walk(child as Node, [...trail, name]);
      }
    }
  };
  walk(compat as unknown as Node, []);
  const spread = keys.length / deletions;
  const gone = Array.from({ length: deletions }, (_, i) => keys[Math.floor(i * spread)]!);
  fs.writeFileSync(path.join(dir, "compat.jsonl"), `${lines.join("\n")}\n`);
  fs.writeFileSync(
    path.join(dir, "deletions.jsonl"),
    gone.map((key) => `${JSON.stringify({ op: "del", key })}\n`).join(""),
  );
  return { sets: keys.length, deletions: gone.length, prefix: "mdn:css.properties.grid" };
}
