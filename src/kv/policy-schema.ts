/**
 * The schema of `.kv/policy.yaml` (docs/policy.md). Every part of it is read and judged; which parts are enforced is the
 * business of those who use it.
 */

import * as v from "valibot";
import { parseDuration, parseSize } from "../quantity.ts";

const text = v.pipe(v.string("must be text"), v.minLength(1, "must not be empty"));
const flag = v.boolean("must be true or false");

/** The value `parse` makes of a text; what it throws becomes the problem. */
function parsed(parse: (text: string) => number, problem: string) {
  return v.pipe(
    v.union([v.string(), v.number()], problem),
    v.rawTransform<string | number, number>(({ dataset, addIssue, NEVER }) => {
      try {
        const value = parse(String(dataset.value));
        if (value > 0) return value;
      } catch {}
      addIssue({ message: problem });
      return NEVER;
    }),
  );
}

/** A number of bytes, or text like `1MiB`; the result is bytes. */
const size = parsed(parseSize, "must be a size like 64KiB, 1MiB or 10MB");
/** Text like `30d`; the result is seconds. */
const duration = parsed(parseDuration, "must be a duration like 90s, 15m, 2h or 30d");

const sshKey = v.pipe(
  text,
  v.regex(/^(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+(?: .*)?$/, "must be an SSH public key"),
);
const day = v.union(
  [
    v.pipe(
      v.string(),
      v.regex(/^\d{4}-\d\d-\d\d(?:T.*)?$/, "must be a date"),
      v.check((at) => !Number.isNaN(Date.parse(at)), "must be a date"),
    ),
    v.date(),
  ],
  "must be a date like 2027-01-01",
);
const terms = { prefixes: v.optional(v.array(text)), until: v.optional(day) };
const writer = v.union(
  [
    sshKey,
    v.strictObject({ key: sshKey, ...terms }),
    v.strictObject({
      pgp: v.pipe(text, v.startsWith("-----BEGIN PGP PUBLIC KEY BLOCK-----", "must be an armored PGP public key")),
      ...terms,
    }),
  ],
  "must be an SSH public key, { key: ... } or { pgp: ... }",
);

const chunking = v.union(
  [
    v.pipe(
      v.strictObject({
        mode: v.literal("fastcdc", "must be fastcdc or fixed"),
        min: v.optional(size),
        avg: v.optional(size),
        max: v.optional(size),
      }),
      v.check(
        ({ min = 1, avg = min, max = avg }) => min <= avg && avg <= max,
        "min must not be larger than avg, nor avg than max",
      ),
    ),
    v.strictObject({ mode: v.literal("fixed", "must be fastcdc or fixed"), size }),
  ],
  "must be { mode: fastcdc, min, avg, max } or { mode: fixed, size }",
);

const verify = v.pipe(
  text,
  v.regex(/^(?:replay|attested|sample:[1-9]\d{0,5})$/, "must be replay, sample:N or attested"),
);

const namespace = v.strictObject({
  require_signed_commits: v.optional(flag),
  verify: v.optional(verify),
  max_value_inline: v.optional(size),
  max_value_total: v.optional(size),
  max_keys_per_txn: v.optional(
    v.pipe(v.number("must be a number"), v.integer("must be a whole number"), v.minValue(1, "must be 1 or more")),
  ),
  chunking: v.optional(chunking),
  allowed_prefixes: v.optional(v.array(text, "must be a list")),
  writers: v.optional(v.array(writer, "must be a list")),
  readers: v.optional(v.array(sshKey, "must be a list")),
  forbidden: v.optional(v.array(v.strictObject({ lfs: flag }), "must be a list")),
  retention: v.optional(v.strictObject({ ttl_default: v.optional(duration), enforce_readside: v.optional(flag) })),
});

const namespaceName = v.pipe(
  v.string(),
  v.regex(/^(?:\*|[a-z0-9][a-z0-9._-]{0,62})$/, "is no namespace name (nor '*')"),
);

export const policySchema = v.strictObject({
  version: v.literal(1, "must be 1"),
  stargate: v.optional(
    v.strictObject({
      push_url: v.optional(text),
      read_url: v.optional(text),
      require_mirror_ack_by_default: v.optional(flag),
      admins: v.optional(v.array(sshKey, "must be a list")),
    }),
  ),
  mirror: v.optional(v.strictObject({ publish_branch: v.optional(flag) })),
  namespaces: v.optional(v.record(namespaceName, namespace)),
});

/** A policy file as it is written. */
export type PolicyFile = v.InferOutput<typeof policySchema>;
/** What it says of one namespace. */
export type NamespaceRules = v.InferOutput<typeof namespace>;
