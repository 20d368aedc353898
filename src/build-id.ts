/** The commit the program was built from; put in by build.ts. */
declare const GIT_KV_COMMIT: string | undefined;

/**
 * The commit the program was built from, `-dirty` where its sources differ from it; undefined where nobody knows: outside of a repository, or run
 * from its sources.
 */
export const BUILD: string | undefined =
  typeof GIT_KV_COMMIT === "string" && GIT_KV_COMMIT !== "unknown" ? GIT_KV_COMMIT : undefined;
