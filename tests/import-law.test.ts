/** The import law: arrows only point down, one door per package, one file that writes. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";

const ROOT = path.join(import.meta.dir, "..");

interface SourceFile {
  /** Path from the root of the project. */
  readonly name: string;
  readonly text: string;
  /** Imports of packages and of runtime modules. */
  readonly packages: readonly string[];
  /** Imported files by their path from the root. */
  readonly files: readonly string[];
  /** Those of which more than types is imported: what is loaded when this file is. */
  readonly loads: readonly string[];
  /** Those of {@link loads} that are there before anything of this file runs: not by a dynamic import. */
  readonly loadsAtOnce: readonly string[];
}

const FILES = [...readSources("bin"), ...readSources("src")];
const NAMES = new Set(FILES.map(({ name }) => name));

function readSources(folder: string): SourceFile[] {
  return fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
    .map((name) => readSource(path.join(folder, name)));
}

function readSource(name: string): SourceFile {
  const text = fs.readFileSync(path.join(ROOT, name), "utf8");
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  // `import ... from "x"`, `export ... from "x"`, `import "x"`, `import("x")`, `require("x")`, getBuiltinModule("x")
  const wanted =
    /(?:^|[;}\s])(?:(?:import|export)\b[^;'"()]*?\bfrom\s*|import\s*|(?:import|require|getBuiltinModule)\s*\(\s*)["']([^"']+)["']/g;
  const imports = [...code.matchAll(wanted)].map(([statement, target]) => ({
    target: target!,
    isType: /^\W*(import|export)\s+type\b/.test(statement),
    isDynamic: /^\W*import\s*\(/.test(statement),
  }));
  const local = imports.filter(({ target }) => target.startsWith("."));
  const resolve = ({ target }: { target: string }): string => path.join(path.dirname(name), target);
  return {
    name,
    text,
    packages: imports.flatMap(({ target }) => (target.startsWith(".") ? [] : [target])),
    files: local.map(resolve),
    loads: local.filter(({ isType }) => !isType).map(resolve),
    loadsAtOnce: local.filter(({ isType, isDynamic }) => !isType && !isDynamic).map(resolve),
  };
}

/** What each layer may import besides itself; the first pattern that fits a file names its layer. */
const LAYERS: readonly (readonly [layer: string, pattern: RegExp, below: readonly string[]])[] = [
  ["bin", /^bin\//, ["commands", "stargate verbs", "cli"]],
  ["commands", /^src\/commands\//, ["cli", "kv", "cdc", "gitwire", "foundation"]],
  ["stargate verbs", /^src\/stargate\/commands\//, ["cli", "stargate", "kv", "cdc", "gitwire", "foundation"]],
  ["stargate", /^src\/stargate\//, ["kv", "cdc", "gitwire", "foundation"]],
  ["cli", /^src\/cli\//, ["foundation"]],
  ["kv", /^src\/kv\//, ["cdc", "gitwire", "foundation"]],
  ["cdc", /^src\/cdc\//, ["foundation"]],
  ["gitwire", /^src\/gitwire\//, ["foundation"]],
  ["foundation", /^(src\/[^/]+\.ts|package\.json)$/, []],
];

/** Inside gitwire: a file may import its own floor and the ones under it. */
const FLOORS: readonly RegExp[] = [
  /^src\/gitwire\/(object\/|disk\.ts|ident\.ts)/,
  /^src\/gitwire\/pack\//,
  /^src\/gitwire\/((store|refs|config|repo|worktree)\/|[a-z-]+\.ts$)/,
  /^src\/gitwire\/protocol\//,
  /^src\/gitwire\/transport\//,
];

/** Files that may run another program, and the one that runs this one again. */
const RUNS_PROGRAMS =
  /^src\/(node-programs|gitwire\/(hook|transport\/(process-connection|ssh|credentials|credential-helper)|sign[a-z-]*)|kv\/sign[a-z-]*|stargate\/combine-process)\.ts$/;

/** Packages and runtime modules that only some files may use. */
const DOORS: readonly (readonly [target: RegExp, files: RegExp, why: string])[] = [
  [/^yaml$/, /^src\/yaml-file\.ts$/, "one door for YAML"],
  [/^valibot$/, /(-schema|^src\/yaml-file)\.ts$/, "shapes are declared in schema files"],
  [/^@noble\/hashes/, /^src\/kv\/etag\.ts$/, "one door for BLAKE3"],
  [/^openpgp$/, /^src\/gitwire\/object\/openpgp\.ts$/, "one door for OpenPGP"],
  [/^fflate$/, /^src\/gzip\.ts$/, "one door for gzip"],
  [/^prom-client$/, /^src\/stargate\/ops\/metrics\.ts$/, "one door for Prometheus' text format"],
  [/^hash-wasm$/, /^src\/kv\/etag(-stream)?\.ts$/, "one door for fast BLAKE3"],
  [/^fastcdc-wasm/, /^src\/cdc\/fastcdc\.ts$/, "one door for FastCDC"],
  [/^bun:ffi$/, /^src\/stargate\/service-manager\.ts$/, "the C library is asked where the runtime has no way"],
  [/^node:tty$/, /^src\/fd\.ts$/, "it costs 3 ms of start-up"],
  [
    /^node:child_process$/,
    RUNS_PROGRAMS,
    "programs are run for SSH, for credentials, for signing, as hooks and to combine packs only",
  ],
];

function layerOf(name: string): (typeof LAYERS)[number] {
  const layer = LAYERS.find(([, pattern]) => pattern.test(name));
  if (layer === undefined) throw new Error(`${name} is in no layer`);
  return layer;
}

describe("import law", () => {
  test("finds the sources and their imports", () => {
    const runner = FILES.find(({ name }) => name === "src/cli/runner.ts")!;
    expect(runner.files).toContain("src/cli/usage.ts");
    expect(runner.files).toContain("src/errors.ts");
    expect(runner.packages).toContain("node:path");
    expect(runner.files).toContain("src/cli/command.ts");
    expect(runner.loads).not.toContain("src/cli/command.ts");
  });

  test("every local import names a file, with its extension", () => {
    const lost = FILES.flatMap(({ name, files }) =>
      files
        .filter((file) => !NAMES.has(file) && !fs.existsSync(path.join(ROOT, file)))
        .map((file) => `${name} -> ${file}`),
    );
    expect(lost).toEqual([]);
  });

  test("arrows point down", () => {
    const wrong: string[] = [];
    for (const { name, files } of FILES) {
      const [layer, , below] = layerOf(name);
      for (const file of files) {
        const [target] = layerOf(file);
        if (target !== layer && !below.includes(target)) wrong.push(`${name} (${layer}) -> ${file} (${target})`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("inside gitwire too: transport, protocol, store and refs and config, pack, object", () => {
    const floor = (file: string): number => FLOORS.findIndex((pattern) => pattern.test(file));
    const inside = FILES.filter(({ name }) => name.startsWith("src/gitwire/"));
    expect(inside.filter(({ name }) => floor(name) < 0).map(({ name }) => name)).toEqual([]);
    const wrong = inside.flatMap(({ name, files }) =>
      files
        .filter((file) => file.startsWith("src/gitwire/") && floor(file) > floor(name))
        .map((file) => `${name} -> ${file}`),
    );
    expect(wrong).toEqual([]);
  });

  test("no cycles in what is loaded (a type may point back: it is erased)", () => {
    expect(findCycle(new Map(FILES.map(({ name, loads }) => [name, loads])))).toEqual([]);
  });

  test("commands that only read load nothing that writes objects or refs", () => {
    const writers =
      /^src\/gitwire\/(refs\/(lock-set|ref-transaction|reflog)|store\/(object|loose)-writer|pack\/(pack-builder|pack-install|pack-index-writer|temp-file)|repo\/init)\.ts$/;
    for (const reader of ["src/commands/get.ts", "src/commands/list.ts"]) {
      const loaded = loadedWith(reader);
      expect(loaded).toContain("src/gitwire/store/object-store.ts");
      expect(loaded.filter((name) => writers.test(name))).toEqual([]);
    }
    expect(loadedWith("src/kv/local-acceptor.ts")).toContain("src/gitwire/pack/pack-builder.ts");
  });

  test("no barrel files", () => {
    const barrels = FILES.filter(({ name, text }) => name.startsWith("src/") && isBarrel(text));
    expect(barrels.map(({ name }) => name)).toEqual([]);
  });

  test("packages and dangerous modules come in through their doors", () => {
    const wrong: string[] = [];
    for (const { name, packages } of FILES) {
      for (const target of packages) {
        const door = DOORS.find(([pattern]) => pattern.test(target));
        const isRuntime = /^(node|bun):|^bun$/.test(target);
        if (door === undefined && !isRuntime) wrong.push(`${name} -> ${target}: no door is known for it`);
        if (door !== undefined && !door[1].test(name)) wrong.push(`${name} -> ${target}: ${door[2]}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("package.json lists what is imported, no more, and as nothing a program with the library has to install", () => {
    const { dependencies, devDependencies } = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
    expect(dependencies).toBeUndefined();
    const imported = FILES.flatMap(({ packages }) => packages)
      .filter((target) => !/^(node|bun):|^bun$/.test(target))
      .map((target) => target.match(/^(@[^/]+\/)?[^/]+/)![0]);
    const forDevelopers = [
      ...["@biomejs/biome", "@mdn/browser-compat-data", "@noble/curves", "@noble/ed25519"],
      ...["bun-types", "citty", "isomorphic-git", "typescript"],
    ];
    expect(Object.keys(devDependencies).sort()).toEqual([...new Set([...imported, ...forDevelopers])].sort());
  });

  test("programs are run only for SSH, credentials, signing, hooks and to combine packs", () => {
    const wrong = FILES.filter(
      ({ name, text }) => /\bBun\.spawn|\bBun\.\$|\bspawnSync\b/.test(text) && !RUNS_PROGRAMS.test(name),
    );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  test("only the output file writes to stdout and stderr", () => {
    const writes = /\bconsole\.|\bprocess\.std(out|err)\.(write|end)|\bBun\.(stdout|stderr)|\bwriteSync\(\s*[12]\b/;
    const wrong = FILES.filter(({ name, text }) => writes.test(text) && name !== "src/cli/output.ts");
    expect(wrong.map(({ name }) => name)).toEqual([]);
    const users = FILES.filter(({ files }) => files.includes("src/fd.ts")).map(({ name }) => name);
    expect(users.filter((name) => !/^src\/(cli\/(output|stdin)|trace)\.ts$/.test(name))).toEqual([]);
  });

  test("no file is longer than 400 lines, no entry point than 40", () => {
    const lines = (text: string): number => text.split("\n").length - 1;
    const long = FILES.filter(({ name, text }) => lines(text) > (name.startsWith("bin/") ? 40 : 400));
    expect(long.map(({ name }) => name)).toEqual([]);
  });
});

describe("the checks themselves", () => {
  test("a cycle is found", () => {
    const graph = new Map([
      ["a", ["b"]],
      ["b", ["c", "d"]],
      ["c", []],
      ["d", ["a"]],
    ]);
    expect(findCycle(graph)).toEqual(["a", "b", "d", "a"]);
  });

  test("a barrel is found", () => {
    expect(isBarrel('/** x */\nexport * from "./a.ts";\nexport { b } from "./b.ts";\n')).toBe(true);
    expect(isBarrel('export * from "./a.ts";\nexport const c = 1;\n')).toBe(false);
    expect(isBarrel("")).toBe(true);
  });
});

/** The first cycle, from a file back to it; empty where there is none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const visit = (name: string, trail: readonly string[]): string[] => {
    const seen = trail.indexOf(name);
    if (seen >= 0) return [...trail.slice(seen), name];
    if (done.has(name)) return [];
    for (const next of graph.get(name) ?? []) {
      const cycle = visit(next, [...trail, name]);
      if (cycle.length > 0) return cycle;
    }
    done.add(name);
    return [];
  };
  for (const name of graph.keys()) {
    const cycle = visit(name, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

/** All that is loaded before anything of the file `entry` runs. */
function loadedWith(entry: string): string[] {
  const graph = new Map(FILES.map(({ name, loadsAtOnce }) => [name, loadsAtOnce]));
  const found = new Set([entry]);
  for (const name of found) for (const next of graph.get(name) ?? []) found.add(next);
  return [...found];
}

/** Nothing of its own: only re-exports. */
function isBarrel(text: string): boolean {
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "");
  return code.replace(/export\s+(type\s+)?(\*|\{[^}]*\})(\s+as\s+\w+)?\s+from\s+"[^"]*";?/g, "").trim() === "";
}
