/**
 * The object format of the test run: sha1, or what GIT_KV_TEST_FORMAT says (`make test-sha256`). A test that does not ask for a
 * format by name runs in this one; one that is about sha1 itself says so in its name. Most tests of formats run in both at once,
 * those that take long in this one only.
 */

import { type ObjectFormat, objectFormat, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";

export const TEST_FORMAT: ObjectFormat = objectFormat(process.env.GIT_KV_TEST_FORMAT || "sha1");

/** The format that is not {@link TEST_FORMAT}. */
export const OTHER_FORMAT: ObjectFormat = TEST_FORMAT === SHA1 ? SHA256 : SHA1;

/** The header of a signed commit in the run's format, and that of the other one. */
export const SIGNATURE_HEADER = TEST_FORMAT === SHA1 ? "gpgsig" : "gpgsig-sha256";
export const OTHER_SIGNATURE_HEADER = TEST_FORMAT === SHA1 ? "gpgsig-sha256" : "gpgsig";
