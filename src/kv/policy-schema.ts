/**
 * The schema of `.kv/policy.yaml` (docs/policy.md): which keys there are and what they hold. What concerns several places of a file
 * is in policy-check.ts. The descriptions are those of the JSON Schema.
 */

import * as v from "valibot";
import { chunkingFault, completeChunking, type PartialChunking } from "../cdc/chunking.ts";
import { choice } from "../choice-schema.ts";
import { parseDuration, parseSize, parseTime } from "../quantity.ts";

const text = v.pipe(v.string("must be text"), v.minLength(1, "must not be empty"));
const flag = v.boolean("must be true or false");
const list = <T extends v.GenericSchema>(item: T) => v.array(item, "must be a list");

/** What a quantity looks like, for the JSON Schema: `pattern` for text, and a plain number where one is taken. */
export interface QuantityForm {
  readonly pattern: string;
  readonly number: boolean;
}

/** The value `parse` makes of a text; what it throws becomes the problem. */
function parsed(parse: (text: string) => number, problem: string, form: QuantityForm) {
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
    v.metadata({ form }),
  );
}

/** A number of bytes, or text like `1MiB`; the result is bytes. */
const size = parsed(parseSize, "must be a size like 64KiB, 1MiB or 10MB", {
  pattern: "^\\s*[0-9]{1,15}\\s?([KMGTkmgt]?[iI]?[bB])?\\s*$",
  number: true,
});
/** Text like `30d`; the result is seconds. */
const duration = parsed(parseDuration, "must be a duration like 90s, 15m, 2h or 30d", {
  pattern: "^\\s*[0-9]{1,12}\\s?(ms|s|m|h|d|w)\\s*$",
  number: false,
});
const DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}.*)?$";
/** A date or a time of RFC 3339; the result is milliseconds since 1970. */
const day = parsed(
  (value) => (new RegExp(DAY).test(value) ? parseTime(value, 0) * 1000 : Number.NaN),
  "must be a date like 2027-01-01 or a time like 2027-01-01T12:00:00Z",
  { pattern: DAY, number: false },
);

const sshKey = v.pipe(
  text,
  // A comment without control characters: it is shown in logs, on terminals and in authorized_keys.
  v.regex(
    /^(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+(?: [^\u0000-\u001f\u007f]*)?$/,
    "must be an SSH public key: its type, its base64 and a comment, as in the .pub file",
  ),
);
const pgpKey = v.pipe(text, v.startsWith("-----BEGIN PGP PUBLIC KEY BLOCK-----", "must be an armored PGP public key"));
const groupName = v.pipe(
  v.string("must be text"),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "is no name: letters, digits, '.', '_' and '-', at most 63"),
);

const dates = {
  from: v.optional(v.pipe(day, v.description("The key counts from this moment on (a date: 0:00 UTC)"))),
  until: v.optional(v.pipe(day, v.description("The key counts until this moment (a date: 0:00 UTC)"))),
};
const terms = {
  prefixes: v.optional(v.pipe(list(text), v.description("What the keys this writer may set and delete begin with"))),
  ...dates,
};
const key = v.pipe(sshKey, v.description("An SSH public key, as in its .pub file"));
const pgp = v.pipe(pgpKey, v.description("An armored OpenPGP public key"));
const group = v.pipe(groupName, v.description("The keys of this group"));

/** Which of the forms of an entry is meant. */
function entryOf<T extends readonly [v.GenericSchema, v.GenericSchema, v.GenericSchema, v.GenericSchema]>(forms: T) {
  const [line, byKey, byPgp, byGroup] = forms;
  return choice(forms, (input): T[number] => {
    if (typeof input !== "object" || input === null) return line;
    if ("group" in input) return byGroup;
    return "pgp" in input ? byPgp : byKey;
  });
}
const writer = entryOf([
  sshKey,
  v.strictObject({ key, ...terms }),
  v.strictObject({ pgp, ...terms }),
  v.strictObject({ group, ...terms }),
]);
const admin = entryOf([
  sshKey,
  v.strictObject({ key, ...dates }),
  v.strictObject({ pgp, ...dates }),
  v.strictObject({ group, ...dates }),
]);
const readerForms = [sshKey, v.strictObject({ key, ...dates }), v.strictObject({ group, ...dates })] as const;
const reader = choice(readerForms, (input) => {
  if (typeof input !== "object" || input === null) return readerForms[0];
  return "group" in input ? readerForms[2] : readerForms[1];
});
const memberForms = [sshKey, v.strictObject({ key, ...terms }), v.strictObject({ pgp, ...terms })] as const;
const member = choice(memberForms, (input) => {
  if (typeof input !== "object" || input === null) return memberForms[0];
  return "pgp" in input ? memberForms[2] : memberForms[1];
});

const chunkingMode = "must be fastcdc or fixed";
/** The rest of a sentence; what is left out has its default. */
const cuttable = <T extends PartialChunking>() =>
  v.rawCheck<T>(({ dataset, addIssue }) => {
    const fault = dataset.typed ? chunkingFault(completeChunking(dataset.value)) : undefined;
    if (fault !== undefined) addIssue({ message: fault });
  });
const fastcdc = v.pipe(
  v.strictObject({
    mode: v.literal("fastcdc", chunkingMode),
    min: v.optional(size),
    avg: v.optional(size),
    max: v.optional(size),
  }),
  cuttable(),
);
const fixed = v.pipe(v.strictObject({ mode: v.literal("fixed", chunkingMode), size }), cuttable());
const chunking = choice([fastcdc, fixed], (input) => {
  return (input as { mode?: unknown } | null | undefined)?.mode === "fixed" ? fixed : fastcdc;
});

const verify = v.pipe(
  text,
  v.regex(/^(?:replay|attested|sample:[1-9]\d{0,5})$/, "must be replay, sample:N or attested"),
);
const count = v.pipe(
  v.number("must be a number"),
  v.integer("must be a whole number"),
  v.minValue(1, "must be 1 or more"),
);

/** An optional key and what it is for. */
function described<T extends v.GenericSchema>(schema: T, description: string) {
  return v.optional(v.pipe(schema, v.description(description)));
}

const namespace = v.strictObject({
  require_signed_commits: described(flag, "Every transaction is signed by one of the writers"),
  verify: described(verify, "How closely a transaction is looked at: replay, sample:N or attested"),
  max_value_inline: described(size, "Largest value that is stored as one blob"),
  max_value_total: described(size, "Largest value, however it is stored"),
  max_keys_per_txn: described(count, "Most keys of one transaction"),
  chunking: described(chunking, "How values over max_value_inline are cut into pieces"),
  allowed_prefixes: described(list(text), "What keys begin with; without it, anything"),
  writers: described(list(writer), "Keys that may write"),
  readers: described(list(reader), "Further SSH keys that may only fetch"),
  forbidden: described(list(v.strictObject({ lfs: flag })), "Values that are refused: Git LFS pointers"),
  retention: described(
    v.strictObject({
      ttl_default: described(duration, "After this time a key expires that was set without a time"),
      enforce_readside: described(flag, "Readers treat expired keys as not there (default: true)"),
    }),
    "How long keys live",
  ),
});

const namespaceName = v.pipe(
  v.string(),
  v.regex(/^(?:\*|[a-z0-9][a-z0-9._-]{0,62})$/, "is no namespace name (nor '*')"),
);

export const policySchema = v.strictObject({
  version: v.literal(1, "must be 1"),
  stargate: described(
    v.strictObject({
      push_url: described(text, "Where clones push transactions"),
      read_url: described(text, "Where --read-from stargate reads; default: push_url"),
      require_mirror_ack_by_default: described(flag, "set, mset and del wait until the mirror has the transaction"),
      admins: described(list(admin), "Keys that may change the policy"),
    }),
    "The gateway",
  ),
  mirror: described(
    v.strictObject({ publish_branch: described(flag, "Push the ledger as refs/heads/kv/<ns> too") }),
    "The read copy",
  ),
  groups: described(v.record(groupName, list(member)), "Named lists of keys"),
  namespaces: described(v.record(namespaceName, namespace), "Rules by namespace; '*' for those that are not named"),
});

/** A policy file as it is written. */
export type PolicyFile = v.InferOutput<typeof policySchema>;
/** What it says of one namespace. */
export type NamespaceRules = v.InferOutput<typeof namespace>;
/** One line of `writers`; those of `admins`, `readers` and `groups` are among these. */
export type KeyEntry = v.InferOutput<typeof writer>;
