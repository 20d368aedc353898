/** What the program was built from; put in by build.ts (scripts/defines.ts). */
declare const GIT_KV_COMMIT: string | undefined;
declare const GIT_KV_SOURCES: string | undefined;

/**
 * The commit the program was built from, `-dirty` where its sources differ from it; undefined where nobody knows: outside of a repository, or run
 * from its sources.
 */
export const BUILD: string | undefined =
  typeof GIT_KV_COMMIT === "string" && GIT_KV_COMMIT !== "unknown" ? GIT_KV_COMMIT : undefined;

/** A hash of the sources the program was built from, which changes with any of them; undefined where it is run from its sources. */
export const SOURCES: string | undefined = typeof GIT_KV_SOURCES === "string" ? GIT_KV_SOURCES : undefined;
