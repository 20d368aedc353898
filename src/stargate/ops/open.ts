/** Opens the listener for operators over what a daemon serves. The daemon loads this file, and all behind it, where one is wanted. */

import * as os from "node:os";
import { AGENT } from "../agent.ts";
import type { Log } from "../log.ts";
import type { LoginThrottle } from "../login-throttle.ts";
import type { ServedRepository } from "../served-repository.ts";
import { MirrorProbe } from "./mirror-probe.ts";
import { Monitor } from "./monitor.ts";
import { OpsDoor } from "./ops-door.ts";
import type { Unit } from "./unit.ts";

export interface OpsOptions {
  readonly hostname: string;
  readonly port: number;
  readonly now: () => number;
  readonly log: Log;
  readonly throttle: LoginThrottle;
}

/** Listens. Throws IO where the address cannot be had. */
export function openOps(repositories: readonly ServedRepository[], options: OpsOptions): OpsDoor {
  const { now } = options;
  const units = repositories.map((served): Unit => {
    const probe = new MirrorProbe(async (signal) => served.mirror?.remote.refs(["refs/kv-mirror/"], signal), now);
    return {
      served,
      monitor: new Monitor(served.gate),
      // A mirror may come and go with the settings.
      get probe() {
        return served.mirror === undefined ? undefined : probe;
      },
      get webhooks() {
        return served.webhooks;
      },
    };
  });
  const node = { version: AGENT, host: os.hostname(), pid: process.pid, since: new Date(now()).toISOString() };
  return new OpsDoor({ ...options, units, node });
}
