/**
 * Git's services on standard input and output. Where a daemon serves the repository it does the work, over its unix socket;
 * otherwise this process does: a push to a Stargate's repository takes the lead for as long as it lasts.
 */

import * as net from "node:net";
import type { Context, Environment } from "../../cli/context.ts";
import type { Duplex } from "../../gitwire/protocol/byte-stream.ts";
import { receivePack } from "../../gitwire/protocol/receive-pack.ts";
import type { Service } from "../../gitwire/protocol/ref-advertisement.ts";
import { repositoryHost } from "../../gitwire/protocol/repository-host.ts";
import { uploadPack } from "../../gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../gitwire/protocol/upload-pack-host.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { AGENT } from "../agent.ts";
import { defaultName, Gate } from "../gate.ts";
import { silentLog } from "../log.ts";
import { MirrorLink } from "../mirror/mirror-link.ts";
import { storingHost } from "../ordinary-host.ts";
import { protocolVersion, type Served, serveSession } from "../service.ts";
import { isStargateRepository, loadSettings } from "../settings.ts";
import { encodeCall, type SocketCall } from "../socket-call.ts";
import { socketSink, socketSource } from "../socket-stream.ts";
import type { Identity } from "../tokens.ts";

/** Milliseconds a push without a daemon waits for another one. */
const LEAD_WAIT = 5_000;

/** Serves one session on standard input and output. */
export async function serveStdio(context: Context, service: Service, repo: Repository, who: Identity): Promise<void> {
  const { env } = context;
  const version = protocolVersion(env.GIT_PROTOCOL);
  const duplex = stdioDuplex(context);
  const isStargate = isStargateRepository(repo.gitDir);
  if (isStargate) {
    const call = {
      service,
      repo: repo.gitDir,
      protocol: env.GIT_PROTOCOL ?? "",
      user: who.name,
      scope: who.scope,
      door: who.door,
      key: who.key,
    };
    if (await callDaemon(repo, env, call, duplex)) return;
    if (service === "git-receive-pack") {
      await withGate(context, repo, "receive-pack", (served) =>
        serveSession(served, duplex, { service, version, stateless: false, advertise: "both", who }),
      );
      return;
    }
  }
  const common = { stateless: false, advertise: "both", agent: AGENT } as const;
  if (service === "git-upload-pack")
    await uploadPack(duplex, { ...common, host: repositoryUploadHost(repo, isStargate), version });
  else await receivePack(duplex, { ...common, repo, host: repositoryHost(repo), version: version === 1 ? 1 : 0 });
}

/** Runs `act` as the leader of `repo`. Throws LOCKED where another process stays it. */
export async function withGate<T>(
  { env, clock }: Pick<Context, "env" | "clock">,
  repo: Repository,
  role: string,
  act: (served: Served) => Promise<T>,
): Promise<T> {
  const settings = loadSettings(repo.gitDir, {}, env);
  const gate = await Gate.open({ dir: repo.gitDir, settings, env, clock, log: silentLog, role, lockWait: LEAD_WAIT });
  try {
    const mirror = MirrorLink.of(gate, env);
    // The worker is not started: the mirror gets this push when a daemon runs again.
    return await act({ name: defaultName(repo.gitDir), gate, ordinary: mirror?.relay ?? storingHost(gate), mirror });
  } finally {
    gate.close();
  }
}

/** Lets the daemon of `repo` serve `duplex`; false where none runs. */
export async function callDaemon(
  repo: Repository,
  env: Environment,
  call: SocketCall,
  duplex: Duplex,
): Promise<boolean> {
  const socket = await connectSocket(loadSettings(repo.gitDir, {}, env).socket);
  if (socket === undefined) return false;
  const output = socketSink(socket);
  await output.write(encodeCall(call));
  const sending = pump(duplex.input, output).then(
    () => socket.end(),
    // The daemon has answered and hung up; what the client still sends is of no use.
    () => {},
  );
  try {
    await pump(socketSource(socket), duplex.output);
  } finally {
    socket.destroy();
  }
  // Standard input may stay open for ever; only an error of it would be news, and there is nobody left to tell.
  void sending;
  return true;
}

async function pump(from: Duplex["input"], to: Duplex["output"]): Promise<void> {
  for (let chunk = await from.read(); chunk !== undefined; chunk = await from.read()) await to.write(chunk);
}

function connectSocket(path: string): Promise<net.Socket | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ path, allowHalfOpen: true } as net.NetConnectOpts);
    socket.once("connect", () => {
      socket.on("error", () => {});
      resolve(socket);
    });
    socket.once("error", () => resolve(undefined));
  });
}

function stdioDuplex({ stdin, out }: Context): Duplex {
  return {
    input: { read: () => stdin.read() },
    output: {
      write: async (bytes) => {
        out.answer(new Uint8Array(bytes));
        out.flush();
      },
    },
  };
}
