/** The name the executable was called by: as `git-receive-pack` or `git-upload-pack` it is that program. */

import * as path from "node:path";

const SERVICES: Readonly<Record<string, string>> = {
  "git-receive-pack": "receive-pack",
  "git-upload-pack": "upload-pack",
};

/** The arguments `argv` of a program called `argv0`, with the command that name stands for. */
export function withService(argv0: string, argv: readonly string[]): readonly string[] {
  const service = SERVICES[path.basename(argv0)];
  return service === undefined ? argv : [service, ...argv];
}
