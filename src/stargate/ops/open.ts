/** Opens the listener for operators over what a daemon serves. The daemon loads this file, and all behind it, where one is wanted. */

import * as os from "node:os";
import { AGENT } from "../agent.ts";
import type { Log } from "../log.ts";
import type { LoginThrottle } from "../login-throttle.ts";
import type { MirrorLink } from "../mirror/mirror-link.ts";
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

function probeOf({ remote }: MirrorLink, now: () => number): MirrorProbe {
  return new MirrorProbe((signal) => remote.refs(["refs/kv-mirror/"], signal), now);
}

/** Listens. Throws IO where the address cannot be had. */
export function openOps(repositories: readonly ServedRepository[], options: OpsOptions): OpsDoor {
  const { now } = options;
  const units = repositories.map((served): Unit => {
    let probe: { readonly mirror: ServedRepository["mirror"]; readonly of: MirrorProbe | undefined } | undefined;
    return {
      served,
      monitor: new Monitor(served.gate),
      // A mirror may come and go with the settings, and what was said of one holds for no other.
      get probe() {
        const { mirror } = served;
        if (probe === undefined || probe.mirror !== mirror) probe = { mirror, of: mirror && probeOf(mirror, now) };
        return probe.of;
      },
      get webhooks() {
        return served.webhooks;
      },
    };
  });
  const node = { version: AGENT, host: os.hostname(), pid: process.pid, since: new Date(now()).toISOString() };
  return new OpsDoor({ ...options, units, node });
}
