/** One session of git's two services, whatever door it came through. */

import type { Duplex } from "../gitwire/protocol/byte-stream.ts";
import { receivePack } from "../gitwire/protocol/receive-pack.ts";
import type { Service } from "../gitwire/protocol/ref-advertisement.ts";
import { uploadPack } from "../gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../gitwire/protocol/upload-pack-host.ts";
import type { MirrorReport } from "../kv/stargate-status.ts";
import type { SyncReport, SyncRequest } from "../kv/sync-report.ts";
import { AGENT } from "./agent.ts";
import type { Gate } from "./gate.ts";
import { type OrdinaryHost, pushHost } from "./push-host.ts";
import type { Identity } from "./tokens.ts";

/** A repository that is served, and the names it goes by. */
export interface Served {
  /** `kv.git` or `org/kv.git`. */
  readonly name: string;
  readonly gate: Gate;
  readonly ordinary: OrdinaryHost;
  /** undefined where there is no mirror. */
  readonly mirror: ServedMirror | undefined;
}

/** What the doors may ask of a mirror. */
export interface ServedMirror {
  report(): MirrorReport;
  sync(request: SyncRequest, who: Identity): Promise<SyncReport>;
}

export interface ServiceRequest {
  readonly service: Service;
  /** Protocol version the client asked for. */
  readonly version: 0 | 1 | 2;
  readonly stateless: boolean;
  readonly advertise: "only" | "skip" | "both";
  readonly who: Identity;
  /** Aborted when nobody waits for the answer any more. */
  readonly gone?: AbortSignal;
}

/** Serves one session; see receivePack and uploadPack for when it rejects. */
export async function serveSession(served: Served, duplex: Duplex, request: ServiceRequest): Promise<void> {
  const { repo } = served.gate;
  const { stateless, advertise, version } = request;
  if (request.service === "git-upload-pack") {
    return uploadPack(duplex, { host: repositoryUploadHost(repo), stateless, advertise, version, agent: AGENT });
  }
  const host = pushHost(served.gate, request.who, served.ordinary, request.gone);
  // There is no push in protocol v2: git is answered in v0 then.
  return receivePack(duplex, { repo, host, stateless, advertise, version: version === 1 ? 1 : 0, agent: AGENT });
}

/** The version asked for in a `Git-Protocol` header or GIT_PROTOCOL: `version=2`, among other words between colons. */
export function protocolVersion(text: string | null | undefined): 0 | 1 | 2 {
  let version: 0 | 1 | 2 = 0;
  for (const word of (text ?? "").split(":")) {
    if (word === "version=2") version = 2;
    else if (word === "version=1" && version === 0) version = 1;
  }
  return version;
}
