/** Git implementations of others, each behind the same three verbs. */

import * as fs from "node:fs";
import * as path from "node:path";
import isomorphic from "isomorphic-git";
import http from "isomorphic-git/http/node";

export interface Client {
  readonly name: string;
  readonly ssh: boolean;
  /** Pushes from the repository `dir`; refspecs are `[+]name:ref` or `:ref`, names in full. */
  push(dir: string, url: string, ...refspecs: readonly string[]): Promise<void>;
  /** Clones into the new folder `dir`, which then has a remote `origin`. */
  clone(dir: string, url: string): Promise<void>;
  /** Fetches from `origin`. */
  fetch(dir: string): Promise<void>;
  /** Clones the tips alone, where the client can. */
  readonly shallow?: (dir: string, url: string) => Promise<void>;
}

/** Debian's Python, which has the packages; another may come first in PATH. */
const PYTHON = "/usr/bin/python3";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The clients, run with `env`. */
export function clients(env: Environment): Client[] {
  const run = (...command: string[]): Promise<void> => runTool(command, env);
  const python = (file: string, ssh: boolean, name: string, depth: boolean): Client => {
    const script = path.join(import.meta.dir, file);
    return {
      name,
      ssh,
      push: (dir, url, ...specs) => run(PYTHON, script, "push", dir, url, ...specs),
      clone: (dir, url) => run(PYTHON, script, "clone", dir, url),
      fetch: (dir) => run(PYTHON, script, "fetch", dir),
      ...(depth && { shallow: (dir, url) => run(PYTHON, script, "clone", dir, url, "1") }),
    };
  };
  return [
    {
      name: "git",
      ssh: true,
      push: (dir, url, ...specs) => run("git", "-C", dir, "push", "-q", url, ...specs),
      clone: (dir, url) => run("git", "clone", "-q", url, dir),
      fetch: (dir) => run("git", "-C", dir, "fetch", "-q", "origin"),
      shallow: (dir, url) => run("git", "clone", "-q", "--depth=1", "--no-single-branch", url, dir),
    },
    python("dulwich-client.py", true, "dulwich", true),
    // Debian's libgit2 cannot clone by depth, nor can Debian's jgit.
    python("pygit2-client.py", true, "libgit2", false),
    {
      name: "jgit",
      ssh: true,
      push: (dir, url, ...specs) => run("jgit", "--git-dir", path.join(dir, ".git"), "push", url, ...specs),
      clone: (dir, url) => run("jgit", "clone", url, dir),
      fetch: (dir) => run("jgit", "--git-dir", path.join(dir, ".git"), "fetch", "origin"),
    },
    isomorphicClient(),
  ];
}

function isomorphicClient(): Client {
  const login = (url: string): { url: string; onAuth: () => { username: string; password: string } } => {
    const { username, password, host, pathname } = new URL(url);
    return { url: `http://${host}${pathname}`, onAuth: () => ({ username, password }) };
  };
  const fetch = async (dir: string): Promise<void> => {
    const url = await isomorphic.getConfig({ fs, dir, path: "remote.origin.url" });
    await isomorphic.fetch({ fs, http, dir, remote: "origin", tags: true, ...login(url) });
  };
  const clone = async (dir: string, url: string, depth?: number): Promise<void> => {
    await isomorphic.clone({
      fs,
      http,
      dir,
      singleBranch: false,
      ...login(url),
      ...(depth !== undefined && { depth }),
    });
    await isomorphic.setConfig({ fs, dir, path: "remote.origin.url", value: url });
  };
  return {
    name: "isomorphic-git",
    ssh: false,
    push: async (dir, url, ...specs) => {
      for (const spec of specs) {
        const [from, to] = spec.replace(/^\+/, "").split(":") as [string, string];
        // The local ref of a deletion must exist, and is not looked at.
        const what = from === "" ? { delete: true, ref: "HEAD" } : { ref: from };
        const force = spec.startsWith("+");
        const result = await isomorphic.push({ fs, http, dir, remoteRef: to, force, ...what, ...login(url) });
        if (!result.ok) throw new Error(`isomorphic-git: ${JSON.stringify(result)}`);
      }
    },
    clone,
    fetch,
    shallow: (dir, url) => clone(dir, url, 1),
  };
}

async function runTool(command: string[], env: Environment): Promise<void> {
  const child = Bun.spawn(command, {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, GIT_TERMINAL_PROMPT: "0", ...env },
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`${command.slice(0, 6).join(" ")} exited ${status}: ${stdout}${stderr}`);
}
