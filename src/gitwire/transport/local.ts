/**
 * A repository on this machine (git: gitprotocol-pack "File Transport"): the server's session runs in this process, over pipes in
 * memory. Where `remote.<name>.receivepack` or `.uploadpack` names a program, that is run instead, as git does.
 *
 * The session runs no hooks, and a push must not get around them: a repository that has some is pushed to through a server.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, toKvError } from "../../errors.ts";
import type { Duplex } from "../protocol/byte-stream.ts";
import { receivePack } from "../protocol/receive-pack.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import { repositoryHost } from "../protocol/repository-host.ts";
import type { Transport } from "../protocol/transport.ts";
import { uploadPack } from "../protocol/upload-pack.ts";
import { repositoryUploadHost } from "../protocol/upload-pack-host.ts";
import { openRepository, type Repository, refuseNamespace } from "../repo.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { shellQuote, withoutRepository } from "./environment.ts";
import { MemoryPipe } from "./memory-pipe.ts";
import { startProcess } from "./process-connection.ts";
import { type Connection, StreamTransport } from "./stream-transport.ts";

/** Opens the repository at `dir`. Throws NOT_A_REPOSITORY, or UNSUPPORTED for a push to a repository with hooks, or for GIT_NAMESPACE. */
export function connectLocal(dir: string, service: Service, options: ConnectOptions): Transport {
  const { HOME } = options.env;
  const expanded = dir.startsWith("~/") && HOME !== undefined ? HOME + dir.slice(1) : dir;
  const full = path.resolve(options.cwd ?? ".", expanded);
  if (options.program !== undefined) return connectProgram(options.program, full, service, options);
  refuseNamespace(options.env);
  const repo = openRepository(full, withoutRepository(options.env), { owned: true });
  if (service === "git-receive-pack") checkNoHooks(repo);
  return new StreamTransport(full, service, startSession(repo, service, options));
}

function connectProgram(program: string, dir: string, service: Service, options: ConnectOptions): Transport {
  const { version = 0 } = options;
  const env = { ...withoutRepository(options.env), ...(version > 0 ? { GIT_PROTOCOL: `version=${version}` } : {}) };
  const command = ["/bin/sh", "-c", `${program} ${shellQuote(dir)}`];
  const hint = "check that the repository exists and the program of remote.<name>.receivepack or .uploadpack works";
  const hints = { notStarted: hint, silent: hint };
  return new StreamTransport(dir, service, startProcess({ ...options, command, env, shownUrl: dir, hints }));
}

function startSession(repo: Repository, service: Service, options: ConnectOptions): Connection {
  const requests = new MemoryPipe();
  const answers = new MemoryPipe();
  const session = serve(repo, service, { input: requests, output: answers }, options).then(
    () => answers.end(),
    (error: unknown) => answers.end(toKvError(error)),
  );
  // Nobody reads on: a session that still sends learns that by an error.
  const stop = (): void => {
    const error = new KvError("NETWORK", `the connection to ${repo.gitDir} was broken off`);
    requests.end(error);
    answers.end(error);
  };
  options.signal?.addEventListener("abort", stop, { once: true });
  return {
    input: answers,
    output: requests,
    explainSilence: async () => new KvError("NETWORK", `${repo.gitDir} did not answer`),
    close: async () => {
      options.signal?.removeEventListener("abort", stop);
      requests.end();
      answers.end();
      const ended = session.then(() => repo.close());
      // One that looks for what is to be sent hears nothing for minutes in a large repository; it changes nothing, and ends by itself.
      const isLeft = options.signal?.aborted === true && service === "git-upload-pack";
      if (!isLeft) await ended;
    },
  };
}

async function serve(repo: Repository, service: Service, duplex: Duplex, options: ConnectOptions): Promise<void> {
  const { agent, version = 0 } = options;
  const common = { stateless: false, advertise: "both", agent } as const;
  if (service === "git-upload-pack") {
    await uploadPack(duplex, { ...common, host: repositoryUploadHost(repo), version });
  } else {
    await receivePack(duplex, { ...common, repo, host: repositoryHost(repo), version: version === 1 ? 1 : 0 });
  }
}

/** Hooks that git would run on a push. */
const HOOKS = ["pre-receive", "update", "proc-receive", "reference-transaction", "post-receive", "post-update"];

function checkNoHooks(repo: Repository): void {
  const folder = path.resolve(repo.gitDir, repo.config.getPath("core.hooksPath") ?? path.join(repo.commonDir, "hooks"));
  for (const name of HOOKS) {
    const mode = fs.statSync(path.join(folder, name), { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o111) === 0) continue;
    throw new KvError("UNSUPPORTED", `${repo.gitDir} has a ${name} hook, which a push by its path would not run`, {
      hint: "push to the address of its server, or name a program in remote.<name>.receivepack",
    });
  }
}
