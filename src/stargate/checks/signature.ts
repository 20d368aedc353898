/**
 * The signature: good, and by a key that may write, where the policy asks for one; good, where there is one at all. Keys are
 * judged at the time of receipt; by the date that the commit claims, which is all an audit has, nothing more is let in.
 */

import type { Check } from "./check.ts";

export const signature: Check = async (admission) => (await admission.signature()).problem ?? null;
