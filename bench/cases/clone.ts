/**
 * Stock git clones and fetches over loopback HTTP, from a Stargate and from `git http-backend` over the very same repository.
 * The little server before http-backend hands an answer on when git has made all of it, which costs it the overlap.
 */

import * as fs from "node:fs";
import { startHttpBackend } from "../../tests/support/http-backend.ts";
import { median, peakOf, runBeside } from "../measure.ts";
import { type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

export const clone: Case = async ({ scratch, stores, runs }) => {
  const site = await stores.site("attested");
  const backend = startHttpBackend(scratch.root);
  scratch.onEnd(() => backend.stop());
  const header = `http.extraHeader=${scratch.git(site.clone, "config", "http.extraHeader")}`;
  const sources = {
    ours: ["-c", header, scratch.git(site.clone, "config", "remote.origin.url")],
    theirs: ["-c", "http.extraHeader=", `${backend.url}/${site.server}`],
  } as const;
  const names = ["ours", "theirs"] as const;
  const ms = {
    clone: { ours: [] as number[], theirs: [] as number[] },
    fetch: { ours: [] as number[], theirs: [] as number[] },
  };
  const timed = async (into: number[], cwd: string, ...args: string[]): Promise<void> => {
    const started = performance.now();
    await runBeside(["git", ...args], { cwd: scratch.path(cwd), env: scratch.env });
    into.push(performance.now() - started);
  };
  for (let n = 0; n < runs.long; n++) {
    for (const name of names) {
      const [flag, setting, url] = sources[name];
      fs.rmSync(scratch.path(`mirror-${name}`), { recursive: true, force: true });
      await timed(ms.clone[name], "", flag, setting, "clone", "-q", "--mirror", url, `mirror-${name}`);
    }
  }
  for (let n = 0; n < runs.middle; n++) {
    site.run("set", stores.spareKey(), `fetched ${n}`);
    for (const name of names) {
      const [flag, setting] = sources[name];
      await timed(ms.fetch[name], `mirror-${name}`, flag, setting, "fetch", "-q");
    }
  }
  const row = (what: string, { ours, theirs }: { ours: number[]; theirs: number[] }): Row => ({
    name: what,
    unit: "ms",
    ours: median(ours),
    other: { name: "git http-backend", value: median(theirs) },
    target: timesOther(1),
  });
  return [
    { ...row("clone over HTTP", ms.clone), extra: `Stargate's peak ${peakOf(site.pid).toFixed(0)} MB` },
    row("fetch of one commit", ms.fetch),
  ];
};
