/**
 * The alternative to a Stargate that can be put together from git and a shell: bare repositories whose pre-receive hook checks
 * transactions. There are two hooks: one that gives what a Stargate gives (pre-receive.sh), and one that asks only what needs no
 * knowledge of the format.
 */

import * as fs from "node:fs";
import * as path from "node:path";

/** One commit on the old tip, a KV-Txn, plain files of at most 1 MiB. Nobody's signature, nothing about what a record says. */
const LIGHT = `#!/bin/sh
while read -r old new ref; do
  [ "$old" = 0000000000000000000000000000000000000000 ] || [ "$(git rev-parse "$new^")" = "$old" ] || exit 1
  git log -1 --format=%B "$new" | git interpret-trailers --parse | grep -q '^KV-Txn: ' || exit 1
  git diff-tree -r --root --no-commit-id "$new" | while read -r _ mode _ blob _ _; do
    [ "$mode" = 100644 ] && [ "$(git cat-file -s "$blob")" -le 1048576 ] || exit 1
  done || exit 1
done
`;

/** Installs the equivalent hook in the bare repository `dir`. `writers`: keys as in a `.pub` file. */
export function installEquivalentHook(dir: string, writers: readonly string[]): void {
  const hooks = path.join(dir, "hooks");
  const script = path.join(hooks, "pre-receive");
  fs.copyFileSync(path.join(import.meta.dir, "pre-receive.sh"), script);
  fs.chmodSync(script, 0o755);
  fs.copyFileSync(path.join(import.meta.dir, "transaction.awk"), path.join(hooks, "transaction.awk"));
  const signers = path.join(dir, "allowed-signers");
  fs.writeFileSync(signers, writers.map((key) => `writer namespaces="git" ${key}\n`).join(""));
  configure(dir, `[gpg "ssh"]\n\tallowedSignersFile = ${signers}\n`);
}

/** Installs the light hook in the bare repository `dir`. */
export function installLightHook(dir: string): void {
  fs.writeFileSync(path.join(dir, "hooks", "pre-receive"), LIGHT, { mode: 0o755 });
  configure(dir, "");
}

/** Objects are checked as they arrive, and are on the disk before the push is answered, as with a Stargate. */
function configure(dir: string, more: string): void {
  fs.appendFileSync(
    path.join(dir, "config"),
    `[receive]\n\tfsckObjects = true\n[core]\n\tfsync = committed,loose-object\n${more}`,
  );
}
