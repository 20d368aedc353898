/** Opens the listener for operators over what a daemon serves. The daemon loads this file, and all behind it, where one is wanted. */

import * as os from "node:os";
import { AGENT } from "../agent.ts";
import type { Log } from "../log.ts";
import type { MirrorLink } from "../mirror/mirror-link.ts";
import type { Served } from "../service.ts";
import { MirrorProbe } from "./mirror-probe.ts";
import { Monitor } from "./monitor.ts";
import { OpsDoor } from "./ops-door.ts";
import type { Unit } from "./unit.ts";

export interface OpsOptions {
  readonly hostname: string;
  readonly port: number;
  readonly now: () => number;
  readonly log: Log;
}

/** A repository of the daemon. */
export interface OpsSource {
  readonly served: Served;
  readonly link: MirrorLink | undefined;
}

/** Listens. Throws IO where the address cannot be had. */
export function openOps(sources: readonly OpsSource[], options: OpsOptions): OpsDoor {
  const { now } = options;
  const units = sources.map(({ served, link }): Unit => {
    const ask = (signal: AbortSignal) => link!.remote.refs(["refs/kv-mirror/"], signal);
    return {
      served,
      monitor: new Monitor(served.gate),
      probe: link === undefined ? undefined : new MirrorProbe(ask, now),
      webhooks: undefined,
    };
  });
  const node = { version: AGENT, host: os.hostname(), pid: process.pid, since: new Date(now()).toISOString() };
  return new OpsDoor({ ...options, units, node });
}
