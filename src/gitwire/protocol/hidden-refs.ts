/**
 * Refs a repository keeps to itself (git config `transfer.hideRefs`, `receive.hideRefs`, `uploadpack.hideRefs`):
 * neither advertised nor written by a push.
 *
 *     pattern = ["!"] ["^"] prefix        "!" shows again what an earlier line hides; the last match counts
 */

import type { GitConfig } from "../config.ts";

/** The patterns for one service, in the order of the config files, which is what counts. */
export function hiddenRefPatterns(config: GitConfig, section: "receive" | "uploadpack"): string[] {
  const names = new Set(["transfer.hiderefs", `${section}.hiderefs`]);
  return config.entries().flatMap(({ name, value }) => (names.has(name) && value !== undefined ? [value] : []));
}

/** True where `ref` is hidden by `patterns`, which come in the order of the config. */
export function isHidden(ref: string, patterns: readonly string[]): boolean {
  for (let i = patterns.length - 1; i >= 0; i--) {
    const pattern = patterns[i]!;
    const shows = pattern.startsWith("!");
    // "^" makes a difference only with ref namespaces, which we do not have.
    const prefix = pattern
      .slice(shows ? 1 : 0)
      .replace(/^\^/, "")
      .replace(/\/+$/, "");
    if (ref === prefix || ref.startsWith(`${prefix}/`)) return !shows;
  }
  return false;
}
