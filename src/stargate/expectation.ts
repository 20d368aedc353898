/**
 * What a client expects of the state it writes to, as push options: `expect-tree=<oid>` (the ledger tree at the tip) and
 * `expect-blob=<name(key)>:<oid>` (the blob of a key's value; `0` where the key must not be there).
 */

import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { nameDigits } from "../kv/key.ts";
import { findInTrie, trieFileName } from "../kv/ledger-trie.ts";
import type { NamespaceState } from "../kv/state.ts";

export type Expectation =
  | { readonly kind: "tree"; readonly oid: Oid }
  | { readonly kind: "blob"; readonly name: string; readonly digits: string; readonly oid: Oid | undefined };

/** The expectations among push options. Throws INPUT_INVALID for one that is malformed; an unknown one must not be passed over. */
export function parseExpectations(options: readonly string[], format: ObjectFormat): Expectation[] {
  return options.filter((option) => option.startsWith("expect")).map((option) => parseOne(option, format));
}

function parseOne(option: string, format: ObjectFormat): Expectation {
  const [, what, value] = /^expect-(tree|blob)=(.*)$/s.exec(option) ?? [];
  if (what === "tree" && isOid(format, value!)) return { kind: "tree", oid: value! };
  if (what === "blob") {
    const colon = value!.lastIndexOf(":");
    const name = value!.slice(0, Math.max(0, colon));
    const oid = value!.slice(colon + 1);
    const digits = nameDigits(name);
    if (digits !== undefined && oid === "0") return { kind: "blob", name, digits, oid: undefined };
    if (digits !== undefined && isOid(format, oid)) return { kind: "blob", name, digits, oid };
  }
  throw new KvError("INPUT_INVALID", `push option '${option}' is malformed`, {
    hint: "write expect-tree=<oid> or expect-blob=<key-name>:<oid or 0>",
  });
}

/** Throws CAS_CONFLICT where `state` (undefined: the namespace is not there) is not what is expected. */
export function checkExpectations(
  objects: ObjectSource,
  state: NamespaceState | undefined,
  expectations: readonly Expectation[],
): void {
  for (const expected of expectations) {
    if (expected.kind === "tree") {
      const actual = state?.ledger.tree ?? objects.format.emptyTree;
      if (actual === expected.oid) continue;
      throw new KvError("CAS_CONFLICT", `the tree is ${actual}, expected ${expected.oid}`, { data: { actual } });
    }
    const actual = valueBlob(objects, state, expected.name, expected.digits);
    if (actual === expected.oid) continue;
    const say = (oid: Oid | undefined): string => oid ?? "absent";
    throw new KvError(
      "CAS_CONFLICT",
      `the value of ${expected.name} is ${say(actual)}, expected ${say(expected.oid)}`,
      {
        data: { actual },
      },
    );
  }
}

function valueBlob(
  objects: ObjectSource,
  state: NamespaceState | undefined,
  name: string,
  digits: string,
): Oid | undefined {
  if (state?.data === undefined) return undefined;
  return findInTrie(objects, state.data, digits, [trieFileName("data", name), trieFileName("manifest", name)])?.oid;
}
