/** The error a promise ends with, for tests. */

import { KvError } from "../../src/errors.ts";

/** Rejects where the promise does not, or not with a KvError. */
export async function failureOf(promise: Promise<unknown>): Promise<KvError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error("it succeeded");
}
