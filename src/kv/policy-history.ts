/**
 * The chain of policies as an auditor sees it (docs/formats/data-format.md, section 2): every commit from the root on, each signed by
 * an admin of the one before it. The root is taken on trust; who asks keeps its id (policy-pin.ts).
 */

import { KvError, toKvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { claimedTime } from "./claimed-time.ts";
import type { Policy } from "./policy.ts";
import { linkProblem, parsePolicyCommit } from "./policy-link.ts";
import { policyAt } from "./read-policy.ts";

/** Something that is wrong with a link. */
export interface PolicyProblem {
  readonly oid: Oid;
  readonly error: KvError;
}

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
      if (links.length >= LIMITS.policyLinks)
        throw new KvError("LIMIT_EXCEEDED", `the policy has more than ${LIMITS.policyLinks} commits`);
      const oid: Oid = at;
      links.push(oid);
      at = attempt(oid, () => parsePolicyCommit(objects, oid))?.parents[0];
    }
    links.reverse();
    const history = new PolicyHistory(objects, links, problems);
    let before: Policy | undefined;
    for (const oid of links) {
      const object = objects.read(oid);
      const time = object?.kind === "commit" ? attempt(oid, () => claimedTime(objects.format, object.data)) : undefined;
      const error = time === undefined ? undefined : await linkProblem(objects, oid, before, time, true);
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

function asProblem(thrown: unknown): KvError {
  const error = toKvError(thrown);
  if (error.code === "BUG" || error.code === "IO") throw error;
  return error.code === "CONFIG" ? new KvError("POLICY_UNTRUSTED", error.message, { cause: error }) : error;
}
