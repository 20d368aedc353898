/** The repositories a daemon serves. Names come from its configuration, never from the file system. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { defaultName } from "./gate.ts";
import type { Served } from "./service.ts";

/** `NAME=PATH`, or `PATH` under the name of its folder. */
export interface RepositorySpec {
  readonly name: string;
  /** Absolute. */
  readonly dir: string;
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;

/** Reads a `--repo` value. Throws CONFIG where the name cannot be part of a URL. */
export function parseRepositorySpec(text: string, cwd: string): RepositorySpec {
  const [, named, rest] = /^([^=/][^=]*)=(.+)$/s.exec(text) ?? [];
  const dir = path.resolve(cwd, rest ?? text);
  const name = named ?? defaultName(dir);
  if (!NAME.test(name) || name.endsWith(".lock")) {
    throw new KvError("CONFIG", `'${name}' is no name to serve a repository under`, {
      hint: "write --repo NAME=PATH with a name of letters, digits, '.', '_', '-' and '/'",
    });
  }
  return { name, dir };
}

export class Registry {
  readonly #served = new Map<string, Served>();

  /** Throws CONFIG where the name is taken. */
  add(served: Served): void {
    if (this.#served.has(served.name)) {
      throw new KvError("CONFIG", `two repositories are called '${served.name}'`, { hint: "write --repo NAME=PATH" });
    }
    this.#served.set(served.name, served);
  }

  all(): Served[] {
    return [...this.#served.values()];
  }

  /** The repository called `name`; `.git` may be left out, as in git. */
  byName(name: string): Served | undefined {
    return this.#served.get(name) ?? this.#served.get(`${name}.git`);
  }

  /** The repository at the absolute path `dir`, or called so. */
  byNameOrPath(text: string): Served | undefined {
    if (!text.startsWith("/")) return this.byName(text);
    return this.all().find(({ gate }) => samePlace(gate.repo.gitDir, text)) ?? this.byName(text.slice(1));
  }
}

/** Whether a client's path means the git folder `gitDir`; nothing but that folder's own names is looked at on disk. */
export function samePlace(gitDir: string, text: string): boolean {
  const asked = path.resolve(text);
  const names = [gitDir, realPath(gitDir)];
  return names.some((name) => name === asked || name === `${asked}.git` || name === `${asked}/.git`);
}

function realPath(dir: string): string {
  try {
    return fs.realpathSync(dir);
  } catch {
    return dir;
  }
}
