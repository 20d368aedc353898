/**
 * The chain of policies as an auditor sees it (docs/formats/data-format.md, section 2): every commit from the root on, each signed by
 * an admin of the one before it. The root is taken on trust; who asks keeps its id (policy-pin.ts).
 */

import { KvError, toKvError } from "../errors.ts";
import { type Commit, parseCommit, parseIdent } from "../gitwire/object/commit.ts";
import { type SignatureVerdict, signatureHeader, verifyCommitSignature } from "../gitwire/object/commit-signature.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type Policy, policyAt } from "./policy.ts";

/** Something that is wrong with a link. */
export interface PolicyProblem {
  readonly oid: Oid;
  readonly error: KvError;
}

/** Links an audit follows. */
const MOST_LINKS = 100_000;

export class PolicyHistory {
  /** The root first. */
  readonly links: readonly Oid[];
  readonly problems: readonly PolicyProblem[];
  readonly #objects: ObjectSource;
  readonly #positions: ReadonlyMap<Oid, number>;
  readonly #policies = new Map<Oid, Policy>();

  private constructor(objects: ObjectSource, links: readonly Oid[], problems: readonly PolicyProblem[]) {
    this.#objects = objects;
    this.links = links;
    this.problems = problems;
    this.#positions = new Map(links.map((oid, at) => [oid, at]));
  }

  /** Reads and judges the chain that ends in `tip`. What is wrong with it is in `problems`. */
  static async read(objects: ObjectSource, tip: Oid): Promise<PolicyHistory> {
    const links: Oid[] = [];
    const problems: PolicyProblem[] = [];
    const attempt = <T>(oid: Oid, act: () => T): T | undefined => {
      try {
        return act();
      } catch (error) {
        problems.push({ oid, error: asProblem(error) });
        return undefined;
      }
    };
    for (let at: Oid | undefined = tip; at !== undefined; ) {
      if (links.length >= MOST_LINKS)
        throw new KvError("LIMIT_EXCEEDED", `the policy has more than ${MOST_LINKS} commits`);
      const oid: Oid = at;
      links.push(oid);
      at = attempt(oid, () => parsePolicyCommit(objects, oid))?.parents[0];
    }
    links.reverse();
    const history = new PolicyHistory(objects, links, problems);
    let before: Policy | undefined;
    for (const oid of links) {
      const object = objects.read(oid);
      const now = object?.kind === "commit" ? attempt(oid, () => claimedTime(objects, object.data)) : undefined;
      const error = now === undefined ? undefined : await adminProblem(objects, oid, before, now);
      if (error !== undefined) problems.push({ oid, error });
      before = attempt(oid, () => history.policy(oid)) ?? before;
    }
    return history;
  }

  get root(): Oid {
    return this.links[0]!;
  }

  get tip(): Oid {
    return this.links.at(-1)!;
  }

  /** Place of a policy commit in the chain, 0 for the root; undefined where it is not in it. */
  position(oid: Oid): number | undefined {
    return this.#positions.get(oid);
  }

  /** The policy of a link. Throws POLICY_UNTRUSTED, CONFIG. */
  policy(oid: Oid): Policy {
    const known = this.#policies.get(oid);
    if (known !== undefined) return known;
    const policy = policyAt(this.#objects, oid);
    this.#policies.set(oid, policy);
    return policy;
  }
}

/** Reads a policy commit: exactly the headers of the format. Throws POLICY_UNTRUSTED, NOT_LINEAR, BAD_OBJECT. */
export function parsePolicyCommit(objects: ObjectSource, oid: Oid): Commit {
  const { format } = objects;
  const commit = parseCommit(format, readAs(objects, oid, "commit"));
  if (commit.parents.length > 1) throw new KvError("NOT_LINEAR", `policy commit ${oid} has more than one parent`);
  const names = commit.headers.map(({ name }) => name);
  const expected = ["tree", ...commit.parents.map(() => "parent"), "author", "committer"];
  if (names.at(-1) === signatureHeader(format)) names.pop();
  if (names.join(" ") !== expected.join(" "))
    throw new KvError("POLICY_UNTRUSTED", `policy commit ${oid} has the headers '${names.join(" ")}'`);
  return commit;
}

/**
 * What is wrong with who signed the link `oid`, by the policy before it and at the time `now` (milliseconds). The root (`before`
 * undefined) may be anybody's, and so may what follows a policy without admins.
 */
export async function adminProblem(
  objects: ObjectSource,
  oid: Oid,
  before: Policy | undefined,
  now: number,
): Promise<KvError | undefined> {
  const admins = before?.admins ?? [];
  if (admins.length === 0) return undefined;
  const verdict = await verifyCommitSignature(objects.format, readAs(objects, oid, "commit"), { now });
  if (verdict.kind === "good" && verdict.signer.kind === "ssh") {
    const { blob, fingerprint } = verdict.signer;
    if (admins.some((line) => line.split(" ")[1] === blob)) return undefined;
    return new KvError(
      "POLICY_UNTRUSTED",
      `policy commit ${oid} is signed by ${fingerprint}, no admin of the policy before it`,
    );
  }
  return new KvError(
    "POLICY_UNTRUSTED",
    `policy commit ${oid} is not signed by an admin of the policy before it (${say(verdict)})`,
  );
}

function say(verdict: SignatureVerdict): string {
  if (verdict.kind === "bad") return verdict.reason;
  return verdict.kind === "good" ? "signed with OpenPGP" : verdict.kind;
}

/** When a commit says it was made, in milliseconds. */
export function claimedTime({ format }: Pick<ObjectSource, "format">, data: Buffer): number {
  return parseIdent(parseCommit(format, data).committer).seconds * 1_000;
}

function asProblem(thrown: unknown): KvError {
  const error = toKvError(thrown);
  if (error.code === "BUG" || error.code === "IO") throw error;
  return error.code === "CONFIG" ? new KvError("POLICY_UNTRUSTED", error.message, { cause: error }) : error;
}
