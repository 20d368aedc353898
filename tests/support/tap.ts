/** Records what the real git's client and server say to each other, for golden tests. */

import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "./temp.ts";

export interface Tap {
  /** For `--upload-pack` / `--receive-pack`. */
  readonly program: string;
  /** What the client said so far. */
  sent(): Buffer;
  /** What the server said so far. */
  received(): Buffer;
}

/** A program that runs the service of real git and keeps both directions. */
export function tap(service: "upload-pack" | "receive-pack"): Tap {
  const dir = tempDir("tap");
  const file = (name: string): string => path.join(dir, name);
  const script = `#!/bin/sh\ntee ${file("sent")} | git ${service} "$@" | tee ${file("received")}\n`;
  fs.writeFileSync(file("tap"), script, { mode: 0o755 });
  return {
    program: file("tap"),
    sent: () => fs.readFileSync(file("sent")),
    received: () => fs.readFileSync(file("received")),
  };
}
