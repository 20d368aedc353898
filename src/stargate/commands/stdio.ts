/**
 * Git's services on standard input and output. Where a daemon serves the repository it does the work, over its unix socket;
 * otherwise this process does: a push to a Stargate's repository takes the lead for as long as it lasts.
 */

import * as net from "node:net";
import type { Context, Environment } from "../../cli/context.ts";
import { KvError, toKvError } from "../../errors.ts";
import type { Duplex } from "../../gitwire/protocol/byte-stream.ts";
import { pktLine } from "../../gitwire/protocol/pkt-line.ts";
import { receivePack } from "../../gitwire/protocol/receive-pack.ts";
import type { Service } from "../../gitwire/protocol/ref-advertisement.ts";
import { repositoryHost } from "../../gitwire/protocol/repository-host.ts";
import { uploadPack } from "../../gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../gitwire/protocol/upload-pack-host.ts";
import { type Repository, refuseNamespace } from "../../gitwire/repo.ts";
import { AGENT } from "../agent.ts";
import { defaultName, Gate } from "../gate.ts";
import { isReadOnly } from "../journal-to-read.ts";
import { silentLog } from "../log.ts";
import { MirrorLink } from "../mirror/mirror-link.ts";
import { storingHost } from "../ordinary-host.ts";
import { protocolVersion, type Served, serveSession } from "../service.ts";
import { isStargateRepository, loadSettings, stargateDir } from "../settings.ts";
import { encodeCall, type SocketCall } from "../socket-call.ts";
import { socketSink, socketSource } from "../socket-stream.ts";
import type { Identity } from "../tokens.ts";

/** Milliseconds a push without a daemon waits for another one. */
const LEAD_WAIT = 5_000;

/** Serves one session on standard input and output. Throws UNSUPPORTED for GIT_NAMESPACE. */
export async function serveStdio(context: Context, service: Service, repo: Repository, who: Identity): Promise<void> {
  const { env } = context;
  refuseNamespace(env);
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
      const gate = await refusing(context, () => leadMeanwhile(context, repo, "receive-pack"));
      await leading(context, gate, (served) =>
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

/**
 * Does what comes before a session of git's. What it throws is told the client in the place of the first packet, with its code and its
 * hint (git: gitprotocol-pack, error-line), and thrown on.
 */
export async function refusing<T>({ out }: Pick<Context, "out">, begin: () => T | Promise<T>): Promise<T> {
  try {
    return await begin();
  } catch (thrown) {
    const { code, message, hint } = toKvError(thrown);
    if (code !== "BUG") {
      const lines = [
        `${code}: ${message.replace(/\s*\n\s*/g, "; ")}`,
        ...(hint === undefined ? [] : [`hint: ${hint}`]),
      ];
      out.answer(new Uint8Array(pktLine(`ERR ${lines.join("\n").slice(0, 900)}\n`)));
      out.flush();
    }
    throw thrown;
  }
}

/** Takes the lead of `repo` for a push that no daemon takes. Throws NOT_LEADER where another process has it and keeps it. */
async function leadMeanwhile(
  { env, clock }: Pick<Context, "env" | "clock">,
  repo: Repository,
  role: string,
): Promise<Gate> {
  const settings = loadSettings(repo.gitDir, {}, env);
  try {
    return await Gate.open({ dir: repo.gitDir, settings, env, clock, log: silentLog, role, lockWait: LEAD_WAIT });
  } catch (error) {
    if (!(error instanceof KvError) || error.data?.leader === undefined) throw error;
    throw new KvError("NOT_LEADER", `${error.data.leader} leads this repository and cannot be asked from here`, {
      hint: "try again in a moment; if it stays so, the Stargate's socket is out of reach: see its log",
      cause: error,
    });
  }
}

/** Runs `act` as the leader of `repo`. Throws as {@link leadMeanwhile}. */
export async function withGate<T>(
  context: Pick<Context, "env" | "clock">,
  repo: Repository,
  role: string,
  act: (served: Served) => Promise<T>,
): Promise<T> {
  return leading(context, await leadMeanwhile(context, repo, role), act);
}

/** Runs `act`, which only reads, as the leader of `repo`, or where nobody can lead it: on a file system that is read-only. */
export async function withGateToRead<T>(
  context: Pick<Context, "env" | "clock">,
  repo: Repository,
  role: string,
  act: (served: Served) => Promise<T>,
): Promise<T> {
  if (!isReadOnly(stargateDir(repo.gitDir))) return withGate(context, repo, role, act);
  const { env, clock } = context;
  const settings = loadSettings(repo.gitDir, {}, env);
  return leading(context, Gate.openReadOnly({ dir: repo.gitDir, settings, env, clock, log: silentLog, role }), act);
}

/** Runs `act`, and gives the lead back. */
async function leading<T>({ env }: Pick<Context, "env">, gate: Gate, act: (served: Served) => Promise<T>): Promise<T> {
  try {
    const mirror = MirrorLink.of(gate, env);
    // The worker is not started: the mirror gets this push when a daemon runs again.
    return await act({
      name: defaultName(gate.repo.gitDir),
      gate,
      ordinary: mirror?.relay ?? storingHost(gate),
      mirror,
    });
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
