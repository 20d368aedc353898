/** A repository: where its parts are, opened when first asked for. */

import * as path from "node:path";
import { systemClock } from "../clock.ts";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { type FilesRead, GitConfig } from "./config.ts";
import { identFor } from "./ident.ts";
import { formatIdent } from "./object/commit.ts";
import type { ObjectFormat } from "./object/oid.ts";
import { RefStore } from "./refs/ref-store.ts";
import type { ReflogPolicy } from "./refs/reflog.ts";
import {
  absoluteEnv,
  type Env,
  followGitFile,
  layoutOf,
  type Origin,
  type RepositoryLayout,
  searchUpwards,
} from "./repo/discover.ts";
import { checkBareAllowed, checkOwner } from "./repo/safe-directory.ts";
import type { ObjectStoreOptions } from "./store/object-place.ts";
import { ObjectStore } from "./store/object-store.ts";

const makeStore = (dir: string, format: ObjectFormat, options: ObjectStoreOptions): ObjectStore =>
  new ObjectStore(dir, format, options);

export class Repository {
  /** HEAD and whatever else is this worktree's own; absolute. */
  readonly gitDir: string;
  /** Everything worktrees share; absolute. */
  readonly commonDir: string;
  readonly objectsDir: string;
  /** Root of the checked-out files, or undefined. */
  readonly worktree: string | undefined;
  readonly bare: boolean;
  readonly format: ObjectFormat;
  /** Bytes of objects kept in memory; a server that reads the same trees again and again sets more than the default first. */
  objectCacheBytes: number | undefined;
  /** Makes the store of its objects, for one that is more than a store; set before the first look at the objects. */
  storeMaker: typeof makeStore = makeStore;
  readonly #alternates: readonly string[];
  /** The environment it was opened in. */
  readonly env: Env;
  /** Config files as they were read when the repository was found, for the first look at the config. */
  #filesRead: FilesRead | undefined;
  #config: GitConfig | undefined;
  #objects: ObjectStore | undefined;
  #refs: RefStore | undefined;

  constructor(layout: RepositoryLayout, env: Env) {
    this.gitDir = layout.gitDir;
    this.commonDir = layout.commonDir;
    this.objectsDir = layout.objectsDir;
    this.worktree = layout.worktree;
    this.bare = layout.bare;
    this.format = layout.format;
    this.#alternates = layout.alternates;
    this.#filesRead = layout.filesRead;
    this.env = env;
  }

  /** All config that applies here. Throws CONFIG. */
  get config(): GitConfig {
    if (this.#config === undefined) {
      const { gitDir, commonDir, env } = this;
      this.#config = GitConfig.load({ gitDir, commonDir, env, ...(this.#filesRead && { read: this.#filesRead }) });
      this.#filesRead = undefined;
    }
    return this.#config;
  }

  /** Reads the config again (after an edit). Throws CONFIG; then it goes on as it was. Returns what takes it back. */
  reloadConfig(): () => void {
    const { gitDir, commonDir, env } = this;
    const before = this.#config;
    this.#config = GitConfig.load({ gitDir, commonDir, env });
    this.#filesRead = undefined;
    return () => {
      this.#config = before;
    };
  }

  get objects(): ObjectStore {
    this.#objects ??= this.storeMaker(this.objectsDir, this.format, {
      alternates: this.#alternates,
      ...(this.objectCacheBytes !== undefined && { cacheBytes: this.objectCacheBytes }),
    });
    return this.#objects;
  }

  get refs(): RefStore {
    this.#refs ??= new RefStore({
      gitDir: this.gitDir,
      commonDir: this.commonDir,
      format: this.format,
      objects: () => this.objects,
      reflog: this.#reflogPolicy(),
    });
    return this.#refs;
  }

  /** The config file of the repository itself, for edits. */
  get configFile(): string {
    return path.join(this.commonDir, "config");
  }

  /** Whether its packs may be tidied unasked: `gc.auto = 0` and `maintenance.auto = false` forbid it, as with git. */
  get isAutoMaintained(): boolean {
    return (this.config.getInt("gc.auto") ?? 1) > 0 && this.config.getBool("maintenance.auto") !== false;
  }

  /** Loose objects that may lie about before they are put into a pack (gc.auto). */
  get looseLimit(): number {
    return this.config.getInt("gc.auto") ?? LIMITS.looseObjects;
  }

  /** Closes all files. The repository can still be used; they are opened again. */
  close(): void {
    this.#objects?.close();
    this.#refs?.close();
    this.#objects = undefined;
    this.#refs = undefined;
  }

  #reflogPolicy(): ReflogPolicy {
    const repository = this;
    return {
      get mode() {
        const value = repository.config.get("core.logAllRefUpdates");
        if (value?.toLowerCase() === "always") return "always";
        return (repository.config.getBool("core.logAllRefUpdates") ?? !repository.bare) ? "usual" : "never";
      },
      // The time of the move, whatever date the commit is given.
      identity: () =>
        formatIdent(identFor("committer", this.config, { ...this.env, GIT_COMMITTER_DATE: undefined }, systemClock)),
    };
  }
}

/**
 * The repository `cwd` is in, or the one GIT_DIR names. Throws NOT_A_REPOSITORY (also where safe.directory forbids it),
 * UNSUPPORTED, CONFIG.
 */
export function discoverRepository(cwd: string, environment: Env): Repository {
  const env = absoluteEnv(environment, cwd);
  if (env.GIT_DIR) return named(path.resolve(cwd, env.GIT_DIR), cwd, env);
  const found = searchUpwards(cwd, env);
  const dir = found.origin.kind === "dot-git" ? found.origin.worktree : found.gitDir;
  const outside = (): GitConfig => GitConfig.load({ env });
  checkOwner([found.gitFile, dir, found.gitDir], dir, outside, env);
  if (found.origin.kind === "bare") checkBareAllowed(dir, outside);
  return new Repository(layoutOf(found.gitDir, found.origin, env), env);
}

function named(gitDir: string, cwd: string, env: Env): Repository {
  const found = followGitFile(gitDir, env);
  if (found === undefined) throw new KvError("NOT_A_REPOSITORY", `'${gitDir}' is no git repository`);
  return new Repository(layoutOf(found.gitDir, { kind: "named", cwd: path.resolve(cwd) }, env), env);
}

/** Environment variables that describe the repository of a calling git; they say nothing about one opened by path. */
const LOCAL_VARIABLES = new Set([
  "GIT_DIR",
  "GIT_COMMON_DIR",
  "GIT_WORK_TREE",
  "GIT_OBJECT_DIRECTORY",
  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
]);

export interface OpenOptions {
  /**
   * Whether it must be ours, or be allowed by safe.directory: for a session whose client chose it, because its config and its hooks
   * name programs that would run as us. Default false: the one who runs this has named it.
   */
  readonly owned?: boolean;
}

/**
 * Throws UNSUPPORTED where GIT_NAMESPACE asks for a part of a repository's refs (gitnamespaces): to serve all of them instead would
 * show others'.
 */
export function refuseNamespace(env: Env): void {
  if (!env.GIT_NAMESPACE) return;
  throw new KvError(
    "UNSUPPORTED",
    `ref namespaces are not served here, and GIT_NAMESPACE is '${env.GIT_NAMESPACE.slice(0, 100)}'`,
    {
      hint: "unset it, or serve that repository by git's own programs",
    },
  );
}

/**
 * The repository at `dir`: a git folder, a worktree, a git file, or one of these without its `.git` suffix (as git's servers find
 * one). Throws NOT_A_REPOSITORY, UNSUPPORTED, CONFIG.
 */
export function openRepository(dir: string, env: Env = process.env, { owned = false }: OpenOptions = {}): Repository {
  const given = path.resolve(dir);
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => !LOCAL_VARIABLES.has(name)));
  for (const candidate of [`${given}/.git`, given, `${given}.git/.git`, `${given}.git`]) {
    const found = followGitFile(candidate, own);
    if (found === undefined) continue;
    const isDotGit = path.basename(candidate) === ".git" && candidate !== given;
    const origin: Origin = isDotGit ? { kind: "dot-git", worktree: path.dirname(candidate) } : { kind: "bare" };
    if (owned) {
      checkOwner(
        [found.gitFile, found.gitDir],
        isDotGit ? path.dirname(candidate) : found.gitDir,
        () => GitConfig.load({ env: own }),
        own,
        found.gitDir,
      );
    }
    return new Repository(layoutOf(found.gitDir, origin, own), own);
  }
  throw new KvError("NOT_A_REPOSITORY", `'${given}' does not appear to be a git repository`);
}
