/**
 * Refs a repository keeps to itself (git config `transfer.hideRefs`, `receive.hideRefs`, `uploadpack.hideRefs`):
 * neither advertised nor written by a push.
 *
 *     pattern = ["!"] ["^"] prefix        "!" shows again what an earlier line hides; the last match counts
 */

import type { GitConfig } from "../config.ts";

/** Tells which refs are hidden from one service; undefined where none is. */
export function hiddenRefs(
  config: GitConfig,
  section: "receive" | "uploadpack",
): ((ref: string) => boolean) | undefined {
  const names = new Set(["transfer.hiderefs", `${section}.hiderefs`]);
  const values = config.entries().flatMap(({ name, value }) => (names.has(name) && value !== undefined ? [value] : []));
  if (values.length === 0) return undefined;
  // The order of the config files is what counts.
  const patterns = values.map(parsePattern).reverse();
  return (ref) => patterns.find(({ prefix }) => ref === prefix || ref.startsWith(`${prefix}/`))?.hides === true;
}

function parsePattern(pattern: string): { hides: boolean; prefix: string } {
  const shows = pattern.startsWith("!");
  // "^" makes a difference only with ref namespaces, which we do not have.
  const prefix = pattern
    .slice(shows ? 1 : 0)
    .replace(/^\^/, "")
    .replace(/\/+$/, "");
  return { hides: !shows, prefix };
}
