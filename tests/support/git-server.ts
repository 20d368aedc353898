/**
 * Our receive-pack and upload-pack on standard input and output, for the real git as client:
 *
 *     git push --receive-pack="bun tests/support/git-server.ts receive-pack" ...
 *
 * The protocol version comes from GIT_PROTOCOL, as git's own programs take it.
 */

import * as fs from "node:fs";
import type { Duplex } from "../../src/gitwire/protocol/byte-stream.ts";
import { receivePack } from "../../src/gitwire/protocol/receive-pack.ts";
import { repositoryHost } from "../../src/gitwire/protocol/repository-host.ts";
import { uploadPack } from "../../src/gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../src/gitwire/protocol/upload-pack-host.ts";
import { openRepository } from "../../src/gitwire/repo.ts";

/** For `--receive-pack` and `--upload-pack`. */
export const RECEIVE_PACK = `${process.execPath} ${import.meta.path} receive-pack`;
export const UPLOAD_PACK = `${process.execPath} ${import.meta.path} upload-pack`;

function standardStreams(): Duplex {
  const reader = Bun.stdin.stream().getReader();
  return {
    input: {
      read: async () => {
        const { value } = await reader.read();
        return value === undefined ? undefined : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      },
    },
    output: {
      write: async (bytes) => {
        for (let at = 0; at < bytes.length; ) {
          try {
            at += fs.writeSync(1, bytes, at);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
            await Bun.sleep(1);
          }
        }
      },
    },
  };
}

if (import.meta.main) {
  const [service, dir = "."] = process.argv.slice(2);
  const repo = openRepository(dir);
  const version = Number(/version=([012])/.exec(process.env.GIT_PROTOCOL ?? "")?.[1] ?? 0) as 0 | 1 | 2;
  const common = { stateless: false, advertise: "both", agent: "git-kv/test" } as const;
  try {
    if (service === "receive-pack") {
      const host = repositoryHost(repo);
      await receivePack(standardStreams(), { ...common, repo, host, version: version === 1 ? 1 : 0 });
    } else {
      await uploadPack(standardStreams(), { ...common, host: repositoryUploadHost(repo), version });
    }
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
  process.exit(0);
}
