/** One repository as the ops listener sees it. */

import type { Served } from "../service.ts";
import type { MirrorProbe } from "./mirror-probe.ts";
import type { Monitor } from "./monitor.ts";

export interface Unit {
  readonly served: Served;
  readonly monitor: Monitor;
  /** undefined where there is no mirror. */
  readonly probe: MirrorProbe | undefined;
  /** undefined where there are no webhooks. */
  readonly webhooks: { backlog(): number } | undefined;
}
